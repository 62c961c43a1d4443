"""The examples of docs/hand-made-dag.md are DAGs, wired as the factory wires them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import PartitionedAssetTimetable

import relevo.operators
from include.specification import pipeline_file
from relevo.operators.base import PARTITION_TEMPLATE, PipelineOperator
from tests.dags.test_integrity import SCORE, complaints, edges

PAGE = Path(__file__).parents[2] / "docs" / "hand-made-dag.md"
MODULES = (
    *("approval", "preparation", "monitoring", "exploration", "training"),
    *("reprocessing", "rollback", "interventions", "erasure", "retirement", "migration"),
    *("maintenance", "alerts", "release"),
)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> DagBag:
    folder = tmp_path_factory.mktemp("dags")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    for number, block in enumerate(blocks):
        if "@dag(" in block:
            (folder / f"example_{number}.py").write_text(block)
    return DagBag(str(folder))


def test_both_examples_load(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == {"loan_default_on_arrival", "loans_quality"}


def test_they_keep_the_rules_of_the_house(bag: DagBag) -> None:
    assert [text for dag in bag.dags.values() for text in complaints(dag)] == []


def test_tasks_depend_on_each_other_as_in_the_usual_dag(bag: DagBag) -> None:
    arrival = bag.dags["loan_default_on_arrival"]
    assert edges(arrival) == {
        edge for edge in SCORE if set(edge) <= {task.task_id for task in arrival.tasks}
    }
    assert edges(bag.dags["loans_quality"]) == {("ingest_loans", "validate_loans")}


def test_every_task_knows_pipeline_source_and_partition(bag: DagBag) -> None:
    sources = set(pipeline_file.load("loan_default").sources)
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert isinstance(task, PipelineOperator)
            assert (task.pipeline, task.partition) == ("loan_default", PARTITION_TEMPLATE)
            assert getattr(task, "source", "loans") in sources


def test_an_asset_starts_it_with_its_partition(bag: DagBag) -> None:
    timetable = bag.dags["loan_default_on_arrival"].timetable
    assert isinstance(timetable, PartitionedAssetTimetable)


def test_the_table_names_every_operator() -> None:
    modules = [importlib.import_module(f"relevo.operators.{name}") for name in MODULES]
    files = {path.stem for path in Path(relevo.operators.__path__[0]).glob("*.py")}
    assert files == {*MODULES, "__init__", "base"}
    defined = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name, item in vars(module).items()
        if isinstance(item, type)
        and item.__module__ == module.__name__
        and name not in ("TrainingOperator", "ReprocessingOperator", "InterventionOperator")
        and name not in ("HandoverOperator", "MaintenanceOperator", "Asked")
    }
    assert set(re.findall(r"^\| `(\w+\.\w+)`", PAGE.read_text(), flags=re.MULTILINE)) == defined
