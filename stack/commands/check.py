"""`./relevo check`: is a pipeline right, and what will its DAGs look like?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stack.commands.store_access import store_settings
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, shown_errors

if TYPE_CHECKING:
    from include.development.planning import PlannedDag
    from include.specification.pipeline import Pipeline
    from include.specification.pipeline_file import Finding
    from include.storage.settings import StoreSettings

_ARROW = " > "


def check(
    name: Annotated[
        str | None, typer.Argument(help="Name of the pipeline; all of them if it is left out.")
    ] = None,
) -> None:
    """Check pipeline files, all that they name, and landed data if there is a store."""
    from include.specification import pipeline_file

    with shown_errors():
        names = [name] if name else list(pipeline_file.names())
        if not names:
            raise StackError(
                f"Pipelines: must have a file in {pipeline_file.PIPELINES}, got none. Write one "
                "with `./relevo new`."
            )
        store = _store()
        findings = {each: _findings(each, store) for each in names}
        right = [each for each in names if not _errors(findings[each])]
        dags = _outline(right) if right else {}
        for each in names:
            _show(each, findings[each], dags.get(each, ()))
        if len(right) < len(names):
            raise typer.Exit(1)


def _store() -> StoreSettings | None:
    """Find a store to look at landed data; None if there is none that answers."""
    from include.errors import RelevoError
    from include.storage.object_store import ObjectStore
    from include.storage.settings import LANDING

    try:
        settings = store_settings(Layout.from_environment())
    except StackError:
        return None
    try:
        ObjectStore(settings).list(f"s3://{LANDING}/relevo-check")
    except RelevoError as error:
        _line(f"Landed data are not looked at. {error}", "yellow")
        return None
    return settings


def _findings(name: str, store: StoreSettings | None) -> tuple[Finding, ...]:
    from include.development.checking import check as check_pipeline
    from include.errors import SpecificationError

    try:
        with warnings.catch_warnings():
            # What libraries say of themselves while they are imported is no finding.
            warnings.simplefilter("ignore")
            return check_pipeline(name, store=store)
    except SpecificationError as error:
        raise StackError(str(error)) from error


def _errors(findings: Sequence[Finding]) -> int:
    return sum(finding.level == "error" for finding in findings)


def _outline(names: Sequence[str]) -> dict[str, tuple[PlannedDag, ...]]:
    from stack.commands.dag_outline import outline

    return outline(names)


def _show(name: str, findings: Sequence[Finding], dags: Sequence[PlannedDag]) -> None:
    from include.specification import pipeline_file

    errors = _errors(findings)
    warned = len(findings) - errors
    verdict = _counted(errors, "error") if errors else "ok"
    if warned:
        verdict = f"{verdict}, {_counted(warned, 'warning')}"
    console.print(f"{name}: {verdict}", style="red" if errors else "green", markup=False)
    for finding in findings:
        style = "red" if finding.level == "error" else "yellow"
        first, *more = str(finding).splitlines()
        _line(f"  {finding.level}  {first}", style)
        for line in more:
            _line(f"    {line}")
    for dag in dags:
        _show_dag(pipeline_file.load(name), dag)


def _show_dag(pipeline: Pipeline, dag: PlannedDag) -> None:
    _line(f"  {dag.dag_id}  {describe_schedule(pipeline, dag)}")
    _line(f"    {_ARROW.join(_step(tasks) for tasks in _names(dag))}")


def describe_schedule(pipeline: Pipeline, dag: PlannedDag) -> str:
    """Say when a DAG runs, and about which partitions next."""
    from include.calendar.partitions import example, latest_closed
    from include.development.planning import next_runs
    from include.development.run_dates import run_dates

    if dag.dag_id.endswith("_train"):
        asked = f"when {pipeline.name}_score asks for it, or by hand; one run a partition"
        first = next(run_dates(pipeline), None)
        if first is None or not pipeline.has_time:
            return asked
        before = latest_closed(first, pipeline.partition).shift(-1)
        return f"{asked}; the first scoring run needs one as of {before} or earlier"
    if pipeline.schedule is None:
        return f"by hand; a partition is named like {example(pipeline.partition)}"
    now = datetime.now(UTC).replace(tzinfo=None)
    if runs := next_runs(pipeline, now):
        listed = ", ".join(f"{run.due:%Y-%m-%d %H:%M} for {run.partition}" for run in runs)
        made_up = pipeline.schedule.catch_up + 1
        is_late = next(run_dates(pipeline), now) < now
        missed = f"; before them the latest {made_up} that were missed" if is_late else ""
        return f"{dag.schedule} (UTC); next {listed}{missed}"
    dates = list(run_dates(pipeline))
    if not dates:
        return f"{dag.schedule} (UTC); no run"
    return (
        f"{dag.schedule} (UTC); over, {len(dates)} runs from {dates[0]:%Y-%m-%d} to "
        f"{dates[-1]:%Y-%m-%d}, by backfill"
    )


def _names(dag: PlannedDag) -> list[list[str]]:
    return [
        [
            f"{task.task_id} [{', '.join(task.mapped)}]" if task.mapped else task.task_id
            for task in step
        ]
        for step in dag.steps()
    ]


def _step(tasks: Sequence[str]) -> str:
    return tasks[0] if len(tasks) == 1 else f"({' | '.join(tasks)})"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _line(text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, soft_wrap=True)
