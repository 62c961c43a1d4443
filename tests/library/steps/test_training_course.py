"""The course of a training: on record once, also when it is cleared, given up or withdrawn."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import create_autospec

import pytest

from include.calendar.partitions import Frequency, parse
from include.errors import TrainingError, UnavailableError
from include.registry.champions import Registry
from include.steps import training_course
from include.steps.interventions import Done
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from tests.library.steps.test_promotion import AS_OF, Run

QUARTER = parse("2005-Q1", Frequency.QUARTERLY)
NAME = str(QUARTER)


@pytest.fixture
def train(origin: Origin) -> Origin:
    return replace(origin, dag_id="p_train", dag_run_id="train_1")


def course(lake: Lake) -> list[str]:
    return [entry.decision for entry in ledger.entries(lake, "training")]


def test_a_training_that_failed_and_was_cleared_is_under_way_again(
    lake: Lake, make_pipeline: Any, train: Origin
) -> None:
    def start() -> None:
        training_course.start(lake, make_pipeline(), QUARTER, train)

    def end(outcome: str) -> None:
        ledger.record(lake, "training", NAME, outcome, "why", origin=train)

    start()
    start()  # tried again, or the next task of the run
    assert course(lake) == ["started"]
    end("failed")
    end("failed")
    assert ledger.training_states(lake) == {NAME: "failed"}
    start()
    start()
    assert ledger.trainings(lake) == {NAME: ledger.Training("started", "p_train", "train_1")}
    assert ledger.pending_trainings(lake) == (NAME,)
    end("failed")
    assert ledger.training_states(lake) == {NAME: "failed"}
    start()
    end("promoted")
    end("promoted")
    assert course(lake) == ["started", "failed", "started", "failed", "started", "promoted"]


def test_a_verdict_stands_until_there_is_another(
    lake: Lake, make_pipeline: Any, train: Origin
) -> None:
    training_course.start(lake, make_pipeline(), QUARTER, train)
    for outcome in ("promoted", "refused", "promoted"):
        ledger.record(lake, "training", NAME, outcome, "why", origin=train)
        training_course.start(lake, make_pipeline(), QUARTER, train)  # a task is cleared
        assert ledger.training_states(lake) == {NAME: outcome}


def test_a_run_that_told_no_end_is_given_up(lake: Lake, make_pipeline: Any, train: Origin) -> None:
    training_course.start(lake, make_pipeline(), QUARTER, train)
    for _ in range(2):
        training_course.give_up(lake, make_pipeline(), NAME, train)
    assert course(lake) == ["started", "failed"]
    reason = ledger.entries(lake, "training")[-1].reason
    assert reason == "Run train_1 is over without an end: deleted, or failed by hand."
    training_course.start(lake, make_pipeline(), QUARTER, train)  # cleared after all
    ledger.record(lake, "training", NAME, "promoted", "why", origin=train)
    training_course.give_up(lake, make_pipeline(), NAME, train)
    assert ledger.training_states(lake) == {NAME: "promoted"}


@pytest.mark.parametrize(
    ("verdict", "in_use", "ended"),
    [
        ("promoted", True, "promoted"),
        ("promoted", False, "failed"),
        ("refused", False, "refused"),
        # Killed after another verdict, before what was in use was taken back.
        ("refused", True, "refused"),
    ],
)
def test_it_is_given_up_as_what_is_on_record_of_it(
    lake: Lake, make_pipeline: Any, train: Origin, verdict: str, in_use: bool, ended: str
) -> None:
    run = Run(lake, make_pipeline(), train)
    training_course.start(lake, make_pipeline(), AS_OF, train)
    if in_use:
        run.judge("promoted")
        run.carry_out()
    run.judge(verdict)
    training_course.give_up(lake, make_pipeline(), str(AS_OF), train)
    assert ledger.training_states(lake) == {str(AS_OF): ended}
    assert run.champion == (1 if ended == "promoted" else None)


def test_whoever_is_killed_giving_up_leaves_it_to_the_next(
    lake: Lake, make_pipeline: Any, train: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(lake, make_pipeline(), train)
    training_course.start(lake, make_pipeline(), AS_OF, train)
    run.judge("promoted")
    run.carry_out()
    run.judge("refused")
    for target, name in ((Registry, "roll_back"), (ledger, "record")):
        with monkeypatch.context() as broken:
            broken.setattr(
                target, name, create_autospec(getattr(target, name), side_effect=OSError)
            )
            with pytest.raises(OSError):  # noqa: PT011
                training_course.give_up(lake, make_pipeline(), str(AS_OF), train)
    training_course.give_up(lake, make_pipeline(), str(AS_OF), train)
    assert ledger.training_states(lake) == {str(AS_OF): "refused"}
    assert run.champion is None


def test_a_training_that_is_withdrawn_at_that_moment_does_not_begin(
    lake: Lake, make_pipeline: Any, origin: Origin, train: Origin
) -> None:
    ledger.record(lake, "retraining", NAME, "yes", "", origin=origin)
    seen = ledger.trainings(lake)[NAME]
    training_course.withdraw(lake, QUARTER, "a public holiday", "ada")
    with pytest.raises(UnavailableError, match="must still be requested, got another entry at"):
        training_course.start(lake, make_pipeline(), QUARTER, train, only_if=seen)
    assert ledger.training_states(lake) == {NAME: "withdrawn"}


def test_tasks_of_a_run_that_begin_it_again_at_once_do_not_fail_each_other(
    lake: Lake, make_pipeline: Any, train: Origin
) -> None:
    training_course.start(lake, make_pipeline(), QUARTER, train)
    ledger.record(lake, "training", NAME, "failed", "why", origin=train)
    seen = ledger.trainings(lake)[NAME]
    with ThreadPoolExecutor(3) as pool:
        begun = [
            pool.submit(training_course.start, lake, make_pipeline(), QUARTER, train, only_if=seen)
            for _ in range(3)
        ]
    assert [item.result() for item in begun] == [None] * 3
    assert course(lake) == ["started", "failed", "started"]


def test_a_failure_by_hand_leaves_the_request_to_its_own_run(
    lake: Lake, make_pipeline: Any, origin: Origin, train: Origin
) -> None:
    by_hand = replace(train, dag_run_id="by_hand")
    ledger.record(lake, "retraining", NAME, "yes", "", origin=origin)
    training_course.start(lake, make_pipeline(), QUARTER, by_hand)
    assert training_course.objection(lake, NAME, "train_1") is not None
    ledger.record(lake, "training", NAME, "failed", "why", origin=by_hand)
    assert training_course.objection(lake, NAME, "train_1") is None
    # And after both have failed, whichever is cleared trains.
    training_course.start(lake, make_pipeline(), QUARTER, train)
    ledger.record(lake, "training", NAME, "failed", "why", origin=train)
    ledger.record(lake, "training", NAME, "failed", "again", origin=by_hand)
    assert training_course.objection(lake, NAME, "train_1") is None


def test_only_a_request_can_be_withdrawn(lake: Lake, origin: Origin, train: Origin) -> None:
    def withdraw() -> None:
        training_course.withdraw(lake, QUARTER, "a public holiday", "ada")

    with pytest.raises(TrainingError, match=r"must be requested, got no request\."):
        withdraw()
    ledger.record(lake, "retraining", NAME, "yes", "", origin=origin)
    withdraw()
    assert ledger.entries(lake)[-1].reason == "Withdrawn by ada: a public holiday"
    assert ledger.pending_trainings(lake) == ()
    assert training_course.objection(lake, NAME, "train_1") == (
        "The training as of 2005-Q1 is withdrawn"
    )
    ledger.record(lake, "retraining", NAME, "yes", "", origin=replace(origin, dag_run_id="run_2"))
    assert ledger.trainings(lake)[NAME] == ledger.Training("requested", "p_score", "run_2")
    assert training_course.objection(lake, NAME, "train_1") is None
    ledger.record(lake, "training", NAME, "started", "", origin=train)
    with pytest.raises(TrainingError, match=r"got started by run train_1\. Mark that run"):
        withdraw()
    assert training_course.objection(lake, NAME, "train_1") is None
    assert training_course.objection(lake, NAME, "train_2") == (
        "The training as of 2005-Q1 is started already, by run train_1"
    )
    ledger.record(lake, "training", NAME, "refused", "why", origin=train)
    with pytest.raises(TrainingError, match=r"got refused\. There is nothing to withdraw\."):
        withdraw()
    assert training_course.objection(lake, "2009-Q1", "by_hand") is None


def test_a_run_withdraws_once_and_twice_changes_nothing(
    lake: Lake, origin: Origin, train: Origin
) -> None:
    asked: dict[str, datetime] = {}

    def withdraw(run_id: str) -> Done:
        run = Origin("platform_withdraw", run_id, "withdraw")
        at = asked.setdefault(run_id, datetime.now(UTC).replace(tzinfo=None))
        return training_course.withdraw(lake, QUARTER, "a holiday", "ada", at, run)

    ledger.record(lake, "retraining", NAME, "yes", "", origin=origin)
    assert withdraw("a") == Done("Withdrawn by ada: a holiday", True)
    assert withdraw("b") == Done(
        "The training as of 2005-Q1 is withdrawn already: nothing changed.", False
    )
    ledger.record(lake, "retraining", NAME, "yes", "", origin=replace(origin, dag_run_id="run_2"))
    assert withdraw("a").changed  # cleared: what was asked for since stays
    with pytest.raises(TrainingError, match=r"when the withdrawal was .* since .* by run run_2\. "):
        withdraw("b")
    assert ledger.pending_trainings(lake) == (NAME,)
    assert course(lake) == ["withdrawn"]
    assert withdraw("c").changed
    assert ledger.entries(lake, "training")[-1].dag_id == "platform_withdraw"


def test_a_training_that_begins_at_that_moment_is_not_withdrawn(
    lake: Lake,
    make_pipeline: Any,
    origin: Origin,
    train: Origin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger.record(lake, "retraining", NAME, "yes", "", origin=origin)
    look = ledger.trainings

    def begin_after_the_look(lake: Lake) -> Any:
        found = look(lake)
        training_course.start(lake, make_pipeline(), QUARTER, train)
        return found

    monkeypatch.setattr(ledger, "trainings", begin_after_the_look)
    with pytest.raises(TrainingError, match="must still be requested, got another entry at"):
        training_course.withdraw(lake, QUARTER, "a public holiday", "ada")
    assert look(lake)[NAME] == ledger.Training("started", "p_train", "train_1")


def test_of_two_that_ask_the_first_one_is_the_request(lake: Lake, origin: Origin) -> None:
    for run_id in ("a", "b"):
        ledger.record(
            lake, "retraining", NAME, "yes", "", origin=replace(origin, dag_run_id=run_id)
        )
    assert ledger.trainings(lake)[NAME].dag_run_id == "a"
