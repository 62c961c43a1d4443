"""Operators that score, watch and decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.bases.operator import chain
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from include.calendar.partitions import Frequency, parse
from include.errors import RegistryError
from include.monitoring.drift import DriftVerdict
from include.monitoring.retraining import RetrainingDecision
from include.registry.model_files import ModelVersion
from include.steps.monitoring import Scored
from include.storage.ledger import Entry, Training
from include.storage.lineage import TableReference
from relevo.assets import retraining_asset
from relevo.links import DriftReportLink, LedgerLink
from relevo.operators.monitoring import (
    AwaitTrainingOperator,
    DecideRetrainingOperator,
    DetectDriftOperator,
    MeasurePerformanceOperator,
    RequestRetrainingOperator,
    ScoreBatchOperator,
)
from relevo.waiting import Waiting
from tests.operators.running import FEATURES, SPARK, small_json

COMMON = {"task_id": "a_task", "pipeline": "loan_default", "partition": "2005-Q1"}
PARTITION = parse("2005-Q1", Frequency.QUARTERLY)
BATCH = {"reference": FEATURES.to_dict(), "quarantined": 2, "data_docs": None, "summary": {}}
SCORED = Scored(
    TableReference("loan_default", "predictions", 2, "2005-Q1", 98),
    TableReference("loan_default", "profiles", 2, "2005-Q1", 1),
    5,
)


def test_what_may_be_templated() -> None:
    assert {
        operator.__name__: list(operator.template_fields)[1:]
        for operator in (
            AwaitTrainingOperator,
            ScoreBatchOperator,
            DetectDriftOperator,
            MeasurePerformanceOperator,
            DecideRetrainingOperator,
            RequestRetrainingOperator,
        )
    } == {
        "AwaitTrainingOperator": [],
        "ScoreBatchOperator": ["batch"],
        "DetectDriftOperator": ["scored", "batch"],
        "MeasurePerformanceOperator": [],
        "DecideRetrainingOperator": [],
        "RequestRetrainingOperator": [],
    }


def test_links() -> None:
    assert DetectDriftOperator.operator_extra_links == (DriftReportLink(),)
    assert DecideRetrainingOperator.operator_extra_links == (LedgerLink(),)


@pytest.fixture
def now(replace_by_autospec: Any) -> TableReference:
    """The features that the table holds, of another run about the partition."""
    reference = replace(FEATURES, version=FEATURES.version + 1)
    replace_by_autospec("include.storage.lake_tables.Lake.latest", return_value=reference)
    return reference


@pytest.mark.usefixtures("now")
class TestScoreBatch:
    def test_it_scores_what_the_table_holds_and_hands_on_references(
        self, context: Any, spark: Any, replace_by_autospec: Any, now: TableReference
    ) -> None:
        score = replace_by_autospec("include.steps.monitoring.score_batch", return_value=SCORED)
        result = small_json(ScoreBatchOperator(batch=BATCH, **COMMON).execute(context))
        assert Scored.from_dict(result) == SCORED
        session, _, registry, pipeline, features, partition, _ = score.call_args.args
        assert (session, pipeline.name) == (SPARK, "loan_default")
        assert (features, partition) == (now, PARTITION)
        assert registry.tracking is None  # the table alone says who is champion

    def test_without_a_champion_it_fails_at_once(
        self, context: Any, spark: Any, replace_by_autospec: Any
    ) -> None:
        error = RegistryError("model loan_default: a champion must be in use, got none. Train.")
        replace_by_autospec("include.steps.monitoring.score_batch", side_effect=error)
        with pytest.raises(AirflowFailException) as caught:
            ScoreBatchOperator(batch=BATCH, **COMMON).execute(context)
        assert str(caught.value) == str(error)

    def test_a_server_that_is_away_is_retried(
        self, context: Any, spark: Any, replace_by_autospec: Any
    ) -> None:
        replace_by_autospec(
            "include.steps.monitoring.score_batch", side_effect=ConnectionError("away")
        )
        with pytest.raises(ConnectionError, match="away"):
            ScoreBatchOperator(batch=BATCH, **COMMON).execute(context)


def test_detect_drift(context: Any, ti: Any, replace_by_autospec: Any, now: TableReference) -> None:
    verdict = DriftVerdict("drift", "two of five drifted", ("x", "y"), 0.4, (), None, 900, 98)
    version = ModelVersion("loan_default", 5, "2004-Q4", "r", "c", (), (), {}, {})
    watch = replace_by_autospec(
        "include.steps.monitoring.watch_drift", return_value=(verdict, version)
    )
    page = "s3://reports/loan_default/drift/2005-Q1.html"
    publish = replace_by_autospec(
        "include.reports.drift_report.publish_drift_report", return_value=page
    )

    task = DetectDriftOperator(scored=SCORED.to_dict(), batch=BATCH, **COMMON)
    result = small_json(task.execute(context))

    assert result == {"verdict": "drift", "reason": "two of five drifted", "share": 0.4}
    assert watch.call_args.args[3:5] == (SCORED, PARTITION)
    assert publish.call_args.args[2:] == (verdict, version, now)
    assert ti.pushed == {"relevo_drift_report": "/relevo/reports/loan_default/drift/2005-Q1.html"}


def test_measure_performance(context: Any, spark: Any, replace_by_autospec: Any) -> None:
    record = SimpleNamespace(
        partition="2003-Q1", reason="told", to_dict=lambda: {"partition": "2003-Q1"}
    )
    measure = replace_by_autospec(
        "include.steps.monitoring.measure_performance", return_value=(record, record)
    )
    result = small_json(MeasurePerformanceOperator(**COMMON).execute(context))
    assert result == [{"partition": "2003-Q1"}] * 2
    assert measure.call_args.args[0] is SPARK
    assert measure.call_args.args[4] == PARTITION


@pytest.fixture
def tasks() -> dict[str, Any]:
    """The tasks of a scoring run from the batch on, beside what somebody else put there."""
    with DAG("d") as dag:
        score = ScoreBatchOperator(batch=BATCH, **COMMON | {"task_id": "score_batch"})
        drift = DetectDriftOperator(
            scored=SCORED.to_dict(), batch=BATCH, **COMMON | {"task_id": "detect_drift"}
        )
        decide = DecideRetrainingOperator(**COMMON | {"task_id": "decide_retraining"})
        request = RequestRetrainingOperator(**COMMON | {"task_id": "request_retraining"})
        chain(EmptyOperator(task_id="only_on_mondays"), score, drift, decide, request)
        chain(drift, EmptyOperator(task_id="mail_the_report"))
    return dict(dag.task_dict)


@pytest.fixture
def states(replace_by_autospec: Any) -> dict[str, str]:
    """The states of the run's tasks."""
    held: dict[str, str] = {}
    replace_by_autospec(
        "relevo.active_runs.RuntimeTaskInstance.get_task_states",
        side_effect=lambda dag_id, run_ids, task_ids=None: dict.fromkeys(run_ids, held),
    )
    return held


# Somebody marked the run as failed while it scored.
MARKED = {"score_batch": "failed", "detect_drift": "skipped", "decide_retraining": "skipped"}
# And cleared only what had failed.
CLEARED = {"score_batch": "success", "detect_drift": "skipped", "decide_retraining": "skipped"}
# A branch that has nothing to do with it, and what comes after.
ELSEWHERE = {
    "only_on_mondays": "skipped",
    "mail_the_report": "failed",
    "decide_retraining": "running",
    "request_retraining": "upstream_failed",
}


class TestDecide:
    @pytest.fixture(autouse=True)
    def look(self, replace_by_autospec: Any, states: Any) -> Any:
        """What of earlier partitions is still open."""
        return replace_by_autospec("relevo.waiting.earlier_decisions", return_value=Waiting())

    @pytest.fixture
    def decide(self, replace_by_autospec: Any) -> Any:
        """The library's decision."""
        decision = RetrainingDecision(False, "because", ("drift",), None)
        return replace_by_autospec("include.steps.monitoring.decide", return_value=decision)

    @pytest.mark.parametrize("retrain", [True, False])
    def test_the_answer_and_its_reason(
        self, context: Any, ti: Any, decide: Any, retrain: bool
    ) -> None:
        decide.return_value = RetrainingDecision(retrain, "because", ("drift",), None)
        result = small_json(DecideRetrainingOperator(**COMMON).execute(context))
        assert result == {"retrain": retrain, "reason": "because"}
        assert decide.call_args.args[2] == PARTITION
        assert ti.pushed == {"relevo_ledger": "/relevo/decisions/loan_default"}

    def test_earlier_partitions_decide_first(self, context: Any, decide: Any, look: Any) -> None:
        """Those of several runs that were cleared from detect_drift on waited for nothing."""
        look.return_value = Waiting(told=("run a about 2004-Q4 (running)",), runs=("a",))
        with pytest.raises(TaskDeferred):
            DecideRetrainingOperator(**COMMON).execute(context)
        assert not decide.called

    def test_not_when_a_task_before_it_was_skipped(
        self, context: Any, decide: Any, states: dict[str, str], tasks: Any
    ) -> None:
        states |= {**CLEARED, "decide_retraining": "running"}
        with pytest.raises(AirflowFailException) as caught:
            tasks["decide_retraining"].execute(context)
        assert str(caught.value) == (
            "Partition 2005-Q1: detect_drift failed or did not run. Mend what failed, and clear it "
            "with what comes after it; a run that somebody marked is to be cleared as a "
            "whole."
        )
        assert not decide.called

    def test_what_is_no_step_before_it_is_not_its_business(
        self, context: Any, decide: Any, states: dict[str, str], tasks: Any
    ) -> None:
        states |= ELSEWHERE
        assert tasks["decide_retraining"].execute(context)["reason"] == "because"


class TestRequestRetraining:
    @pytest.fixture(autouse=True)
    def runs(self, replace_by_autospec: Any, states: Any) -> Any:
        """What Airflow knows of other runs."""
        run = SimpleNamespace(state="running")
        return replace_by_autospec("relevo.active_runs.read_run", return_value=run)

    @pytest.fixture
    def ledger(self, replace_by_autospec: Any) -> Any:
        """A ledger that holds one answer of this run, and the state of its training."""

        def hold(answer: str | None, state: Any = None, run_id: str = "manual__1") -> None:
            entry = None
            if answer is not None:
                moment = datetime(2005, 4, 5)
                entry = Entry("retraining", "2005-Q1", answer, "drift in 2 of 3", {}, "r", moment)
            self.latest = replace_by_autospec("include.storage.ledger.latest", return_value=entry)
            held = {"2005-Q1": Training(state, "loan_default_score", run_id)} if state else {}
            replace_by_autospec("include.storage.ledger.trainings", return_value=held)

        return hold

    def test_its_outlet_is_the_pipelines_asset(self) -> None:
        task = RequestRetrainingOperator(**COMMON)
        assert task.outlets == [retraining_asset("loan_default")]

    def test_a_yes_emits_one_event_for_the_partition(self, context: Any, ledger: Any) -> None:
        ledger("yes", "requested")
        assert RequestRetrainingOperator(**COMMON).execute(context) is None
        assert self.latest.call_args.args[1:] == ("retraining", "2005-Q1", "manual__1")
        events = context["outlet_events"]
        assert len(events) == 1
        event = events[retraining_asset("loan_default")]
        assert event.partition_keys == {"2005-Q1"}
        assert small_json(event.extra) == {"reason": "drift in 2 of 3", "partition": "2005-Q1"}

    @pytest.mark.parametrize(
        ("answer", "state", "told"),
        [
            ("no", "withdrawn", "No retraining: drift in 2 of 3"),
            (None, None, "No retraining: undecided"),
            ("yes", "started", "as of 2005-Q1 is started already"),
            ("yes", "promoted", "as of 2005-Q1 is promoted already"),
            ("yes", "withdrawn", "as of 2005-Q1 is withdrawn already"),
            ("yes", "failed", "failed in run manual__1 of loan_default_score: clear that run"),
        ],
    )
    def test_otherwise_it_is_skipped_without_an_event(
        self, context: Any, ledger: Any, answer: str | None, state: str | None, told: str
    ) -> None:
        ledger(answer, state)
        with pytest.raises(AirflowSkipException, match=told):
            RequestRetrainingOperator(**COMMON).execute(context)
        assert len(context["outlet_events"]) == 0

    def test_of_two_runs_about_a_partition_the_first_one_asks(
        self, context: Any, ledger: Any
    ) -> None:
        ledger("yes", "requested", "scheduled__1")
        with pytest.raises(AirflowSkipException, match="is requested by run scheduled__1"):
            RequestRetrainingOperator(**COMMON).execute(context)
        assert len(context["outlet_events"]) == 0

    def test_a_run_that_failed_before_it_asked_does_not(
        self, context: Any, ledger: Any, runs: Any, states: dict[str, str]
    ) -> None:
        ledger("yes", "requested", "failed_before")
        runs.return_value.state = "failed"
        states["a_task"] = "success"
        with pytest.raises(AirflowSkipException, match="is requested by run failed_before"):
            RequestRetrainingOperator(**COMMON).execute(context)
        states["a_task"] = "failed"
        RequestRetrainingOperator(**COMMON).execute(context)
        assert len(context["outlet_events"]) == 1

    def test_a_run_that_was_deleted_asks_no_more(
        self, context: Any, ledger: Any, runs: Any
    ) -> None:
        ledger("yes", "requested", "deleted")
        runs.return_value = None
        RequestRetrainingOperator(**COMMON).execute(context)
        assert len(context["outlet_events"]) == 1

    @pytest.mark.parametrize("held", [MARKED, CLEARED], ids=["marked", "cleared"])
    def test_a_run_that_skipped_what_had_not_begun_is_not_green(
        self, context: Any, ledger: Any, states: dict[str, str], tasks: Any, held: dict[str, str]
    ) -> None:
        ledger("yes", "requested")
        states |= held
        with pytest.raises(AirflowFailException, match=r"detect_drift.* failed or did not run"):
            tasks["request_retraining"].execute(context)
        assert len(context["outlet_events"]) == 0

    def test_a_decision_that_was_killed_is_none(
        self, context: Any, ti: Any, ledger: Any, states: dict[str, str], tasks: Any
    ) -> None:
        """Of a run that is marked as a success Airflow calls what runs just then a success."""
        ledger("no")  # of before it was cleared
        states |= dict.fromkeys(tasks, "success") | {"request_retraining": "running"}
        with pytest.raises(AirflowSkipException):
            tasks["request_retraining"].execute(context)
        ti.answers["decide_retraining"] = None
        with pytest.raises(AirflowFailException, match=r"decide_retraining failed or did not run"):
            tasks["request_retraining"].execute(context)

    def test_airflow_lets_it_run_whatever_became_of_the_run(self) -> None:
        task = RequestRetrainingOperator(**COMMON)
        assert (task.is_teardown, task.on_failure_fail_dagrun) == (True, True)
