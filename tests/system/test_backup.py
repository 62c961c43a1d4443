"""A stack is backed up and lost; the backup goes on where the stack stopped, also upgraded."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from include.calendar.partitions import Frequency, parse
from include.registry.champions import Registry
from include.registry.mlflow_runs import Tracking
from include.storage import ledger
from include.storage.lake_tables import Lake
from stack.backup import transfer
from stack.backup.embedded import EmbeddedInstallation
from stack.embedded import databases
from stack.embedded.configuration import Configuration
from stack.embedded.environment import airflow_environment
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.embedded.ports import LOOPBACK
from stack.embedded.postgres import DATABASES, MLFLOW_DATABASE, address
from stack.errors import ConfigurationError
from tests.pipelines.records import land_records
from tests.system.conftest import SystemStack, connect

pytestmark = pytest.mark.system

PIPELINE = "rodent_species"
SCORE, TRAIN = f"{PIPELINE}_score", f"{PIPELINE}_train"
PATIENCE_SECONDS = 1200
# The schemas that are gone back to: Airflow's by the name of its release, MLflow's by its revision.
OLDER_AIRFLOW, AIRFLOW_REVISION = "3.2.0", "1d6611b6ab7c"
OLDER_MLFLOW, MLFLOW_REVISION = "3.16.0", "75868b020152"


def test_a_lost_stack_goes_on_from_its_backup(stack: SystemStack, tmp_path: Path) -> None:
    """The stack of all system tests is the one that is lost: these tests are the last of them."""
    before, restored = lost_and_restored(stack, tmp_path)

    with elsewhere(restored), running(restored) as again:
        assert again.configuration.mlflow_url != Configuration.load(stack.layout).mlflow_url
        assert history(again) == before
        run(again, SCORE, "1997")
        assert lake(again).read("predictions", partitions=["1997"]).num_rows


@pytest.mark.proof  # its short form is the test before
def test_it_goes_on_after_an_upgrade(stack: SystemStack, tmp_path: Path) -> None:
    before, restored = lost_and_restored(stack, tmp_path)
    go_back_to_older_schemas(restored)
    with pytest.raises(ConfigurationError, match=r"Airflow in .* got 3\.2\.0\. Run"):
        Stack(restored).up(print)

    with elsewhere(restored):
        transfer.upgrade(EmbeddedInstallation(restored), tmp_path / "before-upgrade", print)
        with running(restored) as again:
            assert history(again) == before

            run(again, TRAIN, "1996")
            states = ledger.training_states(lake(again))
            assert states == {"1993": "promoted", "1996": "promoted"}
            registry = Registry(lake(again))
            champions = [
                registry.require_champion(parse(year, Frequency.YEARLY)).version
                for year in ("1996", "1997")
            ]
            assert champions == [1, 2]
            run(again, SCORE, "1997")
            scored = lake(again).read("predictions", partitions=["1997"]).to_pandas()
            assert set(scored["model_version"]) == {2}
    assert [database.migrated_to(restored) for database in databases.DATABASES] == [
        database.installed() for database in databases.DATABASES
    ]


def lost_and_restored(stack: SystemStack, folder: Path) -> tuple[dict[str, Any], Layout]:
    """Back up the stack, lose it, and restore it; returns what had happened, and where it is."""
    lost, restored = stack.layout, Layout(folder / "restored", stack.layout.repository)
    Stack(lost).up(print)  # another test may have lost it
    live_until_1996(stack)
    before = history(stack)
    assert len(before["runs"]) >= 2
    assert {table for table, rows in before["tables"].items() if rows} >= {
        "raw_captures",
        "features",
        "predictions",
        "registry",
        "ledger",
    }
    Stack(lost).down(print)
    transfer.back_up(EmbeddedInstallation(lost), folder / "backup", print)
    transfer.restore(EmbeddedInstallation(restored), folder / "backup", print)
    return before, restored


@contextlib.contextmanager
def elsewhere(layout: Layout) -> Iterator[None]:
    """Have another server listen where MLflow did, as on another machine."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, Configuration.load(layout).ports["mlflow"]))
        server.listen()
        yield


def live_until_1996(stack: SystemStack) -> None:
    """Train and score, unless another test has."""
    for dag_id in (TRAIN, SCORE):
        stack.api.wait_for_dag(dag_id)
        stack.api.unpause(dag_id)
    land_records(stack.settings.store, PIPELINE)
    if not stack.api.dag_runs(TRAIN):
        run(stack, TRAIN, "1993")
    if not stack.api.dag_runs(SCORE):
        run(stack, SCORE, "1994")


def run(stack: SystemStack, dag_id: str, partition: str) -> None:
    """Run a DAG for a partition; this test may share its machine with another stack."""
    started = stack.api.trigger(dag_id, {"partition": partition})
    stack.wait(dag_id, started["dag_run_id"], seconds=PATIENCE_SECONDS)


@contextlib.contextmanager
def running(layout: Layout) -> Iterator[SystemStack]:
    """Have a whole stack running, with the DAGs of the pipeline."""
    operation = Stack(layout)
    operation.up(print)
    try:
        stack = connect(layout)
        for dag_id in (TRAIN, SCORE):
            stack.api.wait_for_dag(dag_id)
            stack.api.unpause(dag_id)
        yield stack
    finally:
        operation.down(print)


def lake(stack: SystemStack) -> Lake:
    """The tables of the pipeline."""
    return Lake(stack.settings.store, PIPELINE)


def history(stack: SystemStack) -> dict[str, Any]:
    """Everything that has happened, as Airflow, MLflow and the tables tell it."""
    runs = [run for dag_id in (TRAIN, SCORE) for run in stack.api.dag_runs(dag_id)]
    tasks = [
        task for run in runs for task in stack.api.task_instances(run["dag_id"], run["dag_run_id"])
    ]
    client = Tracking(stack.settings.mlflow, PIPELINE).client
    experiment = client.get_experiment_by_name(PIPELINE)
    tables = {uri.split("/")[4] for uri in _uris(stack) if "/_delta_log/" in uri}
    return {
        "runs": [(run["dag_run_id"], run["state"], run["conf"]) for run in runs],
        "tasks": sorted(
            (task["dag_run_id"], task["task_id"], task["map_index"], task["state"] or "")
            for task in tasks
        ),
        "xcom": [_xcom(stack, run) for run in runs],
        "log": stack.log(TRAIN, runs[0]["dag_run_id"], tasks[0]).splitlines()[-1],
        "mlflow": sorted(
            (run.info.run_id, run.info.status, sorted(run.data.metrics.items()))
            for run in client.search_runs([experiment.experiment_id])
        ),
        "champion": client.get_model_version_by_alias(PIPELINE, "champion").version,
        "tables": {
            table: lake(stack).read(table).to_pandas().map(str).to_dict("records")
            for table in sorted(tables)
        },
        "objects": [
            (item.uri, hashlib.sha256(stack.store.read(item.uri)).hexdigest())
            for bucket in ("landing", "lake", "mlflow", "reports")
            for item in stack.store.list(f"s3://{bucket}")
        ],
    }


def _uris(stack: SystemStack) -> list[str]:
    return [item.uri for item in stack.store.list(f"s3://lake/{PIPELINE}")]


def _xcom(stack: SystemStack, run: dict[str, Any]) -> list[Any]:
    path = f"dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'])}/taskInstances/~/xcomEntries"
    entries = stack.api._list(path, "xcom_entries", {})
    return sorted((entry["task_id"], entry["map_index"], entry["key"]) for entry in entries)


def go_back_to_older_schemas(layout: Layout) -> None:
    """Leave the databases as older releases of Airflow and MLflow would have."""
    with Stack(layout).running(("postgres",), print):
        _go_back(layout)


def _go_back(layout: Layout) -> None:
    subprocess.run(
        [layout.bin / "airflow", "db", "downgrade", f"--to-version={OLDER_AIRFLOW}", "--yes"],
        env=airflow_environment(layout, Configuration.load(layout), "downgrade"),
        check=True,
        capture_output=True,
    )
    import mlflow.store.db_migrations as migrations

    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(migrations.__path__)))))
    config.set_main_option("sqlalchemy.url", address(layout, MLFLOW_DATABASE).replace("%", "%%"))
    command.downgrade(config, MLFLOW_REVISION)
    databases.AIRFLOW.mark(layout, OLDER_AIRFLOW)
    databases.MLFLOW.mark(layout, OLDER_MLFLOW)
    assert revisions(layout) == (AIRFLOW_REVISION, MLFLOW_REVISION)


def revisions(layout: Layout) -> tuple[str, ...]:
    """Ask the running server for the revisions of both schemas."""
    found = []
    for name in DATABASES:
        engine = sa.create_engine(address(layout, name))
        with engine.connect() as connection:
            found.append(connection.scalar(sa.text("select version_num from alembic_version")))
        engine.dispose()
    return tuple(found)
