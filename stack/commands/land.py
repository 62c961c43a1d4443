"""`./relevo land`: copy a local file to where a pipeline looks for its data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from include.wording import counted
from stack.commands import named_pipeline
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, shown_errors

if TYPE_CHECKING:
    from include.ingestion.landing import Landed
    from include.specification.pipeline import Pipeline
    from include.storage.lake_tables import Lake

_LISTED = 5
# Corrections change rows, and take some away; they do not take half of them.
_SHRUNK = 0.5


def land(
    name: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    file: Annotated[Path, typer.Argument(help="Local file in the source's format.")],
    source: Annotated[
        str | None, typer.Option(help="Source that it belongs to; the first if unset.")
    ] = None,
    snapshot: Annotated[
        int | None,
        typer.Option(min=1, help="Number of the snapshot, for data without a time; else the next."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite other content that has landed.")
    ] = False,
    local: Local = False,
) -> None:
    """Land a local file: split by the times of its rows, or as a snapshot."""
    from include.errors import RelevoError
    from include.ingestion.landing import land as land_file
    from include.storage.lake_tables import Lake
    from include.storage.object_store import ObjectStore

    with shown_errors():
        pipeline = named_pipeline.load(name)
        with open_store(Layout.from_environment(), local=local) as settings:
            try:
                landed = land_file(
                    ObjectStore(settings),
                    pipeline,
                    file,
                    source=source,
                    snapshot=snapshot,
                    replace=replace,
                )
            except RelevoError as error:
                raise StackError(str(error)) from error
            _show(landed)
            lake, whose = Lake(settings, pipeline.name), source or pipeline.primary_source
            _tell(kept := _kept(lake, pipeline, whose, landed))
            if kept:
                _tell([f"`./relevo stale {name}` lists all that depends on them, models as well."])
            _tell(_warnings(lake, pipeline, whose, landed))


def _tell(warnings: Iterable[str]) -> None:
    for warning in warnings:
        console.print(warning, style="yellow", markup=False, soft_wrap=True)


def _kept(lake: Lake, pipeline: Pipeline, source: str, landed: Landed) -> Sequence[str]:
    """Say which partitions have rows of what landed there before, and what brings the new ones.

    A few rows that slipped into the file of another partition replace the whole of that.
    """
    from include.steps.generations import in_use_now
    from include.wording import some

    is_labels = source == pipeline.label_source and not pipeline.labels_in_row
    task = "ingest_labels" if is_labels else f"ingest_{source}"
    ingested = lake.row_counts(in_use_now(lake, pipeline).raw_table(source))
    changed = [
        name for name in sorted(ingested) if any(f"/{name}/" in uri for uri in landed.written)
    ]
    if not changed:
        return ()
    shrunk = [
        f"{name}: {counted(landed.rows[name], 'row')} landed in place of {ingested[name]:,} "
        "that were ingested. If that is not the whole partition, land the whole of it before its "
        "run is repeated."
        for name in changed
        if landed.rows[name] < _SHRUNK * ingested[name]
    ]
    return (
        *shrunk,
        f"{some(changed)} {'was' if len(changed) == 1 else 'were'} ingested before: the tables "
        f"keep the rows of then until {task} is cleared, with what follows it, in the "
        f"runs about {'it' if len(changed) == 1 else 'them'}, or until those are repeated.",
        *_repeating(pipeline, changed),
    )


def _repeating(pipeline: Pipeline, changed: Sequence[str]) -> Iterator[str]:
    """Give the command that repeats the runs about partitions, and those between them."""
    from include.calendar.partitions import parse
    from include.steps.gaps import due_runs

    first = parse(changed[0], pipeline.partition)
    due = due_runs(pipeline, first, datetime.now(UTC).replace(tzinfo=None))
    dates = [date for partition, date in due.items() if str(partition) in changed]
    if dates:
        yield (
            f"  ./relevo airflow backfill create --dag-id {pipeline.name}_score --from-date "
            f"{dates[0].isoformat()} --to-date {dates[-1].isoformat()} --reprocess-behavior "
            "completed --max-active-runs 1"
        )


def _warnings(lake: Lake, pipeline: Pipeline, source: str, landed: Landed) -> Iterator[str]:
    """Say what ingesting the last of the landed partitions will meet.

    Of an older history landed later that is the last of those that were there before, too: the
    columns of the partition that is first now will be those of the table.
    """
    from include.calendar import partitions
    from include.development.landed_checks import latest
    from include.errors import RelevoError
    from include.ingestion.landed_partitions import landed_partitions
    from include.steps.landed_probe import probe
    from include.storage.connections import from_environment

    try:
        end = latest(pipeline)
        found = landed_partitions(lake.settings, pipeline, source, end, from_environment)
        last = partitions.parse(list(landed.rows)[-1], pipeline.partition)
        for partition in dict.fromkeys((last, *found[-1:])):
            yield from probe(lake, pipeline, source, partition).warnings
    except RelevoError as error:
        yield f"It has landed, but ingesting it will stop. {error}"


def _show(landed: Landed) -> None:
    names = list(landed.rows)
    rows = sum(landed.rows.values())
    shown = ", ".join(names) if len(names) <= _LISTED else f"{names[0]} to {names[-1]}"
    console.print(
        f"landed {counted(rows, 'row')} in {counted(len(names), 'partition')} "
        f"({shown}): {len(landed.written)} written, {len(landed.skipped)} there already",
        markup=False,
        soft_wrap=True,
    )
    for warning in landed.warnings:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
