"""Operators that score, watch and decide."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

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


class TestScoreBatch:
    def test_it_hands_on_references(
        self, context: Any, spark: Any, replace_by_autospec: Any
    ) -> None:
        score = replace_by_autospec("include.steps.monitoring.score_batch", return_value=SCORED)
        result = small_json(ScoreBatchOperator(batch=BATCH, **COMMON).execute(context))
        assert Scored.from_dict(result) == SCORED
        session, _, registry, pipeline, features, partition, _ = score.call_args.args
        assert (session, pipeline.name) == (SPARK, "loan_default")
        assert (features, partition) == (FEATURES, PARTITION)
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


def test_detect_drift(context: Any, ti: Any, replace_by_autospec: Any) -> None:
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
    assert publish.call_args.args[2:] == (verdict, version, FEATURES)
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


class TestDecide:
    @pytest.fixture(autouse=True)
    def states(self, replace_by_autospec: Any) -> dict[str, str]:
        """The states of the run's tasks; the task after it was skipped on a no."""
        held = {"decide_retraining": "running", "request_retraining": "skipped"}
        replace_by_autospec(
            "relevo.active_runs.RuntimeTaskInstance.get_task_states",
            side_effect=lambda dag_id, run_ids: dict.fromkeys(run_ids, held),
        )
        return held

    @pytest.fixture
    def decide(self, replace_by_autospec: Any) -> Any:
        """The library's decision."""
        return replace_by_autospec("include.steps.monitoring.decide")

    @pytest.mark.parametrize("retrain", [True, False])
    def test_the_answer_and_its_reason(
        self, context: Any, ti: Any, decide: Any, retrain: bool
    ) -> None:
        decide.return_value = RetrainingDecision(retrain, "because", ("drift",), None)
        result = small_json(DecideRetrainingOperator(**COMMON).execute(context))
        assert result == {"retrain": retrain, "reason": "because"}
        assert decide.call_args.args[2] == PARTITION
        assert ti.pushed == {"relevo_ledger": "/relevo/decisions/loan_default"}

    def test_a_run_that_skipped_what_had_not_begun_is_not_green(
        self, context: Any, decide: Any, states: dict[str, str]
    ) -> None:
        """Somebody marked it as failed, and cleared only what had failed."""
        states |= {"ingest_labels": "success", "score_batch": "skipped", "detect_drift": "skipped"}
        with pytest.raises(AirflowFailException) as caught:
            DecideRetrainingOperator(**COMMON).execute(context)
        assert str(caught.value) == (
            "Partition 2005-Q1: detect_drift, score_batch did not run, as in a run that was marked "
            "as failed. Clear the run as a whole, not only what failed."
        )
        assert not decide.called


class TestRequestRetraining:
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
