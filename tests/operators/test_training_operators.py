"""Operators of a training run: what they call, link and hand on, and how a run is closed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import chain
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    TaskAwaitingInput,
)

from include.calendar.partitions import Frequency, parse
from include.errors import TrainingError
from include.evaluation.bootstrap import Interval
from include.evaluation.evidence import Evidence
from include.evaluation.promotion_gate import PromotionDecision
from include.registry.model_files import ModelVersion
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import load
from include.specification.problem import Problem
from include.steps.promotion import Verdict
from include.steps.training import CandidateResult, Evaluation
from include.storage import ledger
from include.storage.lineage import TableReference
from include.storage.settings import MlflowSettings
from include.training.training_sets import TrainingSet
from relevo.links import DataDocsLink, EvidenceLink, LedgerLink, MlflowRunLink, ModelVersionLink
from relevo.operators.approval import ApprovePromotionOperator
from relevo.operators.training import (
    BuildTrainingSetOperator,
    CloseTrainingOperator,
    EvaluateChallengerOperator,
    PromoteChallengerOperator,
    SelectChallengerOperator,
    TrainCandidateOperator,
    ValidateTrainingSetOperator,
)
from tests.operators.running import SPARK, small_json

COMMON = {"task_id": "a_task", "pipeline": "loan_default", "partition": "2005-Q1"}
PARTITION = parse("2005-Q1", Frequency.QUARTERLY)
TRAINING_SET = TrainingSet(
    TableReference("loan_default", "training_sets", 2, "2005-Q1", 1000),
    ("2004-Q1", "2004-Q2"),
    ("2004-Q3",),
    (800, 200),
    {"0": 760, "1": 40},
)
CANDIDATE = CandidateResult(
    "logistic_regression", "run 2", 0.75, "models:/m", ("s3://m", "00"), ("own.Estimator",)
)
VERSION = ModelVersion(
    "loan_default", 3, "2005-Q1", "run 2", "logistic_regression", ("x",), (), {}, {}
)
EVIDENCE = Evidence(
    "roc_auc",
    ("2004-Q3",),
    100,
    10,
    {"roc_auc": Interval(0.75, 0.7, 0.8)},
    None,
    None,
    (),
    0.02,
)
MODELS = "http://mlflow:5000/#/models/loan_default/versions/3"
RUN = "http://mlflow:5000/#/experiments/1/runs"


@pytest.fixture
def tracking(replace_by_autospec: Any) -> Any:
    """The pipeline's MLflow experiment, with "run 1" as the parent of this DAG run."""
    made = replace_by_autospec("include.registry.mlflow_runs.Tracking")
    instance = made.return_value
    instance.settings = MlflowSettings(uri="http://mlflow:5000")
    instance.parent.return_value = "run 1"
    instance.run_path.side_effect = lambda run_id: f"#/experiments/1/runs/{run_id}"
    return instance


@pytest.fixture(autouse=True)
def held(replace_by_autospec: Any) -> SimpleNamespace:
    """The ledger: empty, and what is recorded."""
    return SimpleNamespace(
        entries=replace_by_autospec("include.storage.ledger.entries", return_value=[]),
        record=replace_by_autospec("include.storage.ledger.record", return_value=True),
    )


def test_what_may_be_templated() -> None:
    assert {
        operator.__name__: list(operator.template_fields)[1:]
        for operator in (
            BuildTrainingSetOperator,
            ValidateTrainingSetOperator,
            TrainCandidateOperator,
            SelectChallengerOperator,
            EvaluateChallengerOperator,
            PromoteChallengerOperator,
            CloseTrainingOperator,
        )
    } == {
        "BuildTrainingSetOperator": [],
        "ValidateTrainingSetOperator": ["training_set"],
        "TrainCandidateOperator": ["candidate", "training_set"],
        "SelectChallengerOperator": ["candidates", "training_set"],
        "EvaluateChallengerOperator": ["challenger"],
        "PromoteChallengerOperator": [],
        "CloseTrainingOperator": [],
    }


def test_links() -> None:
    assert BuildTrainingSetOperator.operator_extra_links == (MlflowRunLink(),)
    assert ValidateTrainingSetOperator.operator_extra_links == (DataDocsLink(),)
    assert TrainCandidateOperator.operator_extra_links == (MlflowRunLink(),)
    assert SelectChallengerOperator.operator_extra_links == (ModelVersionLink(),)
    assert EvaluateChallengerOperator.operator_extra_links == (EvidenceLink(), LedgerLink())
    assert PromoteChallengerOperator.operator_extra_links == (ModelVersionLink(),)
    assert CloseTrainingOperator.operator_extra_links == (MlflowRunLink(), LedgerLink())


def event(asset: str, **extra: str) -> SimpleNamespace:
    """An event that a run was started by, as Airflow hands it on."""
    given = extra or {"reason": "drift", "partition": "2005-Q1"}
    return SimpleNamespace(asset=SimpleNamespace(name=asset), extra=given)


class TestBuild:
    @pytest.fixture
    def library(self, replace_by_autospec: Any) -> SimpleNamespace:
        return SimpleNamespace(
            complete=replace_by_autospec(
                "include.steps.history_completion.complete_history", return_value=()
            ),
            build=replace_by_autospec(
                "include.training.training_sets.build_training_set", return_value=TRAINING_SET
            ),
        )

    def test_the_start_is_on_record_before_anything_else(
        self, library: Any, held: Any, context: Any, ti: Any, tracking: Any, spark: Any
    ) -> None:
        result = small_json(BuildTrainingSetOperator(**COMMON).execute(context))
        assert TrainingSet.from_dict(result) == TRAINING_SET
        assert held.record.call_args.args[1:4] == ("training", "2005-Q1", "started")
        used = held.record.call_args.kwargs["evidence"]["pipeline"]
        assert Pipeline.model_validate(used) == load("loan_default")
        assert library.complete.call_args.args[0] is SPARK
        assert library.complete.call_args.args[3] == PARTITION
        assert library.build.call_args.args[2] == PARTITION
        tracking.parent.assert_called_once_with(
            "loan_default_score/manual__1",
            {"relevo.partition": "2005-Q1", "relevo.dag_run_id": "manual__1"},
        )
        assert ti.pushed == {"relevo_mlflow_run": f"{RUN}/run 1"}

    @pytest.mark.parametrize(
        "by",
        [event("loans_written"), event("loan_default_retraining", from_rest_api="true")],
        ids=["another asset", "a person"],
    )
    def test_a_run_by_another_event_may_train_any_time(
        self, library: Any, held: Any, context: Any, tracking: Any, spark: Any, by: Any
    ) -> None:
        context["dag_run"].consumed_asset_events = [by]
        BuildTrainingSetOperator(**COMMON).execute(context)
        assert held.record.called

    def test_too_little_history_fails_at_once(
        self, library: Any, held: Any, context: Any, ti: Any, tracking: Any, spark: Any
    ) -> None:
        library.build.side_effect = TrainingError("training set: 8 are needed, got 3.")
        with pytest.raises(AirflowFailException, match=r"^training set: 8 are needed, got 3\.$"):
            BuildTrainingSetOperator(**COMMON).execute(context)
        assert held.record.called
        assert "relevo_mlflow_run" in ti.pushed


def test_validate(context: Any, ti: Any, replace_by_autospec: Any) -> None:
    validate = replace_by_autospec(
        "include.steps.preparation.validate_training_set", return_value={}
    )
    values = TRAINING_SET.to_dict()
    task = ValidateTrainingSetOperator(training_set=values, **COMMON)
    assert task.execute(context) == values
    assert validate.call_args.args[2] == TRAINING_SET
    assert ti.pushed == {
        "relevo_data_docs": "/relevo/reports/loan_default/data_docs/2005-Q1/training_set/index.html"
    }


def test_train_candidate(context: Any, ti: Any, tracking: Any, replace_by_autospec: Any) -> None:
    fit = replace_by_autospec("include.steps.training.fit", return_value=CANDIDATE)
    task = TrainCandidateOperator(
        candidate="logistic_regression", training_set=TRAINING_SET.to_dict(), **COMMON
    )
    result = small_json(task.execute(context))
    assert CandidateResult.from_dict(result) == CANDIDATE
    assert fit.call_args.args[1] is tracking
    assert fit.call_args.args[3:] == (TRAINING_SET, "logistic_regression", "run 1")
    assert ti.pushed == {"relevo_mlflow_run": f"{RUN}/run 2"}


def test_select(context: Any, ti: Any, tracking: Any, replace_by_autospec: Any) -> None:
    select = replace_by_autospec("include.steps.training.select", return_value=VERSION)
    task = SelectChallengerOperator(
        candidates=[small_json(CANDIDATE.to_dict())],
        training_set=TRAINING_SET.to_dict(),
        **COMMON,
    )
    assert small_json(task.execute(context)) == {"version": 3, "candidate": "logistic_regression"}
    assert select.call_args.args[1].tracking is tracking
    assert select.call_args.args[3:5] == (TRAINING_SET, [CANDIDATE])
    assert ti.pushed == {"relevo_model_version": MODELS}


def test_evaluate(context: Any, ti: Any, tracking: Any, replace_by_autospec: Any) -> None:
    registry = replace_by_autospec("include.registry.champions.Registry").return_value
    registry.get.return_value = VERSION
    decision = PromotionDecision(False, (), "roc_auc 0.55 is below 0.60")
    scores = np.array([0.1, 0.9])
    evaluation = Evaluation(
        decision, EVIDENCE, Problem("binary"), np.array([0, 1], np.int8), scores, champion=None
    )
    evaluate = replace_by_autospec("include.steps.training.evaluate", return_value=evaluation)
    page = "s3://reports/loan_default/evidence/3.html"
    publish = replace_by_autospec(
        "include.reports.evidence_page.publish_evidence", return_value=page
    )
    task = EvaluateChallengerOperator(challenger={"version": 3}, **COMMON)

    assert small_json(task.execute(context)) == {
        "version": 3,
        "promoted": False,
        "reason": "roc_auc 0.55 is below 0.60",
    }
    registry.get.assert_called_once_with(3)
    assert evaluate.call_args.args[3:5] == (VERSION, PARTITION)
    assert publish.call_args.args[2:] == (VERSION, evaluation)
    tracking.log_metrics.assert_called_once_with("run 1", {"roc_auc": 0.75})
    assert ti.pushed == {
        "relevo_evidence": "/relevo/reports/loan_default/evidence/3.html",
        "relevo_ledger": "/relevo/decisions/loan_default",
    }


class TestPromote:
    @pytest.fixture
    def carry_out(self, replace_by_autospec: Any) -> Any:
        return replace_by_autospec("include.steps.promotion.carry_out", return_value=(3, "better"))

    def test_it_takes_over_from_the_next_partition_on(
        self, context: Any, ti: Any, tracking: Any, carry_out: Any
    ) -> None:
        result = PromoteChallengerOperator(**COMMON).execute(context)
        assert small_json(result) == {"version": 3, "effective_from": "2005-Q2"}
        assert carry_out.call_args.args[1].tracking is tracking
        assert carry_out.call_args.args[2:4] == (load("loan_default"), PARTITION)
        assert ti.pushed == {"relevo_model_version": MODELS}

    def test_a_refused_challenger_is_skipped_with_the_reason(
        self, context: Any, tracking: Any, carry_out: Any
    ) -> None:
        carry_out.return_value = (None, "too weak")
        with pytest.raises(AirflowSkipException, match="too weak"):
            PromoteChallengerOperator(**COMMON).execute(context)


class TestApprove:
    """With Airflow's own operator, up to where it hands the question to its database."""

    @pytest.fixture
    def library(self, replace_by_autospec: Any) -> SimpleNamespace:
        verdict = Verdict("the key", 3, True, "clearly better")
        registry = replace_by_autospec("include.registry.champions.Registry").return_value
        registry.events.return_value = []
        return SimpleNamespace(
            registry=registry,
            verdict=replace_by_autospec("include.steps.promotion.verdict_of", return_value=verdict),
            ask=replace_by_autospec("include.steps.promotion.ask"),
            answer=replace_by_autospec("include.steps.promotion.answer"),
            question=replace_by_autospec(
                "airflow.providers.standard.operators.hitl.upsert_hitl_detail"
            ),
        )

    @pytest.fixture
    def task(self) -> ApprovePromotionOperator:
        with DAG("d"):
            return ApprovePromotionOperator(
                subject="May it?", response_timeout=timedelta(days=7), retries=2, **COMMON
            )

    def test_the_question_shows_the_verdict_that_counts(
        self, library: Any, context: Any, ti: Any, task: ApprovePromotionOperator
    ) -> None:
        with pytest.raises(TaskAwaitingInput) as parked:
            task.execute({**context, "task_instance": ti})
        assert parked.value.timeout == timedelta(days=7)
        assert library.verdict.call_args.args[1:] == ("2005-Q1", "manual__1")
        asked = library.question.call_args.kwargs
        assert asked["body"].startswith("Version 3: clearly better\n")
        assert "the latest one on the decisions page" in asked["body"]
        assert asked["options"] == ["Approve", "Reject"]
        assert library.ask.call_args.args[1].key == "the key"

    @pytest.mark.parametrize(
        ("verdict", "told"),
        [(Verdict("k", 3, False, "too weak"), "too weak"), (None, "No verdict was reached")],
    )
    def test_nobody_is_asked_about_a_refused_challenger(
        self, library: Any, context: Any, task: Any, verdict: Verdict | None, told: str
    ) -> None:
        library.verdict.return_value = verdict
        with pytest.raises(AirflowSkipException, match=told):
            task.execute(context)
        assert not library.ask.called
        assert not library.question.called

    def test_nor_while_the_champion_is_frozen(
        self, library: Any, context: Any, task: ApprovePromotionOperator
    ) -> None:
        details = json.dumps({"by": "Ada", "why": "an audit"})
        frozen = {"event": "frozen", "version": 2, "details": details}
        library.registry.events.return_value = [{**frozen, "recorded_at": datetime(2005, 4, 5)}]
        with pytest.raises(AirflowSkipException, match="version 2, is frozen since 2005-04-05"):
            task.execute(context)
        assert not library.ask.called

    @pytest.mark.parametrize(
        ("chosen", "person", "said"),
        [
            ("Approve", {"id": "1", "name": "Ada"}, ("approved", "Approved by Ada.")),
            ("Reject", {"id": "1", "name": "Ada"}, ("rejected", "Rejected by Ada.")),
            ("Reject", None, ("rejected", "Rejected by nobody known.")),
        ],
    )
    def test_the_answer_goes_into_the_ledger_and_skips_nothing(
        self, library: Any, context: Any, task: Any, chosen: str, person: Any, said: Any
    ) -> None:
        event = {
            "chosen_options": [chosen],
            "params_input": {},
            "responded_at": datetime(2005, 4, 5),
            "responded_by_user": person,
        }
        assert task.execute_complete(context, event)["chosen_options"] == [chosen]
        assert library.answer.call_args.args[1:4] == ("2005-Q1", *said)

    def test_without_an_answer_in_time_it_fails_for_good(
        self, library: Any, context: Any, task: Any
    ) -> None:
        # Airflow would try again, which is to ask for another seven days, and again.
        event = {"error": "The response timeout has passed.", "error_type": "timeout"}
        with pytest.raises(AirflowFailException, match="Nobody answered within 7 days"):
            task.execute_complete(context, event)
        told = "Nobody answered within 7 days, 0:00:00. Clear the task to ask again."
        assert library.answer.call_args.args[1:4] == ("2005-Q1", "expired", told)


class TestClose:
    @pytest.fixture(autouse=True)
    def abandoned(self, replace_by_autospec: Any) -> Any:
        """Ends what earlier runs left open in MLflow."""
        return replace_by_autospec("include.steps.training_course.end_abandoned")

    @pytest.fixture(autouse=True)
    def states(self, replace_by_autospec: Any) -> dict[str, str]:
        """The states of the run's tasks."""
        held: dict[str, str] = {}
        replace_by_autospec(
            "relevo.active_runs.RuntimeTaskInstance.get_task_states",
            side_effect=lambda dag_id, run_ids: dict.fromkeys(run_ids, held),
        )
        return held

    @pytest.mark.parametrize("outcome", ["promoted", "refused"])
    def test_how_the_training_ended(
        self, context: Any, ti: Any, tracking: Any, replace_by_autospec: Any, outcome: str
    ) -> None:
        close = replace_by_autospec("include.steps.training.close", return_value=(outcome, "why"))
        result = CloseTrainingOperator(**COMMON).execute(context)
        assert small_json(result) == {"outcome": outcome, "reason": "why"}
        assert close.call_args.args[3] == PARTITION
        tracking.close.assert_called_once_with("run 1", failed=False)
        assert ti.pushed == {
            "relevo_mlflow_run": f"{RUN}/run 1",
            "relevo_ledger": "/relevo/decisions/loan_default",
        }

    def test_a_failed_training_fails_the_run_after_it_was_closed(
        self, context: Any, ti: Any, tracking: Any, replace_by_autospec: Any
    ) -> None:
        replace_by_autospec("include.steps.training.close", return_value=("failed", "Look above."))
        with pytest.raises(AirflowFailException) as caught:
            CloseTrainingOperator(**COMMON).execute(context)
        assert str(caught.value) == "Training as of 2005-Q1 failed. Look above."
        tracking.close.assert_called_once_with("run 1", failed=True)
        assert ti.pushed["relevo_mlflow_run"] == f"{RUN}/run 1"

    @pytest.mark.parametrize("state", ["failed", "skipped"])
    def test_a_task_that_did_not_run_fails_the_run_although_an_earlier_verdict_stands(
        self, context: Any, tracking: Any, replace_by_autospec: Any, states: Any, state: str
    ) -> None:
        replace_by_autospec("include.steps.training.close", return_value=("promoted", "Better."))
        with DAG("d"):
            train = TrainCandidateOperator.partial(
                training_set={}, **COMMON | {"task_id": "train_candidate"}
            ).expand(candidate=["a", "b"])
            select = SelectChallengerOperator(
                candidates=[], training_set={}, **COMMON | {"task_id": "select_challenger"}
            )
            closing = CloseTrainingOperator(**COMMON | {"task_id": "close_training"})
            chain(train, select, closing)
        states |= {
            "train_candidate_0": "success",
            "train_candidate_1": state,
            "select_challenger": "upstream_failed",
            "mail": "failed",  # nothing that it follows
        }
        with pytest.raises(AirflowFailException) as caught:
            closing.execute(context)
        assert str(caught.value) == (
            "Training as of 2005-Q1: what counts is what this run has on record, promoted. Better. "
            "select_challenger, train_candidate_1 failed or did not run: clear them, with what "
            "follows them."
        )
        tracking.close.assert_called_once_with("run 1", failed=False)

    def closing_after_a_verdict(self) -> CloseTrainingOperator:
        with DAG("d"):
            tasks = [
                EvaluateChallengerOperator(
                    challenger={}, **COMMON | {"task_id": "evaluate_challenger"}
                ),
                PromoteChallengerOperator(**COMMON | {"task_id": "promote_challenger"}),
                CloseTrainingOperator(**COMMON | {"task_id": "close_training"}),
            ]
            chain(*tasks)
        return tasks[-1]

    @pytest.mark.parametrize("outcome", ["promoted", "failed"])
    def test_only_without_an_acceptance_may_the_promotion_be_skipped(
        self, context: Any, tracking: Any, replace_by_autospec: Any, states: Any, outcome: str
    ) -> None:
        """A run that was marked, and of which only what failed was cleared, leaves it skipped."""
        replace_by_autospec("include.steps.training.close", return_value=(outcome, "Why."))
        states |= {"evaluate_challenger": "success", "promote_challenger": "skipped"}
        with pytest.raises(AirflowFailException, match="promote_challenger failed or did not run"):
            self.closing_after_a_verdict().execute(context)

    def test_a_verdict_of_before_is_none_of_a_pass_that_was_killed(
        self, context: Any, ti: Any, tracking: Any, replace_by_autospec: Any, states: Any
    ) -> None:
        """Of a run that is marked as a success Airflow calls what runs just then a success."""
        replace_by_autospec("include.steps.training.close", return_value=("refused", "Worse."))
        states |= {"evaluate_challenger": "success", "promote_challenger": "skipped"}
        closing = self.closing_after_a_verdict()
        assert closing.execute(context)["outcome"] == "refused"
        ti.answers["evaluate_challenger"] = None
        with pytest.raises(AirflowFailException, match="evaluate_challenger failed or did not run"):
            closing.execute(context)

    def test_airflow_lets_it_run_whatever_became_of_the_run(self) -> None:
        task = CloseTrainingOperator(**COMMON)
        assert (task.is_teardown, task.on_failure_fail_dagrun) == (True, True)

    def test_what_is_skipped_without_a_promotion_is_no_failure(
        self, context: Any, tracking: Any, replace_by_autospec: Any, states: Any
    ) -> None:
        replace_by_autospec("include.steps.training.close", return_value=("refused", "Worse."))
        states |= {"approve_promotion": "skipped", "promote_challenger": "skipped"}
        assert CloseTrainingOperator(**COMMON).execute(context)["outcome"] == "refused"

    def test_what_earlier_runs_left_open_is_ended(
        self, context: Any, tracking: Any, abandoned: Any, replace_by_autospec: Any
    ) -> None:
        replace_by_autospec("include.steps.training.close", return_value=("refused", "why"))
        CloseTrainingOperator(**COMMON).execute(context)
        assert abandoned.call_args.args[1] == tracking

    def test_the_ledger_does_not_wait_for_mlflow(
        self, context: Any, tracking: Any, replace_by_autospec: Any
    ) -> None:
        close = replace_by_autospec("include.steps.training.close", return_value=("promoted", "!"))
        tracking.parent.side_effect = OSError("MLflow is down")
        with pytest.raises(OSError, match="MLflow is down"):
            CloseTrainingOperator(**COMMON).execute(context)
        assert close.called


class TestWhoMayTrain:
    """Steps of a run that a request started look whether the request still stands."""

    def on_record(self, held: Any, *entries: tuple[str, str, str]) -> None:
        held.entries.return_value = [
            ledger.Entry(
                kind=kind,
                partition="2005-Q1",
                decision=decision,
                reason="",
                evidence={},
                dag_id="d",
                dag_run_id=run_id,
                recorded_at=datetime(2026, 1, 1),
            )
            for kind, decision, run_id in entries
        ]

    @pytest.mark.parametrize(
        ("then", "told"),
        [
            (("training", "withdrawn", "withdraw"), "The training as of 2005-Q1 is withdrawn"),
            (("training", "started", "x"), "2005-Q1 is started already, by run x"),
            (("training", "promoted", "x"), "2005-Q1 is promoted already, by run x"),
        ],
    )
    @pytest.mark.parametrize("operator", [BuildTrainingSetOperator, CloseTrainingOperator])
    def test_a_request_is_carried_out_once_and_not_at_all_if_withdrawn(
        self, context: Any, held: Any, operator: Any, then: Any, told: str
    ) -> None:
        self.on_record(held, ("retraining", "yes", "s"), then)
        context["dag_run"].consumed_asset_events = [event("loan_default_retraining")]
        with pytest.raises(AirflowSkipException, match=told):
            operator(**COMMON).execute(context)
        assert not held.record.called

    def test_a_training_that_has_begun_goes_on_to_its_end(
        self, context: Any, held: Any, tracking: Any, replace_by_autospec: Any
    ) -> None:
        # Another DAG of the same pipeline trains as of the same partition.
        self.on_record(
            held, ("training", "started", "manual__1"), ("training", "started", "by hand")
        )
        context["dag_run"].consumed_asset_events = [event("loan_default_retraining")]
        fit = replace_by_autospec("include.steps.training.fit", return_value=CANDIDATE)
        task = TrainCandidateOperator(candidate="c", training_set=TRAINING_SET.to_dict(), **COMMON)
        task.execute(context)
        assert fit.called

    def test_one_that_reached_a_verdict_may_reach_another_when_it_is_cleared(
        self, context: Any, held: Any, tracking: Any, replace_by_autospec: Any
    ) -> None:
        self.on_record(
            held,
            ("training", "started", "manual__1"),
            ("training", "refused", "manual__1"),
            ("training", "started", "by hand"),
            ("training", "refused", "by hand"),
        )
        context["dag_run"].consumed_asset_events = [event("loan_default_retraining")]
        fit = replace_by_autospec("include.steps.training.fit", return_value=CANDIDATE)
        task = TrainCandidateOperator(candidate="c", training_set=TRAINING_SET.to_dict(), **COMMON)
        task.execute(context)
        assert fit.called

    def test_a_person_may_train_again(
        self, context: Any, held: Any, tracking: Any, replace_by_autospec: Any
    ) -> None:
        self.on_record(held, ("retraining", "yes", "s"), ("training", "promoted", "x"))
        fit = replace_by_autospec("include.steps.training.fit", return_value=CANDIDATE)
        task = TrainCandidateOperator(candidate="c", training_set=TRAINING_SET.to_dict(), **COMMON)
        task.execute(context)
        assert fit.called
        assert held.record.call_args.args[3] == "started"

    def test_a_step_of_a_failed_training_that_was_cleared_begins_it_again(
        self, context: Any, held: Any, tracking: Any, replace_by_autospec: Any
    ) -> None:
        self.on_record(
            held, ("training", "started", "manual__1"), ("training", "failed", "manual__1")
        )
        replace_by_autospec("include.steps.training.fit", return_value=CANDIDATE)
        task = TrainCandidateOperator(candidate="c", training_set=TRAINING_SET.to_dict(), **COMMON)
        task.execute(context)
        assert held.record.call_args.args[1:5] == (
            "training",
            "2005-Q1",
            "started",
            "Training as of 2005-Q1 started again.",
        )
