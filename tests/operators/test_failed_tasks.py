"""Which tasks failed and why, as Airflow's own api-server answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from airflow.sdk.execution_time import task_runner

from include.errors import QualityError, UnavailableError
from include.monitoring.alerts import Alert
from include.specification.pipeline_file import load
from relevo.failed_tasks import failed_tasks
from relevo.failures import REASON, DeadlineMissedError, failing_at_once, reason_kept
from tests.operators.airflow_api import FakeScheduler
from tests.operators.running import TaskInstance

SCORE, TRAIN = "loan_default_score", "loan_default_train"
ABOUT_Q1 = {"partition": "2005-Q1"}
WEEK = timedelta(days=7)


def found() -> list[Alert]:
    now = datetime.now(UTC).replace(tzinfo=None)
    return failed_tasks(load("loan_default"), now, WEEK)


def score(scheduler: FakeScheduler, run_id: str, state: str = "running", **tasks: Any) -> None:
    states = {"ingest_loans": "success", "validate_loans": None, "request_retraining": None}
    scheduler.add_run(SCORE, run_id, state=state, conf=ABOUT_Q1, tasks={**states, **tasks})


def test_nothing_at_first(scheduler: FakeScheduler) -> None:
    assert found() == []
    score(scheduler, "good", "success", request_retraining="skipped")
    score(scheduler, "waits", "queued", ingest_loans=None)
    assert found() == []


def test_a_task_of_a_run_that_is_under_way(scheduler: FakeScheduler) -> None:
    """Nobody waits to tell of it until the run has ended, which may be days later."""
    score(scheduler, "r")
    scheduler.fail_task(SCORE, "r", "validate_loans", 1.25, kind="gate", told="Too many bad rows.")
    (alert,) = found()
    assert (alert.kind, alert.partition) == ("gate", "2005-Q1")
    assert alert.reason == "validate_loans failed. Too many bad rows."
    assert (alert.dag_id, alert.run_id, alert.task_id) == (SCORE, "r", "validate_loans")
    # When the run has ended it is the same, and its last task is no news.
    scheduler.fail_task(SCORE, "r", "request_retraining", 2.5, kind="failure", told="Not all ran.")
    scheduler.set_run(SCORE, "r", "failed")
    assert found() == [alert]


def test_a_second_failure_after_a_clear_is_another_one(scheduler: FakeScheduler) -> None:
    score(scheduler, "r")
    scheduler.fail_task(SCORE, "r", "validate_loans", 1.25)
    (first,) = found()
    scheduler.set_task(SCORE, "r", "validate_loans", "up_for_retry")
    assert found() == []
    scheduler.fail_task(SCORE, "r", "validate_loans", 1.5)
    (second,) = found()
    assert second.key != first.key


def test_a_task_that_was_killed_left_no_reason(scheduler: FakeScheduler) -> None:
    score(scheduler, "r")
    scheduler.fail_task(SCORE, "r", "validate_loans", 3.0)
    (alert,) = found()
    assert alert.kind == "failure"
    assert "the task was killed or lost" in alert.reason


def test_a_run_that_fails_by_its_last_task_alone(scheduler: FakeScheduler) -> None:
    score(scheduler, "r", "failed", validate_loans="success")
    scheduler.fail_task(SCORE, "r", "request_retraining", 1.0, kind="failure", told="Not all ran.")
    assert [alert.task_id for alert in found()] == ["request_retraining"]


def test_the_page_that_a_message_names_is_linked(scheduler: FakeScheduler) -> None:
    score(scheduler, "r")
    page = "s3://reports/loan_default/data_docs/2005-Q1/loans/index.html"
    told = f"Correct it. Data Docs: {page}"
    scheduler.fail_task(SCORE, "r", "validate_loans", 1.0, kind="gate", told=told)
    assert found()[0].report == page


def test_trainings(scheduler: FakeScheduler) -> None:
    scheduler.add_run(
        TRAIN,
        "t",
        partition_key="2005-Q1",
        tasks={"build_training_set": "success", "train_candidate": None, "close_training": None},
    )
    scheduler.fail_task(TRAIN, "t", "train_candidate", 1.0, kind="failure", told="MemoryError.")
    assert [(alert.dag_id, alert.partition) for alert in found()] == [(TRAIN, "2005-Q1")]


def test_what_ended_long_ago(scheduler: FakeScheduler) -> None:
    score(scheduler, "r", "failed")
    scheduler.fail_task(SCORE, "r", "validate_loans", 1.0)
    scheduler.end_run(SCORE, "r", datetime.now(UTC) - timedelta(days=6))
    assert len(found()) == 1
    scheduler.end_run(SCORE, "r", datetime.now(UTC) - timedelta(days=8))
    assert found() == []


def test_of_what_ended_long_ago_the_tasks_are_not_read(
    scheduler: FakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that failed grow in number, and are looked at in each round."""
    asked: list[str] = []
    answer = task_runner.SUPERVISOR_COMMS.send

    def send(message: Any) -> Any:
        asked.append(f"{message.type} {getattr(message, 'run_id', '')}".strip())
        return answer(message)

    monkeypatch.setattr(task_runner.SUPERVISOR_COMMS, "send", send, raising=False)
    for name, days in (("old", 8), ("new", 6)):
        score(scheduler, name, "failed")
        scheduler.fail_task(SCORE, name, "validate_loans", 1.0)
        scheduler.set_task(SCORE, name, "request_retraining", "failed")
        scheduler.end_run(SCORE, name, datetime.now(UTC) - timedelta(days=days))
    assert [alert.run_id for alert in found()] == ["new"]
    assert [item for item in asked if item.endswith("old")] == ["GetDagRun old"]
    assert "GetTaskBreadcrumbs new" in asked


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (QualityError("source loans: too bad."), "gate", "source loans: too bad."),
        (UnavailableError("store: must answer."), "failure", "store: must answer."),
        (DeadlineMissedError("Nobody answered."), "deadline", "Nobody answered."),
        (AirflowTaskTimeout("after 60 s"), "deadline", "It took too long (after 60 s)."),
        (AirflowFailException("Not all ran."), "failure", "Not all ran."),
        (KeyError("a name of a customer"), "failure", "KeyError: its log says more."),
        (QualityError("x" * 5000), "gate", "x" * 2000),
    ],
)
def test_what_is_kept_of_a_failure(
    ti: TaskInstance, error: BaseException, kind: str, told: str
) -> None:
    with pytest.raises(BaseException), reason_kept({"ti": ti}), failing_at_once():  # noqa: B017, PT011
        raise error
    assert ti.pushed == {REASON: {"kind": kind, "told": told}}


def test_of_a_skip_nothing_is_kept(ti: TaskInstance) -> None:
    with pytest.raises(AirflowSkipException), reason_kept({"ti": ti}):
        raise AirflowSkipException("nothing to do")
    assert ti.pushed == {}


def test_a_reason_that_cannot_be_kept_hides_no_failure() -> None:
    with pytest.raises(QualityError), reason_kept({"ti": SimpleNamespace()}):
        raise QualityError("too bad")
