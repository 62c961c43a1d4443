"""`./relevo plan`: what a pipeline will do, where, when, and how that differs from what runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from include.wording import counted
from stack.airflow_api import AirflowApi
from stack.commands.check import describe_schedule
from stack.commands.dag_outline import outline
from stack.embedded.configuration import Configuration
from stack.embedded.environment import library_environment
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import StackError
from stack.terminal import console, shown_errors

if TYPE_CHECKING:
    from include.development.planning import PlannedDag
    from include.specification.pipeline import Pipeline
    from include.storage.lake_tables import Lake

_DOWN = "the stack is down: start it with `./relevo up` to see what exists"


def plan(name: Annotated[str, typer.Argument(help="Name of the pipeline.")]) -> None:
    """Show a pipeline's tasks, tables, schedules and what differs from what is deployed."""
    from include.errors import RelevoError
    from include.specification import pipeline_file

    with shown_errors():
        layout = Layout.from_environment()
        configuration = Configuration.load(layout) if Stack(layout).is_running() else None
        if configuration is not None:
            os.environ.update(library_environment(layout, configuration))
        try:
            pipeline = pipeline_file.load(name)
            dags = outline([name])[name]
            _show_dags(pipeline, dags)
            _show_landing_places(pipeline)
            _show_tables(pipeline, is_up=configuration is not None)
            _show_next(pipeline, is_up=configuration is not None)
            if configuration is None:
                _heading("Changes", _DOWN)
                return
            _show_dag_changes(dags, AirflowApi.of(configuration))
            _show_file_changes(pipeline)
            _show_function_change(pipeline)
        except RelevoError as error:
            raise StackError(str(error)) from error


def _show_dags(pipeline: Pipeline, dags: Sequence[PlannedDag]) -> None:
    from include.development.planning import Traffic, traffic

    places = traffic(pipeline)
    for dag in dags:
        _heading(dag.dag_id, describe_schedule(pipeline, dag))
        table = _table("task", "operator", "reads", "writes")
        for task in dag.tasks:
            used = places.get(task.task_id, Traffic())
            label = f"{task.task_id} x {len(task.mapped)}" if task.mapped else task.task_id
            table.add_row(label, task.operator, ", ".join(used.reads), ", ".join(used.writes))
        console.print(table)


def _show_landing_places(pipeline: Pipeline) -> None:
    from include.development.planning import landing_places

    _heading("Sources", "where data are expected")
    table = _table("source", "brings", "place", "suite")
    for source, place in landing_places(pipeline).items():
        brings = [
            *(["features"] if source in pipeline.feature_sources else []),
            *(["labels"] if source == pipeline.label_source else []),
        ]
        table.add_row(source, " and ".join(brings), place, pipeline.sources[source].suite)
    console.print(table)


def _show_tables(pipeline: Pipeline, *, is_up: bool) -> None:
    from include.development.planning import table_uri, tables

    _heading("Tables", "" if is_up else _DOWN)
    table = _table("table", "address", "state")
    names = tables(pipeline)
    states = _states(pipeline.name, names) if is_up else {}
    for name in names:
        table.add_row(name, table_uri(pipeline, name), states.get(name, ""))
    console.print(table)


def _show_next(pipeline: Pipeline, *, is_up: bool) -> None:
    from include.development.planning import next_steps

    steps = next_steps(pipeline, _lake(pipeline.name) if is_up else None)
    if steps:
        _heading("Next", "what the file names under next" + ("" if is_up else f"; {_DOWN}"))
    for line in steps:
        _line(f"  {line}")


def _show_function_change(pipeline: Pipeline) -> None:
    from include.features.feature_function import load_function
    from include.features.function_digest import told_of_change
    from include.steps.generations import in_use_now

    one = in_use_now(lake := _lake(pipeline.name), pipeline)
    if told := told_of_change(lake, one, load_function(one)):
        _heading("Features", told)


def _lake(pipeline: str) -> Lake:
    from include.storage.lake_tables import Lake
    from include.storage.settings import StoreSettings

    return Lake(StoreSettings.from_environment(), pipeline)


def _states(pipeline: str, names: Sequence[str]) -> dict[str, str]:
    lake = _lake(pipeline)
    states = {}
    for name in names:
        if not lake.exists(name):
            states[name] = "will be created"
            continue
        counts = lake.row_counts(name)
        states[name] = (
            f"{counted(sum(counts.values()), 'row')}{_span(sorted(filter(None, counts)))}"
        )
    return states


def _span(partitions: Sequence[str]) -> str:
    """Name the partitions of a table; the ledger and the registry have none."""
    if len(partitions) < 2:
        return f" in {partitions[0]}" if partitions else ""
    return f" in {len(partitions)} partitions, {partitions[0]} to {partitions[-1]}"


def _show_dag_changes(dags: Sequence[PlannedDag], api: AirflowApi) -> None:
    from include.development.planning import dag_changes

    changes = dag_changes(dags, deployed_dags(api, dags))
    _heading("Changes to Airflow's DAGs", "" if changes else "none")
    for line in changes:
        _line(f"  {line}")


def _show_file_changes(pipeline: Pipeline) -> None:
    from include.development.planning import champions_file, file_changes
    from include.storage import ledger

    told = ledger.entries(_lake(pipeline.name), "training", "promotion", "rollback", "by_hand")
    trained = champions_file(told)
    title = "Changes to the pipeline file since the champion was trained"
    if trained is None:
        _heading(title, "no champion yet")
        return
    changes = file_changes(trained, pipeline.model_dump(mode="json", exclude_defaults=True))
    _heading(title, "" if changes else "none")
    for line in changes:
        _line(f"  {line}")


def deployed_dags(api: AirflowApi, dags: Sequence[PlannedDag]) -> dict[str, PlannedDag]:
    """Read the DAGs that Airflow serves now under the names of planned ones.

    Args:
        api: Airflow.
        dags: Planned DAGs.
    """
    from include.development.planning import PlannedDag, PlannedTask

    found = {}
    for dag_id in (dag.dag_id for dag in dags):
        if not api.has_dag(dag_id):
            continue
        served = api.tasks(dag_id)
        tasks = tuple(
            PlannedTask(
                task["task_id"],
                task["class_ref"]["class_name"],
                tuple(
                    sorted(
                        other["task_id"]
                        for other in served
                        if task["task_id"] in (other["downstream_task_ids"] or ())
                    )
                ),
            )
            for task in served
        )
        found[dag_id] = PlannedDag(dag_id, str(api.dag(dag_id)["timetable_summary"]), tasks)
    return found


def _heading(title: str, note: str) -> None:
    console.print()
    console.print(title, style="bold", markup=False, end="  ")
    _line(note)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    return table


def _line(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
