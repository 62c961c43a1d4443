"""A task to run operators in: connections from the environment, XCom that is remembered."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec, patch

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from relevo import in_service
from tests.operators.airflow_api import Comms, FakeScheduler, make_tables
from tests.operators.running import SPARK, TaskInstance


@pytest.fixture
def ti() -> TaskInstance:
    """The running task."""
    return TaskInstance()


@pytest.fixture
def context(ti: TaskInstance, replace_by_autospec: Any) -> dict[str, Any]:
    """The task's context, of a run that a person triggered; no other run is active."""
    replace_by_autospec("relevo.active_runs.count_active", return_value=0)
    return {
        "ti": ti,
        "outlet_events": OutletEventAccessors(),
        "dag": SimpleNamespace(dag_id=ti.dag_id, leaves=[], max_active_runs=16),
        "dag_run": SimpleNamespace(
            run_id=ti.run_id,
            run_type="manual",
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            consumed_asset_events=[],
            conf={},
        ),
    }


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the three connections of a deployment; nothing listens there."""
    for name, parts in {
        "STORE": {
            "conn_type": "aws",
            "login": "key",
            "password": "secret",
            "extra": {"endpoint_url": "http://127.0.0.1:1", "region_name": "eu-west-1"},
        },
        "MLFLOW": {"conn_type": "http", "host": "http://mlflow", "port": 5000},
        "SPARK": {"conn_type": "generic", "host": "sc://spark:15002", "password": "token"},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_RELEVO_{name}", json.dumps(parts))


@pytest.fixture(autouse=True)
def demand(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No pipeline is retired."""
    demand = create_autospec(in_service.demand)
    monkeypatch.setattr(in_service, "demand", demand)
    monkeypatch.setattr(in_service, "retired", create_autospec(in_service.retired, return_value=""))
    return demand


@pytest.fixture
def spark(replace_by_autospec: Any) -> Any:
    """Join no Spark server: hand out one object as the session."""
    return replace_by_autospec("include.spark.session.connect", return_value=nullcontext(SPARK))


@pytest.fixture
def replace_by_autospec() -> Any:
    """Replace a function or class by an autospec of itself until the test ends."""
    started = []

    def replace(target: str, **how: Any) -> Any:
        patcher = patch(target, autospec=True, **how)
        started.append(patcher)
        return patcher.start()

    yield replace
    for patcher in reversed(started):
        patcher.stop()


@pytest.fixture(scope="session")
def _airflow_tables() -> None:
    make_tables()


@pytest.fixture
def scheduler(_airflow_tables: None, monkeypatch: pytest.MonkeyPatch) -> FakeScheduler:
    """Runs in Airflow's own database, and workers that ask for them."""
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
    scheduler = FakeScheduler()
    scheduler.delete_runs()
    return scheduler
