"""A real embedded stack with a small slice of the real data, up to the first scored partition."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.calendar.partitions import Frequency, parse
from include.registry.mlflow_runs import Tracking
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import MlflowSettings, Settings
from stack.airflow_api import AirflowApi
from stack.embedded.configuration import Configuration
from stack.embedded.environment import store_of
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.torture.project import copy_code
from tests.receivers import WebReceiver, web_receiver

PIPELINE = "loan_default"
SCORE, TRAIN = f"{PIPELINE}_score", f"{PIPELINE}_train"
FIRST_LANDED, FIRST_TRAINING, FIRST_SCORED = "2001-Q1", "2004-Q4", "2005-Q1"
# Labels of 2005-Q4 are the last that the tests need.
LAST_LANDED = "2005-Q4"
TRIALS = 1
ALERTS = "alerts: {team: {webhook: alerts_webhook}}\n"
_DONE = ("success", "failed")


@dataclass
class SystemStack:
    """The running stack, as tests use it."""

    layout: Layout
    configuration: Configuration
    api: AirflowApi
    settings: Settings
    lake: Lake
    tracking: Tracking
    store: ObjectStore
    told: WebReceiver | None = None
    pipeline: Pipeline = field(default_factory=lambda: pipeline_file.load(PIPELINE))

    def run(self, dag_id: str, partition: str, *, expect: str = "success") -> str:
        """Trigger a run for a partition, wait, and check how it ended; returns the run id."""
        run_id = self.api.trigger(dag_id, {"partition": partition})["dag_run_id"]
        self.wait(dag_id, run_id, expect=expect)
        return str(run_id)

    def wait(
        self, dag_id: str, run_id: str, *, expect: str = "success", seconds: float = 300
    ) -> None:
        """Wait until a run has ended, and check how."""
        self.until(
            lambda: self.api.dag_run(dag_id, run_id)["state"] in _DONE,
            f"{dag_id} {run_id} to end",
            seconds,
        )
        state = self.api.dag_run(dag_id, run_id)["state"]
        failed = [
            (task["task_id"], self.log(dag_id, run_id, task)[-3000:])
            for task in self.api.task_instances(dag_id, run_id)
            if task["state"] == "failed"
        ]
        assert state == expect, f"{dag_id} {run_id} ended {state}: {failed}"

    @staticmethod
    def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Poll until a condition holds."""
        until(condition, what, seconds)

    def log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """Read the log of a task's latest try."""
        return self.api.task_log(
            dag_id, run_id, task["task_id"], task["map_index"], task["try_number"]
        )

    def land(self, source: str, partition: str, name: str, data: bytes) -> str:
        """Land one file; returns its address."""
        uri = f"s3://landing/{PIPELINE}/{source}/{partition}/{name}"
        self.store.write(uri, data)
        return uri


def until(condition: Callable[[], bool], what: str, seconds: float = 900) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(1)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemStack]:
    """The stack after the first training and the first scored partition; stopped at the end."""
    folder = tmp_path_factory.mktemp("stack")
    layout = Layout(folder / "state", with_short_searches(folder / "project"))
    file = layout.repository / "include" / "pipelines" / f"{PIPELINE}.yaml"
    file.write_text(f"{file.read_text()}{ALERTS}")
    operation = Stack(layout)
    with web_receiver() as told, pytest.MonkeyPatch.context() as environment:
        connection = {"conn_type": "http", "host": told.address}
        environment.setenv("AIRFLOW_CONN_ALERTS_WEBHOOK", json.dumps(connection))
        yield from _started(operation, layout, told)


def _started(operation: Stack, layout: Layout, told: WebReceiver) -> Iterator[SystemStack]:
    operation.up(print)
    try:
        system = connect(layout)
        system.told = told
        land_slice(system.store)
        for dag_id in (TRAIN, SCORE):
            system.api.wait_for_dag(dag_id)
            system.api.unpause(dag_id)
        system.run(TRAIN, FIRST_TRAINING)
        due = datetime(2005, 4, 5, 6, tzinfo=UTC)
        system.api.create_backfill(SCORE, due, due, max_active_runs=1)
        system.until(lambda: bool(backfill_runs(system)), "the backfill's run", 60)
        system.wait(SCORE, backfill_runs(system)[0])
        yield system
    finally:
        operation.down(print)


def with_short_searches(folder: Path) -> Path:
    """Lay out the project as it is, but for the trials of the pipelines' searches: one each."""
    copy_code(folder)
    for file in (folder / "include" / "pipelines").glob("*.yaml"):
        file.write_text(re.sub(r"trials: \d+", f"trials: {TRIALS}", file.read_text()))
    return folder


def backfill_runs(system: SystemStack) -> list[str]:
    """List the ids of backfill runs."""
    return [
        run["dag_run_id"]
        for run in system.api.dag_runs(SCORE)
        if run["dag_run_id"].startswith("backfill__")
    ]


def land_slice(store: ObjectStore) -> None:
    """Land every fifth loan of the example data, approved from 2001 to 2005."""
    import pandas as pd

    from include.example_data.landing import LOAN_COLUMNS, LOANS, OUTCOME_COLUMNS

    records = pd.read_parquet(LOANS)
    records = records[records["loan_id"].str[-1].isin(list("05"))]
    first, last = (parse(name, Frequency.QUARTERLY) for name in (FIRST_LANDED, LAST_LANDED))
    for source, columns, moment in (
        ("loans", LOAN_COLUMNS, "ApprovalDate"),
        ("outcomes", OUTCOME_COLUMNS, "label_time_24"),
    ):
        inside = records[(records[moment] >= first.start) & (records[moment] < last.end)]
        for quarter, rows in inside.groupby(inside[moment].dt.to_period("Q")):
            name = str(quarter).replace("Q", "-Q")
            data = io.BytesIO()
            rows[list(columns)].to_parquet(data, index=False)
            store.write(
                f"s3://landing/{PIPELINE}/{source}/{name}/{source}.parquet", data.getvalue()
            )


def connect(layout: Layout) -> SystemStack:
    """Reach a running stack as tests do."""
    configuration = Configuration.load(layout)
    store = store_of(configuration)
    settings = Settings(
        store=store,
        mlflow=MlflowSettings(uri=configuration.mlflow_url),
        spark_remote=configuration.spark_remote,
    )
    return SystemStack(
        layout=layout,
        configuration=configuration,
        api=AirflowApi.of(configuration),
        settings=settings,
        lake=Lake(store, PIPELINE),
        tracking=Tracking(MlflowSettings(uri=configuration.mlflow_url), PIPELINE),
        store=ObjectStore(store),
    )
