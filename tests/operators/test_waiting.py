"""What blocks a partition, from a ledger on a real store and runs in Airflow's own database."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from include.calendar.partitions import Frequency, parse
from include.specification import pipeline_file
from include.steps import training_course
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings
from relevo.triggers import TrainingsEndedTrigger
from relevo.waiting import Waiter, Waiting, earlier_decisions, earlier_runs
from tests.operators.airflow_api import FakeScheduler
from tests.operators.running import store_connection

SCORE = {"request_retraining": None}
TRAIN = {"build_training_set": None, "train_candidate": None, "close_training": None}
OVER = dict.fromkeys(TRAIN, "success")


class World:
    """A pipeline of its own, its ledger and its runs."""

    def __init__(self, lake: Lake, scheduler: FakeScheduler) -> None:
        self.lake = lake
        self.scheduler = scheduler
        self.score, self.train = f"{lake.pipeline}_score", f"{lake.pipeline}_train"
        scheduler.add_dag(self.train)

    def add(self, run_id: str, partition: str, **values: Any) -> None:
        """Add a scoring run."""
        values = {"tasks": SCORE, "conf": {"partition": partition}, **values}
        self.scheduler.add_run(self.score, run_id, **values)

    def add_training(self, run_id: str, partition: str, **values: Any) -> None:
        """Add a training run."""
        values = {
            **{"tasks": TRAIN, "partition_key": partition, "run_type": "asset_triggered"},
            **values,
        }
        self.scheduler.add_run(self.train, run_id, **values)

    def waiter(self, run_id: str, partition: str, places: int = 16) -> Waiter:
        """See a run as its tasks do."""
        context = self.scheduler.context(self.score, run_id, places=places)
        pipeline = pipeline_file.load(self.lake.pipeline)
        return Waiter.of(context, pipeline, parse(partition, Frequency.QUARTERLY))

    def look(self, run_id: str, partition: str) -> Waiting:
        """Look what a run waits for; the trigger, which knows less, must not go on without it."""
        waiting = earlier_decisions(self.waiter(run_id, partition), self.lake)
        trigger = TrainingsEndedTrigger(
            pipeline=self.lake.pipeline,
            partition=partition,
            dag_id=self.score,
            runs=waiting.runs,
            trainings=waiting.trainings,
            poll_seconds=1.0,
            until="",
        )
        assert bool(trigger.open()) == bool(waiting.told)
        return waiting

    def record(self, kind: Any, partition: str, decision: str, run_id: str) -> None:
        """Record a decision of a run."""
        dag_id = self.score if kind == "retraining" else self.train
        origin = Origin(dag_id, run_id, "t")
        ledger.record(self.lake, kind, partition, decision, "", origin=origin)


@pytest.fixture(autouse=True)
def mlflow(replace_by_autospec: Any) -> Any:
    """What is done in MLflow when a training is given up."""
    replace_by_autospec("include.registry.champions.Registry.set_alias")
    return replace_by_autospec("include.steps.training_course.end_abandoned")


@pytest.fixture
def world(
    store_settings: StoreSettings, scheduler: FakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", store_connection(store_settings))
    name = f"w{uuid.uuid4().hex[:12]}"
    loans = pipeline_file.load("loan_default").model_copy(update={"name": name})
    monkeypatch.setattr(pipeline_file, "load", lambda name: loans)
    return World(Lake(store_settings, name), scheduler)


class TestRuns:
    def test_runs_that_a_person_triggers_are_waited_for(self, world: World) -> None:
        world.add("me", "2005-Q3")
        assert world.look("me", "2005-Q3") == Waiting()
        world.add("by_hand", "2005-Q1", state="queued")
        world.add("later", "2005-Q4")
        world.add("backfilled", "2005-Q2", run_type="backfill")
        waiting = world.look("me", "2005-Q3")
        assert waiting.runs == ("by_hand", "backfilled")
        assert waiting.told == (
            "run by_hand about 2005-Q1 (queued)",
            "run backfilled about 2005-Q2 (running)",
        )
        world.scheduler.set_run(world.score, "backfilled", "success")
        world.scheduler.set_run(world.score, "by_hand", "failed")
        assert world.look("me", "2005-Q3") == Waiting()
        # Cleared: it is active again.
        world.scheduler.set_run(world.score, "by_hand", "queued")
        assert world.look("me", "2005-Q3").runs == ("by_hand",)

    def test_of_two_runs_about_a_partition_the_younger_one_waits(self, world: World) -> None:
        world.add("older", "2005-Q3")
        world.add("younger", "2005-Q3")
        assert world.look("older", "2005-Q3") == Waiting()
        waiting = world.look("younger", "2005-Q3")
        assert (waiting.runs, waiting.rivals) == (("older",), ("older",))
        world.add("earlier", "2005-Q2")
        waiting = world.look("younger", "2005-Q3")
        assert (waiting.runs, waiting.rivals) == (("earlier", "older"), ("older",))


class TestGivingWay:
    """Places are few, and those who come first need one."""

    def gives_way(self, world: World, run_id: str, partition: str, places: int = 2) -> bool:
        return earlier_runs(world.waiter(run_id, partition, places)).must_give_way

    @pytest.mark.parametrize("kind", ["manual", "backfill"])
    def test_the_last_of_those_that_hold_the_places_gives_way(
        self, world: World, kind: str
    ) -> None:
        world.add("q4", "2005-Q4", run_type=kind)
        world.add("q3", "2005-Q3", run_type=kind)
        world.add("q2", "2005-Q2", run_type=kind, state="queued")
        world.add("q1", "2005-Q1", run_type=kind, state="queued")
        assert self.gives_way(world, "q4", "2005-Q4")
        assert not self.gives_way(world, "q3", "2005-Q3")
        world.scheduler.set_run(world.score, "q4", "failed")
        world.scheduler.set_run(world.score, "q2", "running")
        # The next one takes its place, and now it is the last.
        assert self.gives_way(world, "q3", "2005-Q3")
        assert not self.gives_way(world, "q2", "2005-Q2")
        world.scheduler.set_run(world.score, "q3", "failed")
        world.scheduler.set_run(world.score, "q1", "running")
        assert not self.gives_way(world, "q2", "2005-Q2")

    def test_not_while_a_later_one_of_the_backfill_holds_a_place(self, world: World) -> None:
        for name, due, state in (
            ("2005-Q4", "2006-01-05T06:00:00+00:00", "running"),
            ("2005-Q3", "2005-10-05T06:00:00+00:00", "running"),
            ("2005-Q2", "2005-07-05T06:00:00+00:00", "queued"),
        ):
            world.add(f"backfill__{due}", name, run_type="backfill", state=state)
        assert not self.gives_way(world, "backfill__2005-10-05T06:00:00+00:00", "2005-Q3")
        assert self.gives_way(world, "backfill__2006-01-05T06:00:00+00:00", "2005-Q4")

    def test_not_while_there_are_places(self, world: World) -> None:
        world.add("q4", "2005-Q4")
        world.add("q1", "2005-Q1", state="queued")
        assert not self.gives_way(world, "q4", "2005-Q4", places=2)
        assert self.gives_way(world, "q4", "2005-Q4", places=1)

    def test_not_for_a_backfill_whose_places_are_others(self, world: World) -> None:
        world.add("q4", "2005-Q4")
        world.add("q1", "2005-Q1", state="queued", run_type="backfill")
        assert not self.gives_way(world, "q4", "2005-Q4", places=1)

    def test_not_while_one_that_comes_first_goes_on(self, world: World) -> None:
        world.add("q4", "2005-Q4")
        world.add("q3", "2005-Q3", tasks={"score_batch": "running", **SCORE})
        world.add("q1", "2005-Q1", state="queued")
        assert not self.gives_way(world, "q4", "2005-Q4")
        world.scheduler.set_task(world.score, "q3", "score_batch", "success")
        assert self.gives_way(world, "q4", "2005-Q4")


class TestTrainings:
    @pytest.fixture(autouse=True)
    def me(self, world: World) -> None:
        world.add("s", "2005-Q1", state="success", tasks={"request_retraining": "success"})
        world.add("me", "2005-Q3")

    def told(self, world: World) -> str:
        return "; ".join(world.look("me", "2005-Q3").told)

    def test_from_the_request_to_the_end(self, world: World) -> None:
        world.record("retraining", "2005-Q2", "no", "s2")
        world.record("retraining", "2005-Q3", "yes", "me")  # its own training comes after it
        assert self.told(world) == ""
        world.record("retraining", "2005-Q1", "yes", "s")
        assert "requested by run s, but no run of" in self.told(world)
        world.add_training("t", "2005-Q1", state="queued")
        assert "training as of 2005-Q1: run t about 2005-Q1 (queued)" in self.told(world)
        world.record("training", "2005-Q1", "started", "t")
        world.scheduler.set_run(world.train, "t", "running")
        assert "run t about 2005-Q1 (running)" in self.told(world)
        world.record("training", "2005-Q1", "refused", "t")
        world.scheduler.set_run(world.train, "t", "success")
        assert self.told(world) == ""

    def test_a_failed_training_that_was_cleared_is_waited_for(self, world: World) -> None:
        for step in ("started", "failed"):
            world.record("training", "2005-Q1", step, "t")
        world.add_training("t", "2005-Q1", state="failed", tasks=dict.fromkeys(TRAIN, "failed"))
        assert self.told(world) == ""
        # Cleared by hand, and queued: the ledger still says that it failed.
        world.scheduler.set_run(world.train, "t", "queued")
        for task in TRAIN:
            world.scheduler.set_task(world.train, "t", task, None)
        assert "run t about 2005-Q1 (queued)" in self.told(world)

    def test_mlflow_is_not_waited_for(self, world: World) -> None:
        for step in ("started", "promoted"):
            world.record("training", "2005-Q1", step, "t")
        world.add_training("t", "2005-Q1", tasks={**OVER, "close_training": "up_for_retry"})
        waiting = earlier_decisions(world.waiter("me", "2005-Q3"), world.lake)
        assert waiting == Waiting()

    @pytest.mark.parametrize("end", ["failed by hand", "deleted"])
    @pytest.mark.parametrize("begun", [True, False])
    def test_a_run_that_is_over_without_a_verdict_blocks_nobody(
        self, world: World, end: str, begun: bool
    ) -> None:
        world.record("retraining", "2005-Q1", "yes", "s")
        world.add_training("t", "2005-Q1")
        if begun:
            world.record("training", "2005-Q1", "started", "t")
        assert "run t about 2005-Q1 (running)" in self.told(world)
        if end == "deleted":
            world.scheduler.delete_runs("t")
        else:
            world.scheduler.set_run(world.train, "t", "failed")
        if end == "deleted" and not begun:
            # Nothing tells this from a run that is still to come.
            told = self.told(world)
            assert "no run of" in told
            assert f"trigger {world.train} with {{'partition': '2005-Q1'}}" in told
            assert f"./relevo withdraw {world.lake.pipeline} 2005-Q1 --reason" in told
        else:
            assert earlier_decisions(world.waiter("me", "2005-Q3"), world.lake) == Waiting()
            # The ledger says what Airflow did not tell it.
            assert ledger.training_states(world.lake)["2005-Q1"] == "failed"
            assert self.told(world) == ""

    def test_mlflow_may_be_away_then(
        self, world: World, mlflow: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        mlflow.side_effect = OSError("nobody there")
        world.record("training", "2005-Q1", "started", "t")
        assert self.told(world) == ""
        assert ledger.training_states(world.lake)["2005-Q1"] == "failed"
        assert "MLflow keeps the runs of t open until the next training" in caplog.text

    def test_an_end_that_comes_between_two_looks_stays_what_it_is(self, world: World) -> None:
        for step in ("started", "promoted"):
            world.record("training", "2005-Q1", step, "t")
        loans = pipeline_file.load(world.lake.pipeline)
        training_course.give_up(world.lake, loans, "2005-Q1", Origin(world.train, "t", "x"))
        assert ledger.training_states(world.lake)["2005-Q1"] == "promoted"

    def test_a_request_that_was_never_made(self, world: World) -> None:
        world.scheduler.set_task(world.score, "s", "request_retraining", "failed")
        world.record("retraining", "2005-Q1", "yes", "s")
        assert "whose request_retraining is failed: clear that task" in self.told(world)
        world.scheduler.delete_runs("s")
        assert "requested by run s, which is gone" in self.told(world)

    def test_a_paused_dag_is_named(self, world: World) -> None:
        world.record("retraining", "2005-Q1", "yes", "s")
        world.add_training("t", "2005-Q1", state="queued")
        world.scheduler.add_dag(world.train, is_paused=True)
        assert f"{world.train} is paused: unpause it, and trigger" in self.told(world)

    def test_but_for_a_training_by_hand_instead(self, world: World) -> None:
        world.record("retraining", "2005-Q1", "yes", "s")
        world.add_training(
            "t", "2005-Q1", run_type="manual", partition_key=None, conf={"partition": "2005-Q1"}
        )
        quarter = parse("2005-Q1", Frequency.QUARTERLY)
        training_course.withdraw(world.lake, quarter, "by hand", "ada")
        assert "run t about 2005-Q1 (running)" in self.told(world)

    def test_what_was_withdrawn_is_not_waited_for(self, world: World) -> None:
        world.record("retraining", "2005-Q1", "yes", "s")
        world.add_training("t", "2005-Q1", state="queued")
        assert self.told(world)
        quarter = parse("2005-Q1", Frequency.QUARTERLY)
        training_course.withdraw(world.lake, quarter, "not now", "ada")
        assert self.told(world) == ""

    def test_a_decision_made_while_airflow_is_asked_is_not_missed(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import relevo.waiting

        found = relevo.waiting.earlier_runs

        def decide_and_end(waiter: Waiter) -> Waiting:
            world.record("retraining", "2005-Q1", "yes", "s")
            return found(waiter)

        monkeypatch.setattr(relevo.waiting, "earlier_runs", decide_and_end)
        assert "training as of 2005-Q1" in self.told(world)
