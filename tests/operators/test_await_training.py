"""Waiting for earlier partitions and trainings: what for, how long, and without a worker."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.module_loading import import_string

from include.calendar.partitions import Frequency, parse
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import load
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings
from relevo.operators.monitoring import AwaitTrainingOperator
from relevo.triggers import TrainingsEndedTrigger, earlier_dates, waiting_for

COMMON: Any = {"task_id": "await_training", "pipeline": "loan_default", "partition": "2005-Q3"}
EARLIER = [
    "2005-07-05T06:00:00+00:00",
    "2005-04-05T06:00:00+00:00",
    "2005-01-05T06:00:00+00:00",
]


class TestEarlierDates:
    def named(self, partition: str, **schedule: Any) -> list[str]:
        pipeline: Pipeline = load("loan_default")
        changed = pipeline.schedule.model_copy(update=schedule)
        return earlier_dates(
            pipeline.model_copy(update={"schedule": changed}),
            parse(partition, Frequency.QUARTERLY),
        )

    def test_of_the_quarterly_pipeline_by_hand(self) -> None:
        # 2005-Q3 is due on 2005-10-05; runs may be due from 2005-01-01 on.
        assert self.named("2005-Q3") == EARLIER

    def test_the_first_partition_has_none(self) -> None:
        assert self.named("2004-Q4") == []
        assert self.named("2003-Q1") == []

    def test_a_run_due_at_the_moment_of_closing_is_not_earlier_than_itself(self) -> None:
        found = self.named("2005-Q2", cron="0 0 1 1,4,7,10 *")
        assert found == ["2005-04-01T00:00:00+00:00", "2005-01-01T00:00:00+00:00"]

    def test_a_look_back_has_an_end(self) -> None:
        found = self.named("2005-Q3", cron="0 6 * * *", start=date(2000, 1, 1))
        assert len(found) == 200


class TestOperator:
    def test_it_goes_on_if_nothing_is_pending(self, context: Any, replace_by_autospec: Any) -> None:
        waiting = replace_by_autospec("relevo.operators.monitoring.waiting_for", return_value=[])
        assert AwaitTrainingOperator(**COMMON).execute(context) is None
        assert waiting.call_args.args == ("loan_default", "2005-Q3", "adhoc_airflow", EARLIER)

    def test_it_defers_otherwise(self, context: Any, replace_by_autospec: Any) -> None:
        replace_by_autospec("relevo.operators.monitoring.waiting_for", return_value=["a training"])
        before = datetime.now(UTC)
        task = AwaitTrainingOperator(deadline=timedelta(hours=1), poll_seconds=5.0, **COMMON)
        with pytest.raises(TaskDeferred) as caught:
            task.execute(context)
        trigger = caught.value.trigger
        assert isinstance(trigger, TrainingsEndedTrigger)
        assert caught.value.method_name == "resume"
        assert (trigger.partition, trigger.earlier, trigger.poll_seconds) == (
            "2005-Q3",
            EARLIER,
            5.0,
        )
        wait = datetime.fromisoformat(trigger.deadline) - before
        assert timedelta(hours=1) <= wait < timedelta(hours=1, minutes=1)

    def test_it_resumes_when_all_have_ended(self, context: Any) -> None:
        assert AwaitTrainingOperator(**COMMON).resume(context, {"status": "ready"}) is None

    def test_it_fails_at_its_deadline_and_names_what_is_open(self, context: Any) -> None:
        task = AwaitTrainingOperator(deadline=timedelta(hours=6), **COMMON)
        event = {"status": "deadline", "waiting_for": ["training as of 2005-Q1", "2 earlier runs"]}
        with pytest.raises(AirflowFailException) as caught:
            task.resume(context, event)
        message = str(caught.value)
        assert message.startswith("pipeline loan_default 2005-Q3: ")
        assert "within 6:00:00" in message
        assert "training as of 2005-Q1, 2 earlier runs." in message
        assert message.endswith("Look at those runs, then clear this task.")


def trigger(**changes: Any) -> TrainingsEndedTrigger:
    values: dict[str, Any] = {
        "pipeline": "loan_default",
        "partition": "2005-Q3",
        "dag_id": "loan_default_score",
        "earlier": EARLIER,
        "poll_seconds": 0.01,
        "deadline": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
    }
    return TrainingsEndedTrigger(**{**values, **changes})


class TestTrigger:
    def fire(self, trigger: TrainingsEndedTrigger) -> Any:
        async def first() -> Any:
            async for event in trigger.run():
                return event.payload

        return asyncio.run(first())

    def test_it_survives_serialisation(self) -> None:
        made = trigger()
        path, values = made.serialize()
        again = import_string(path)(**json.loads(json.dumps(values)))
        assert again.serialize() == (path, values)

    def test_it_fires_once_nothing_is_open(self, replace_by_autospec: Any) -> None:
        look = replace_by_autospec(
            "relevo.triggers.waiting_for", side_effect=[["a"], ["a", "b"], []]
        )
        assert self.fire(trigger()) == {"status": "ready"}
        assert look.call_count == 3
        assert look.call_args.args == ("loan_default", "2005-Q3", "loan_default_score", EARLIER)

    def test_it_gives_up_at_the_deadline(self, replace_by_autospec: Any) -> None:
        replace_by_autospec("relevo.triggers.waiting_for", return_value=["a", "b"])
        late = trigger(deadline=datetime.now(UTC).isoformat())
        assert self.fire(late) == {"status": "deadline", "waiting_for": ["a", "b"]}


class TestWaitingFor:
    """What is open, from a ledger on a real store and a count by Airflow."""

    @pytest.fixture
    def lake(self, store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> Lake:
        connection = {
            "conn_type": "aws",
            "login": store_settings.access_key,
            "password": store_settings.secret_key.get_secret_value(),
            "extra": {"endpoint_url": store_settings.endpoint_url},
        }
        monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", json.dumps(connection))
        # A ledger of its own for each test.
        return Lake(store_settings, f"waiting_{uuid.uuid4().hex}")

    @pytest.fixture
    def runs(self, replace_by_autospec: Any) -> Any:
        return replace_by_autospec(
            "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_dr_count",
            return_value=0,
        )

    def test_in_the_order_in_which_things_happen(self, lake: Lake, runs: Any) -> None:
        def look() -> list[str]:
            return waiting_for(lake.pipeline, "2005-Q3", "waiting_score", EARLIER)

        def record(kind: Any, partition: str, decision: str) -> None:
            origin = Origin("d", f"run {partition}", "t")
            ledger.record(lake, kind, partition, decision, "", origin=origin)

        assert look() == []  # nothing was ever recorded, and no earlier run is active

        runs.return_value = 2
        assert look() == ["2 earlier runs of waiting_score"]
        assert runs.call_args.args == ("waiting_score",)
        assert runs.call_args.kwargs == {
            "logical_dates": [datetime.fromisoformat(date) for date in EARLIER],
            "states": ["queued", "running"],
        }

        runs.return_value = 0
        record("retraining", "2005-Q1", "yes")
        record("retraining", "2005-Q2", "no")
        assert look() == ["training as of 2005-Q1"]

        record("retraining", "2005-Q3", "yes")  # its own training comes after it
        record("training", "2005-Q1", "started")
        assert look() == ["training as of 2005-Q1"]
        record("training", "2005-Q1", "refused")
        assert look() == []

    def test_a_decision_made_while_airflow_is_asked_is_not_missed(
        self, lake: Lake, runs: Any
    ) -> None:
        origin = Origin("d", "run 2006-Q1", "t")

        def decide_and_end(*args: Any, **values: Any) -> int:
            ledger.record(lake, "retraining", "2006-Q1", "yes", "", origin=origin)
            return 0

        runs.side_effect = decide_and_end

        waiting = waiting_for(lake.pipeline, "2006-Q2", "waiting_score", EARLIER)

        assert waiting == ["training as of 2006-Q1"]

    def test_the_first_partition_asks_for_no_runs(self, lake: Lake, runs: Any) -> None:
        runs.return_value = 1
        assert waiting_for(lake.pipeline, "2004-Q4", "waiting_score", []) == []
        runs.assert_not_called()
