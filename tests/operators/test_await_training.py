"""Waiting for earlier partitions and trainings: how long, how it is told, and without a worker."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.module_loading import import_string

from relevo.operators.monitoring import AwaitTrainingOperator
from relevo.operators.preparation import ComputeFeaturesOperator, IngestSourceOperator
from relevo.triggers import RunsEndedTrigger, TrainingsEndedTrigger
from relevo.waiting import Waiting

COMMON: Any = {"task_id": "await_training", "pipeline": "loan_default", "partition": "2005-Q3"}
OPEN = Waiting(
    told=("run a", "run b"), runs=("a", "b"), trainings=(("loan_default_train", "t", "2005-Q1"),)
)


def ago(**how: float) -> str:
    return (datetime.now(UTC) - timedelta(**how)).isoformat()


class TestOperator:
    @pytest.fixture
    def look(self, replace_by_autospec: Any) -> Any:
        return replace_by_autospec("relevo.waiting.earlier_decisions", return_value=Waiting())

    def test_it_goes_on_if_nothing_is_open(self, context: Any, look: Any) -> None:
        assert AwaitTrainingOperator(**COMMON).execute(context) is None
        waiter = look.call_args.args[0]
        assert (str(waiter.partition), waiter.dag_id, waiter.run_id) == (
            "2005-Q3",
            "loan_default_score",
            "manual__1",
        )

    def test_it_defers_otherwise(self, context: Any, look: Any) -> None:
        look.return_value = OPEN
        task = AwaitTrainingOperator(deadline=timedelta(hours=1), poll_seconds=5.0, **COMMON)
        before = datetime.now(UTC)
        with pytest.raises(TaskDeferred) as caught:
            task.execute(context)
        trigger = caught.value.trigger
        assert isinstance(trigger, TrainingsEndedTrigger)
        assert (trigger.partition, trigger.runs, trigger.poll_seconds) == (
            "2005-Q3",
            ["a", "b"],
            5.0,
        )
        assert trigger.trainings == [["loan_default_train", "t", "2005-Q1"]]
        # It looks again itself within a minute, and gives up after an hour.
        looks_again = datetime.fromisoformat(trigger.until) - before
        assert timedelta(seconds=30) <= looks_again < timedelta(minutes=2)
        deadline = datetime.fromisoformat(caught.value.kwargs["deadline"])
        assert timedelta(hours=1) <= deadline - before < timedelta(hours=1, minutes=1)
        json.dumps(caught.value.kwargs)

    def test_it_looks_again_and_goes_on(self, context: Any, look: Any) -> None:
        waited = {"deadline": ago(hours=-1), "blocking": None, "patience": 120.0}
        task = AwaitTrainingOperator(**COMMON)
        assert task.resume(context, {"status": "ended"}, **waited) is None
        look.return_value = OPEN  # something came before it meanwhile
        with pytest.raises(TaskDeferred) as caught:
            task.resume(context, {"status": "ended"}, **waited)
        assert caught.value.kwargs == {**waited, "patience": 240.0}

    def test_it_fails_at_its_deadline_and_names_what_is_open(self, context: Any, look: Any) -> None:
        look.return_value = OPEN
        task = AwaitTrainingOperator(deadline=timedelta(hours=6), **COMMON)
        with pytest.raises(AirflowFailException) as caught:
            task.resume(context, {"status": "time"}, deadline=ago(seconds=1))
        message = str(caught.value)
        assert message.startswith("pipeline loan_default 2005-Q3: ")
        assert "within 6:00:00" in message
        assert "got open: run a; run b." in message
        assert message.endswith("Look at those runs, then clear this task with downstream.")

    def test_it_gives_way_when_it_keeps_earlier_runs_from_beginning(
        self, context: Any, look: Any
    ) -> None:
        look.return_value = Waiting(
            told=("run a (queued)",), runs=("a",), is_blocking=True, must_give_way=True
        )
        task = AwaitTrainingOperator(**COMMON)
        waited = {"deadline": ago(hours=-5), "blocking": ago(seconds=40), "patience": 600.0}
        with pytest.raises(TaskDeferred) as deferred:  # the scheduler may be slow
            task.resume(context, {"status": "time"}, **waited)
        assert deferred.value.kwargs["blocking"] == waited["blocking"]
        # However patient it is by now, it looks again when its place is needed.
        needed = datetime.fromisoformat(waited["blocking"]) + timedelta(minutes=1)
        assert datetime.fromisoformat(deferred.value.trigger.until) == needed
        waited["blocking"] = ago(minutes=1)
        with pytest.raises(AirflowFailException, match=r"so this run gives way: clear it when"):
            task.resume(context, {"status": "time"}, **waited)
        # Another one that holds a place does something: it may leave its place.
        look.return_value = replace(look.return_value, must_give_way=False)
        with pytest.raises(TaskDeferred) as deferred:
            task.resume(context, {"status": "time"}, **waited)
        assert deferred.value.kwargs["blocking"] == waited["blocking"]
        look.return_value = OPEN  # they have begun
        with pytest.raises(TaskDeferred) as deferred:
            task.resume(context, {"status": "time"}, **waited)
        assert deferred.value.kwargs["blocking"] is None


class TestTurn:
    """Preparing data waits too, and how many may prepare depends on what they look at."""

    @pytest.fixture
    def first(self, replace_by_autospec: Any) -> Any:
        return replace_by_autospec("relevo.waiting.earlier_runs", return_value=Waiting())

    @pytest.fixture
    def ingested(self, replace_by_autospec: Any) -> Any:
        self.exists = replace_by_autospec("include.storage.lake_tables.Lake.exists")
        self.exists.return_value = True
        return replace_by_autospec("include.steps.preparation.ingest")

    def ingest(self, context: Any, **values: Any) -> str | RunsEndedTrigger:
        values = {**COMMON, "task_id": "ingest_loans", "source": "loans", **values}
        try:
            IngestSourceOperator(**values).execute(context)
        except TaskDeferred as deferred:
            return cast(RunsEndedTrigger, deferred.trigger)
        return "ingested"

    def test_one_prepares_while_the_one_before_it_is_active(
        self, context: Any, first: Any, ingested: Any
    ) -> None:
        assert self.ingest(context) == "ingested"
        first.return_value = Waiting(told=("run a",), runs=("a",))
        assert self.ingest(context) == "ingested"
        first.return_value = Waiting(told=("run a", "run b"), runs=("a", "b"))
        trigger = self.ingest(context)
        assert isinstance(trigger, RunsEndedTrigger)
        assert (trigger.runs, trigger.overlap, trigger.dag_id) == (
            ["a", "b"],
            1,
            "loan_default_score",
        )
        assert ingested.call_count == 2

    def test_the_first_batch_of_all_is_the_earliest(
        self, context: Any, first: Any, ingested: Any
    ) -> None:
        self.exists.return_value = False
        assert self.ingest(context) == "ingested"
        first.return_value = Waiting(told=("run a",), runs=("a",))
        trigger = self.ingest(context)
        assert isinstance(trigger, RunsEndedTrigger)
        assert trigger.overlap == 0

    def test_runs_about_one_partition_follow_each_other(
        self, context: Any, first: Any, ingested: Any
    ) -> None:
        first.return_value = Waiting(told=("run b",), runs=("a", "b"), rivals=("b",))
        trigger = self.ingest(context)
        assert isinstance(trigger, RunsEndedTrigger)
        assert (trigger.runs, trigger.overlap) == (["b"], 0)

    @pytest.mark.parametrize("pipeline", ["telco_churn", "with_history"])
    def test_snapshots_and_partitions_that_look_back_follow_each_other(
        self,
        context: Any,
        first: Any,
        ingested: Any,
        spark: Any,
        monkeypatch: pytest.MonkeyPatch,
        pipeline: str,
    ) -> None:
        from include.specification import pipeline_file

        values: dict[str, Any] = {"pipeline": pipeline, "partition": "snapshot-0002"}
        source = "customers"
        if pipeline == "with_history":
            source = "loans"
            made = pipeline_file.load("loan_default")
            loans = made.sources["loans"].model_copy(update={"history": 2})
            made = made.model_copy(update={"sources": {**made.sources, "loans": loans}})
            monkeypatch.setattr(pipeline_file, "load", lambda name: made)
            values["partition"] = "2005-Q3"
        first.return_value = Waiting(told=("run a",), runs=("a",))
        trigger = self.ingest(context, source=source, **values)
        assert isinstance(trigger, RunsEndedTrigger)
        assert trigger.overlap == 0
        # One that came between ingest and features is seen too.
        compute = ComputeFeaturesOperator(batches={}, task_id="c", **values)
        with pytest.raises(TaskDeferred):
            compute.execute(context)


def trigger(**changes: Any) -> TrainingsEndedTrigger:
    values: dict[str, Any] = {
        "pipeline": "loan_default",
        "partition": "2005-Q3",
        "dag_id": "loan_default_score",
        "runs": ["a"],
        "trainings": [("loan_default_train", "t", "2005-Q1")],
        "poll_seconds": 0.01,
        "until": ago(minutes=-1),
    }
    return TrainingsEndedTrigger(**{**values, **changes})


class TestTrigger:
    def fire(self, trigger: Any) -> Any:
        async def first() -> Any:
            async for event in trigger.run():
                return event.payload

        return asyncio.run(first())

    @pytest.mark.parametrize(
        "made",
        [
            trigger(),
            RunsEndedTrigger(dag_id="d", runs=["a"], overlap=1, poll_seconds=1.0, until="x"),
        ],
    )
    def test_it_survives_serialisation(self, made: Any) -> None:
        path, values = made.serialize()
        again = import_string(path)(**json.loads(json.dumps(values)))
        assert again.serialize() == (path, json.loads(json.dumps(values)))

    def test_it_fires_once_nothing_is_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counts = iter([2, 1, 0])
        made = trigger()
        monkeypatch.setattr(made, "open", lambda: next(counts))
        assert self.fire(made) == {"status": "ended"}

    def test_it_fires_when_time_is_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = trigger(until=ago(seconds=0))
        monkeypatch.setattr(made, "open", lambda: 1)
        assert self.fire(made) == {"status": "time"}

    def test_it_looks_again_when_a_server_did_not_answer(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = iter([OSError("no route"), 0])

        def look() -> int:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

        made = trigger()
        monkeypatch.setattr(made, "open", look)
        assert self.fire(made) == {"status": "ended"}

    def test_runs_that_are_too_many(self, replace_by_autospec: Any) -> None:
        count = replace_by_autospec("relevo.active_runs.count_active", return_value=3)
        made = RunsEndedTrigger(dag_id="d", runs=["a"], overlap=1, poll_seconds=1.0, until="x")
        assert made.open() == 2
        count.assert_called_with("d", ["a"])
        count.return_value = 0
        assert made.open() == 0
