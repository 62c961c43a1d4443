"""`./relevo new`: look at data and write a first pipeline to review."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from include.calendar.partitions import Frequency
from stack.commands.store_access import store_settings
from stack.embedded.layout import REPOSITORY, Layout
from stack.embedded.operation import Stack
from stack.errors import StackError
from stack.terminal import console, shown_errors

if TYPE_CHECKING:
    from include.development.scaffold.proposal import Place, Proposal
    from include.development.scaffold.sampling import Sample

_LISTED = 12


def new(
    name: Annotated[str, typer.Argument(help="Name of the pipeline: lower case, digits, _.")],
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            help="A local file, s3://bucket/file-or-folder, or sql://connection with --query.",
        ),
    ],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    time: Annotated[
        str | None, typer.Option(help="Column with the time of the row; without it, snapshots.")
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="Column that identifies a row; looked for if unset.")
    ] = None,
    known_at: Annotated[
        str | None, typer.Option(help="Column with the time at which the target became known.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="Value of the target that means 1; else the rarer one.")
    ] = None,
    partition: Annotated[
        Frequency | None, typer.Option(help="Length of a partition; chosen by the data if unset.")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="The select to read, with --from sql://connection.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="A word in text files that means missing; may be given several times."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the files of a pipeline of this name.")
    ] = False,
) -> None:
    """Look at data and write a first pipeline: YAML, features, suites, DAG file and test."""
    with shown_errors():
        from include.development.scaffold import writing
        from include.development.scaffold.proposal import Wish, propose
        from include.errors import RelevoError

        wish = Wish(name, target, time, entity, known_at, positive, partition)
        try:
            writing.check_name(name)
            with console.status("looking at the data"):
                place, sample = _look(name, origin, query, missing or ())
                proposal = propose(wish, place, sample)
                files = writing.render(proposal)
            written = writing.write(files, REPOSITORY, force=force)
        except RelevoError as error:
            raise StackError(str(error)) from error
    for path in written:
        console.print(f"wrote {path}", markup=False)
    _show(proposal, origin)


def _look(
    name: str, origin: str, query: str | None, missing: Sequence[str]
) -> tuple[Place, Sample]:
    from include.development.scaffold import sampling, writing
    from include.development.scaffold.proposal import Place
    from include.storage.connections import from_environment

    if origin.startswith(sampling.SQL):
        connection = origin.removeprefix(sampling.SQL).rstrip("/")
        if query is None or not connection:
            raise StackError(
                f"Option --from: {origin} needs a connection and --query. Write, e.g., "
                '--from sql://warehouse --query "select * from loans".'
            )
        sample = sampling.read_query(from_environment(connection), query)
        return Place(connection=connection, query=query), sample
    if query is not None:
        raise StackError(f"Option --query: needs --from sql://connection, got --from {origin}.")
    if origin.startswith(sampling.S3):
        store = store_settings(Layout.from_environment())
        return Place(uri=origin), sampling.read_objects(store, origin, missing)
    return Place(uri=writing.default_uri(name)), sampling.read_file(Path(origin), missing)


def _show(proposal: Proposal, origin: str) -> None:
    name, calendar = proposal.wish.name, proposal.calendar
    rhythm = f"{calendar.frequency} from {calendar.first}" if calendar else "numbered snapshots"
    _line(
        f"{proposal.target.task} target {proposal.target.column}; entity {proposal.entity}; "
        f"{rhythm}; {len(proposal.features)} columns kept, {len(proposal.left_out)} left out"
    )
    for note in proposal.sample.text.notes if proposal.sample.text else ():
        _line(note)
    for warning in proposal.sample.warnings:
        _line(f"warning: {warning}")
    _show_columns("Left out", name, [(item.name, item.reason) for item in proposal.left_out])
    suspicious = [
        (feature.column.name, feature.review.removeprefix("review: "))
        for feature in proposal.features
        if feature.review
    ]
    _show_columns("Kept, for you to look at", name, suspicious)
    _line("\nReview what it proposes (comments say where), then:")
    for line in _next_steps(name, origin):
        _line(f"  {line}")


def _show_columns(title: str, name: str, columns: Sequence[tuple[str, str]]) -> None:
    if columns:
        _line(f"\n{title}:")
    for column, why in columns[:_LISTED]:
        _line(f"  {column}: {why}")
    if len(columns) > _LISTED:
        _line(f"  and {len(columns) - _LISTED} more, in include/pipelines/{name}.py")


def _next_steps(name: str, origin: str) -> list[str]:
    """Name the commands that work now: with the stack down, the store has to be started."""
    from include.development.scaffold import sampling

    steps = [f"./relevo check {name}"]
    is_up = Stack(Layout.from_environment()).is_running()
    local = "" if is_up else " --local"
    if origin.startswith(sampling.S3) and not is_up:
        # The data are on a store that a run in this process would not see.
        return [*steps, f"deploy the files, then trigger {name}_train in Airflow"]
    if not origin.startswith((sampling.SQL, sampling.S3)):
        steps.append(f"./relevo land {name} {shlex.quote(origin)}{local}")
    return [*steps, f"./relevo run {name}{local}"]


def _line(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
