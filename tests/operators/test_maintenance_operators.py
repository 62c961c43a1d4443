"""The operators behind ``platform_maintain``, against a real store and Airflow's own answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.errors import UnavailableError
from include.registry.mlflow_runs import Tracking
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from relevo.active_runs import oldest_active
from relevo.operators.maintenance import (
    RETENTION_VARIABLE,
    CarryOutMaintenanceOperator,
    PlanMaintenanceOperator,
)
from tests.operators.airflow_api import FakeScheduler
from tests.operators.running import store_connection

ORIGIN = Origin("p_score", "run", "task")
DAY = timedelta(days=1)


@pytest.fixture
def lake(store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A partition that was replaced just now, of a pipeline that Airflow knows nothing of."""
    monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", store_connection(store_settings))
    lake = Lake(store_settings, f"p{uuid.uuid4().hex[:12]}")
    for number in (1, 2):
        rows = pa.table({"x": [number], "partition": ["2005-Q1"]})
        lake.write("features", rows, partitions=["2005-Q1"], origin=ORIGIN)
    yield lake
    ObjectStore(store_settings).delete_below(f"s3://lake/{lake.pipeline}/")


@pytest.fixture
def mlflow(replace_by_autospec: Any) -> Any:
    tracking = replace_by_autospec("include.registry.mlflow_runs.Tracking")
    tracking.return_value.unfinished.return_value = []
    return tracking.return_value


@pytest.fixture(autouse=True)
def erasing(replace_by_autospec: Any) -> Any:
    """Nobody's rows are being erased."""
    return replace_by_autospec("relevo.operators.maintenance.count_active", return_value=0)


@pytest.fixture
def in_a_year(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operators believe that a year has passed."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + 365 * DAY

    monkeypatch.setattr("relevo.operators.maintenance.datetime", Clock)


def run(kind: Any, lake: Lake, context: dict[str, Any], **params: Any) -> Any:
    context["params"] = {"dry_run": False, "pipeline": None, **params}
    return kind(task_id="step", pipeline=lake.pipeline).execute(context)


def files(lake: Lake) -> int:
    return sum(
        item.uri.endswith(".parquet")
        for item in ObjectStore(lake.settings).list(lake.uri("features"))
    )


def test_planned_then_carried_out(
    lake: Lake, context: dict[str, Any], ti: Any, mlflow: Tracking, in_a_year: None
) -> None:
    planned = run(PlanMaintenanceOperator, lake, context)
    assert (planned["data file"]["count"], files(lake)) == (1, 2)
    page = f"s3://reports/{lake.pipeline}/maintenance/index.html"
    store = ObjectStore(lake.settings)
    assert b"nothing was removed yet" in store.read(page)
    assert (
        ti.pushed["relevo_maintenance"] == f"/relevo/reports/{lake.pipeline}/maintenance/index.html"
    )

    assert run(CarryOutMaintenanceOperator, lake, context) == planned

    assert files(lake) == 1
    assert b"bytes won" in store.read(page)
    table = store.read(page.replace("index.html", "items.csv")).decode()
    assert table.splitlines()[1].startswith(f"done,data file,s3://lake/{lake.pipeline}/features/")


def test_a_dry_run_removes_nothing(
    lake: Lake, context: dict[str, Any], mlflow: Tracking, in_a_year: None
) -> None:
    run(PlanMaintenanceOperator, lake, context, dry_run=True)
    with pytest.raises(AirflowSkipException, match="dry run"):
        run(CarryOutMaintenanceOperator, lake, context, dry_run=True)
    assert files(lake) == 2


def test_a_run_about_another_pipeline(lake: Lake, context: dict[str, Any]) -> None:
    for kind in (PlanMaintenanceOperator, CarryOutMaintenanceOperator):
        with pytest.raises(AirflowSkipException, match="about other alone"):
            run(kind, lake, context, pipeline="other")


def test_the_retention_is_a_variable_of_airflow(
    lake: Lake,
    context: dict[str, Any],
    mlflow: Tracking,
    in_a_year: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = f"AIRFLOW_VAR_{RETENTION_VARIABLE.upper()}"
    monkeypatch.setenv(variable, "400")
    assert run(PlanMaintenanceOperator, lake, context) == {}
    monkeypatch.setenv(variable, "1")
    with pytest.raises(AirflowFailException, match="from 14 to"):
        run(PlanMaintenanceOperator, lake, context)


def test_a_store_that_does_not_answer_is_tried_again(
    lake: Lake, context: dict[str, Any], mlflow: Tracking, replace_by_autospec: Any
) -> None:
    down = replace_by_autospec("include.steps.maintenance.on_record")
    down.side_effect = UnavailableError("the store does not answer")
    with pytest.raises(UnavailableError):
        run(PlanMaintenanceOperator, lake, context)


class TestOldestActive:
    def test_nothing_is_open(self, scheduler: FakeScheduler) -> None:
        assert oldest_active("never_seen") is None
        scheduler.add_run("p_score", "over", tasks={"a": "success"}, state="success")
        assert oldest_active("p_score") is None

    def test_a_run_that_was_cleared_may_have_begun_at_its_date(
        self, scheduler: FakeScheduler
    ) -> None:
        before = datetime(2026, 1, 1, tzinfo=UTC)
        scheduler.add_run("p_score", "cleared", tasks={"a": None}, run_after=before)
        scheduler.add_run("p_score", "queued", tasks={"a": None}, state="queued")
        assert oldest_active("p_score") == before


def test_nothing_is_planned_or_removed_while_rows_are_erased(
    lake: Lake, context: dict[str, Any], mlflow: Any, in_a_year: None, erasing: Any
) -> None:
    erasing.return_value = 1
    for kind in (PlanMaintenanceOperator, CarryOutMaintenanceOperator):
        with pytest.raises(AirflowSkipException, match="Rows are being erased"):
            run(kind, lake, context)
    assert files(lake) == 2
    erasing.assert_called_with("platform_erase")
