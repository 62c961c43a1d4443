"""The DAGs as Airflow sees them: whole, documented, patient, and cheap to parse."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, PartitionedAssetTimetable
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from include.calendar.partitions import Frequency, parse
from include.errors import SpecificationError
from include.monitoring.gaps import Lack, gaps
from include.reports.decisions_page import ACTIONS
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import Receiver
from include.specification.sections.execution import Execution
from include.specification.sections.sources import Labels, Source
from include.steps.alert_outbox import DOUBT
from include.steps.on_record import BY_HAND
from relevo import dags as factory
from relevo import upkeep
from relevo.operators.approval import ApprovePromotionOperator
from relevo.operators.base import PipelineOperator
from relevo.operators.exploration import ExploreTrainingSetOperator
from relevo.operators.monitoring import AwaitTrainingOperator, RequestRetrainingOperator
from relevo.timetables import DueDatesTimetable

PROJECT = Path(__file__).parent.parent.parent
FOLDER = PROJECT / "dags"
HEAVY = (
    "pandas",
    "numpy",
    "pyarrow",
    "mlflow",
    "sklearn",
    "great_expectations",
    "evidently",
    "pyspark",
    "deltalake",
    "optuna",
    "scipy",
    "skops",
    "boto3",
)
SCORE = {
    ("ingest_loans", "validate_loans"),
    ("validate_loans", "compute_features"),
    ("compute_features", "validate_features"),
    ("validate_features", "await_training"),
    ("validate_features", "score_batch"),
    ("validate_features", "detect_drift"),
    ("await_training", "score_batch"),
    ("score_batch", "detect_drift"),
    ("score_batch", "measure_performance"),
    ("ingest_labels", "validate_labels"),
    ("validate_labels", "measure_performance"),
    ("detect_drift", "decide_retraining"),
    ("measure_performance", "decide_retraining"),
    ("decide_retraining", "request_retraining"),
}
TRAIN = {
    ("build_training_set", "validate_training_set"),
    ("build_training_set", "explore_training_set"),
    ("explore_training_set", "close_training"),
    ("validate_training_set", "train_candidate"),
    ("validate_training_set", "select_challenger"),
    ("train_candidate", "select_challenger"),
    ("train_candidate", "close_training"),
    ("select_challenger", "evaluate_challenger"),
    ("evaluate_challenger", "promote_challenger"),
    ("promote_challenger", "close_training"),
}
# These wait for as long as they are told to, with a limit of their own.
PATIENT = (AwaitTrainingOperator, ApprovePromotionOperator)
# Nothing is made of what these leave behind, so that trying again would only hold a run up.
BESIDE = (ExploreTrainingSetOperator,)


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(FOLDER))


@pytest.fixture(scope="module")
def score(bag: DagBag) -> DAG:
    return bag.dags["loan_default_score"]


@pytest.fixture(scope="module")
def train(bag: DagBag) -> DAG:
    return bag.dags["loan_default_train"]


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}


def complaints(dag: DAG) -> list[str]:
    """Check a DAG against the rules of the house; each finding names DAG, task and remedy."""
    found = []

    def demand(met: Any, subject: str, remedy: str) -> None:
        if not met:
            found.append(f"{subject}: {remedy}")

    subject = f"DAG {dag.dag_id}"
    demand(dag.doc_md, subject, "give it doc_md, which people read in the UI")
    demand(dag.description, subject, "give it a description of one sentence")
    demand("relevo" in dag.tags, subject, "add the tag 'relevo'")
    demand(not dag.catchup, subject, "set catchup=False; history is a backfill")
    for task in dag.tasks:
        subject = f"DAG {dag.dag_id}, task {task.task_id}"
        patient = (
            issubclass(task.operator_class, PATIENT)
            if isinstance(task, MappedOperator)
            else isinstance(task, PATIENT)
        )
        demand(task.doc_md, subject, "give it doc_md: what it does and leaves behind")
        demand(task.owner != "airflow", subject, "set owner in the pipeline file")
        beside = isinstance(task, BESIDE)
        demand(beside or (task.retries or 0) >= 1, subject, "set retries to at least 1")
        demand(task.retry_exponential_backoff, subject, "set retry_exponential_backoff=True")
        demand(
            patient or task.execution_timeout,
            subject,
            "set execution_timeout, so that a hanging task ends",
        )
    return found


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def templates(task: Any) -> Iterator[str]:
    mapped = isinstance(task, MappedOperator)
    for name in task.template_fields:
        yield from texts(task.partial_kwargs.get(name) if mapped else getattr(task, name, None))


def test_every_file_is_loaded_without_a_word(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    expected = {f"{name}_{kind}" for name in pipeline_file.names() for kind in ("score", "train")}
    by_hand = (
        *("freeze", "unfreeze", "promote", "refuse", "rollback", "withdraw"),
        *("reprocess", "erase", "release", "retire", "migrate", "maintain", "alerts"),
    )
    assert expected | {f"platform_{name}" for name in by_hand} <= set(bag.dags)


def test_whoever_waits_for_other_writers_knows_all_that_people_trigger(bag: DagBag) -> None:
    by_hand = {
        dag_id
        for dag_id, dag in bag.dags.items()
        if dag_id.startswith("platform_") and "reason" in dag.params
    }
    assert by_hand == set(BY_HAND) == set(ACTIONS), "name it in on_record.py and decisions_page.py"


def test_every_dag_keeps_the_rules_of_the_house(bag: DagBag) -> None:
    assert [text for dag in bag.dags.values() for text in complaints(dag)] == []


def test_a_dag_that_breaks_the_rules_is_told_which_task_and_what_to_do() -> None:
    with DAG("careless", schedule=None, catchup=True) as dag:
        PipelineStep(task_id="hasty", pipeline="loan_default")
    assert complaints(dag) == [
        "DAG careless: give it doc_md, which people read in the UI",
        "DAG careless: give it a description of one sentence",
        "DAG careless: add the tag 'relevo'",
        "DAG careless: set catchup=False; history is a backfill",
        "DAG careless, task hasty: give it doc_md: what it does and leaves behind",
        "DAG careless, task hasty: set owner in the pipeline file",
        "DAG careless, task hasty: set retries to at least 1",
        "DAG careless, task hasty: set retry_exponential_backoff=True",
        "DAG careless, task hasty: set execution_timeout, so that a hanging task ends",
    ]


class PipelineStep(PipelineOperator):
    """A step that does nothing."""

    def run(self, context: Any) -> None:
        """Do nothing."""


def test_a_dag_file_is_a_declaration_or_short() -> None:
    for path in sorted(FOLDER.glob("*.py")):
        text = path.read_text()
        lines, limit = len(text.splitlines()), 15 if "declare(" in text else 80
        assert lines <= limit, f"{path.name}: at most {limit} lines, got {lines}. Use plugins."


def last_task(dag: DAG) -> str:
    """Name the task that runs last also in a run that somebody marked, and decides its state."""
    (last,) = (task for task in dag.tasks if not task.downstream_task_ids)
    assert (last.is_teardown, last.on_failure_fail_dagrun) == (True, True)
    assert last.trigger_rule == "all_done_setup_success"
    return str(last.task_id)


class TestScore:
    def test_edges(self, score: DAG) -> None:
        assert edges(score) == SCORE

    def test_the_schedule_is_that_of_the_file(self, score: DAG) -> None:
        timetable = score.timetable
        assert isinstance(timetable, DueDatesTimetable)
        assert (timetable.cron, timetable.catch_up) == ("0 6 5 1,4,7,10 *", 24)
        assert timetable.end == date(2009, 1, 31)
        assert score.start_date is not None
        assert score.start_date.isoformat() == "2005-01-01T00:00:00+00:00"
        # After an end date Airflow makes no tasks, not even for a run that a person triggers.
        assert score.end_date is None

    # Airflow reads .airflowignore with a class that its own dependency deprecates.
    @pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
    def test_the_scheduler_reads_what_the_file_declares(self, score: DAG) -> None:
        stored = json.loads(json.dumps(DagSerialization.to_dict(score)))

        read = DagSerialization.from_dict(stored)

        assert read.timetable.summary == "0 6 5 1,4,7,10 * until 2009-01-31"
        assert set(read.task_dict) == set(score.task_dict)

    def test_runs_that_wait_keep_no_place_from_those_they_wait_for(self, score: DAG) -> None:
        assert (score.max_active_runs, score.catchup) == (16, False)

    def test_owner_and_tags_come_from_the_file(self, score: DAG) -> None:
        assert {task.owner for task in score.tasks} == {"credit-risk"}
        assert set(score.tags) == {"relevo", "loan_default", "score"}

    def test_what_was_skipped_is_told_by_the_decision(self, score: DAG) -> None:
        assert score.get_task("decide_retraining").trigger_rule == "none_failed"

    def test_its_last_task_decides_whatever_happened(self, score: DAG) -> None:
        assert last_task(score) == "request_retraining"

    def test_what_gaps_says_to_clear_is_what_airflow_clears(self, score: DAG) -> None:
        """`airflow tasks clear -t` looks for a part of a name, not for a regular expression."""
        june, may = (parse(f"2005-0{number}", Frequency.MONTHLY) for number in (6, 5))
        lack = Lack(may, ("performance",), "why", judge=june)
        (gap,) = gaps("loan_default", [lack], {june: datetime(2005, 7, 2, 6)})
        words = shlex.split(gap.remedy)
        assert "-d" in words
        stored = DagSerialization.from_dict(DagSerialization.to_dict(score))
        cleared = stored.partial_subset(
            words[words.index("-t") + 1], include_downstream=True, include_upstream=False
        )
        assert set(cleared.task_dict) == {
            "measure_performance",
            "decide_retraining",
            "request_retraining",
        }

    def test_only_the_requests_success_is_an_event(self, score: DAG) -> None:
        assert [task.task_id for task in score.tasks if task.outlets] == ["request_retraining"]


class TestTrain:
    def test_edges(self, train: DAG) -> None:
        assert edges(train) == TRAIN

    def test_it_starts_by_the_event_that_scoring_emits(self, score: DAG, train: DAG) -> None:
        assert isinstance(train.timetable, PartitionedAssetTimetable)
        request = score.get_task("request_retraining")
        assert isinstance(request, RequestRetrainingOperator)
        assert request.outlets == [train.timetable.asset_condition]

    def test_one_run_at_a_time(self, train: DAG) -> None:
        assert (train.max_active_runs, train.catchup) == (1, False)

    def test_one_box_a_candidate(self, train: DAG) -> None:
        task = train.get_task("train_candidate")
        assert isinstance(task, MappedOperator)
        assert task.expand_input.value == {
            "candidate": ["hist_gradient_boosting", "logistic_regression"]
        }
        assert task.partial_kwargs["map_index_template"] == "{{ task.candidate }}"

    def test_it_is_closed_whatever_happened(self, train: DAG) -> None:
        assert last_task(train) == "close_training"


def checked(dag: DAG, given: dict[str, Any]) -> None:
    """Check the parameters of a run, as Airflow does where it is triggered."""
    params = copy.deepcopy(dag.params)
    params.update(given)
    params.validate()


class TestRollback:
    @pytest.fixture
    def dag(self, bag: DagBag) -> DAG:
        return bag.dags["platform_rollback"]

    def test_it_asks_for_pipeline_and_reason(self, dag: DAG) -> None:
        assert dag.params.get_param("pipeline").schema["enum"] == list(pipeline_file.names())
        for given, complaint in (
            ({"pipeline": "loan_default"}, "reason"),
            ({"pipeline": "loan_default", "reason": ""}, "should be non-empty"),
            ({"pipeline": "loan_default", "reason": "x" * 1001}, "is too long"),
            ({"pipeline": "nobodys", "reason": "x"}, "is not one of"),
            ({"pipeline": "loan_default", "reason": "x", "version": 0}, "less than the minimum"),
            ({"pipeline": "loan_default", "reason": "x", "version": "2"}, "is not of type"),
        ):
            with pytest.raises(ParamValidationError, match=complaint):
                checked(dag, given)

    def test_it_waits_for_nobody_to_unpause_it(self, dag: DAG) -> None:
        assert dag.is_paused_upon_creation is False
        assert (dag.schedule, dag.max_active_runs) == (None, 1)


class TestByHand:
    @pytest.mark.parametrize(
        ("name", "others", "wrong"),
        [
            ("freeze", {}, {}),
            ("unfreeze", {}, {}),
            ("promote", {"version": 2}, {"version": None}),
            ("refuse", {"version": 2}, {"version": 0}),
            ("withdraw", {"partition": "2005-Q1"}, {"partition": ""}),
            ("erase", {"request": "letter_1"}, {"request": "../letter"}),
            (
                "release",
                {"request": "r1", "dataset": "loans", "partition": "2005-Q1"},
                {"request": "../r1", "dataset": "", "partition": ""},
            ),
        ],
    )
    def test_each_is_one_task_that_asks_for_what_it_needs(
        self, bag: DagBag, name: str, others: dict[str, Any], wrong: dict[str, Any]
    ) -> None:
        dag = bag.dags[f"platform_{name}"]
        whole = {"pipeline": "loan_default", "reason": "x", **others}
        checked(dag, whole)
        lacking = [{key: whole[key] for key in whole if key != left} for left in whole]
        for given in (*lacking, {**whole, "reason": ""}, {**whole, "pipeline": "nobodys"}):
            with pytest.raises(ParamValidationError):
                checked(dag, given)
        for key, value in wrong.items():
            with pytest.raises(ParamValidationError):
                checked(dag, {**whole, key: value})
        assert [task.task_id for task in dag.tasks] == [name]
        assert (dag.schedule, dag.max_active_runs) == (None, 1)
        assert dag.is_paused_upon_creation is False


class TestRetire:
    def test_it_takes_any_name_because_the_file_may_be_gone(self, bag: DagBag) -> None:
        dag = bag.dags["platform_retire"]
        whole = {"pipeline": "no_file_any_more", "reason": "x"}
        checked(dag, whole)
        checked(dag, {**whole, "undo": True, "keep_days": 1})
        for given in (
            *({"pipeline": "loan_default"}, {"reason": "x"}, {**whole, "reason": ""}),
            *({**whole, "pipeline": "../loans"}, {**whole, "pipeline": ""}),
            *({**whole, "keep_days": 0}, {**whole, "keep_days": 1.5}, {**whole, "undo": None}),
        ):
            with pytest.raises(ParamValidationError):
                checked(dag, given)
        assert [task.task_id for task in dag.tasks] == ["retire"]
        assert (dag.schedule, dag.max_active_runs) == (None, 1)
        assert dag.is_paused_upon_creation is False


class TestReprocess:
    @pytest.fixture
    def dag(self, bag: DagBag) -> DAG:
        return bag.dags["platform_reprocess"]

    def test_it_asks_for_pipeline_and_reason(self, dag: DAG) -> None:
        whole = {"pipeline": "loan_default", "reason": "x"}
        checked(dag, {**whole, "partitions": ["2005-Q1"]})
        for given, complaint in (
            ({"pipeline": "loan_default"}, "reason"),
            ({**whole, "partitions": "2005-Q1"}, "is not of type"),
            ({**whole, "partitions": []}, "should be non-empty"),
        ):
            with pytest.raises(ParamValidationError, match=complaint):
                checked(dag, given)

    def test_its_steps_follow_each_other(self, dag: DAG) -> None:
        assert edges(dag) == {
            ("ask", "prepare_history"),
            ("prepare_history", "repeat_runs"),
            ("repeat_runs", "finish"),
        }
        assert dag.is_paused_upon_creation is False


class TestMigrate:
    def test_it_is_one_task_that_asks_for_pipeline_and_reason(self, bag: DagBag) -> None:
        dag = bag.dags["platform_migrate"]
        whole = {"pipeline": "loan_default", "reason": "x"}
        for given in (whole, {**whole, "first": None}, {**whole, "first": "2005-Q1"}):
            checked(dag, given)
        for given in ({"reason": "x"}, {"pipeline": "loan_default"}, {**whole, "first": 2005}):
            with pytest.raises(ParamValidationError):
                checked(dag, given)
        assert [task.task_id for task in dag.tasks] == ["migrate"]
        assert dag.is_paused_upon_creation is False


class TestExecution:
    @pytest.fixture
    def both(self) -> tuple[DAG, DAG]:
        execution = Execution(
            retries=5,
            timeout=90,
            training_deadline=12,
            pool="credit",
            priority=7,
            queue="large",
            executor="LocalExecutor",
        )
        pipeline = pipeline_file.load("loan_default").model_copy(update={"execution": execution})
        return factory._score(pipeline), factory._train(pipeline)

    def test_every_task_is_run_as_the_file_says(self, both: tuple[DAG, DAG]) -> None:
        for task in (task for dag in both for task in dag.tasks):
            assert (task.pool, task.queue, task.executor) == ("credit", "large", "LocalExecutor")
            assert (task.priority_weight, task.weight_rule) == (7, "absolute")
            if not isinstance(task, BESIDE):
                assert task.retries == 5
            if not isinstance(task, (*PATIENT, *BESIDE)):
                assert task.execution_timeout == timedelta(minutes=90)
        for name in ("await_training", "decide_retraining"):
            assert both[0].get_task(name).deadline == timedelta(hours=12)

    def test_without_the_section_they_are_as_before(self, score: DAG, train: DAG) -> None:
        for task in (*score.tasks, *train.tasks):
            assert (task.pool, task.queue, task.executor) == ("default_pool", "default", None)
            assert task.priority_weight == 1
            assert isinstance(task, BESIDE) or task.retries == 2
        assert score.get_task("score_batch").execution_timeout == timedelta(hours=1)
        assert score.get_task("await_training").deadline == timedelta(hours=6)

    def test_they_keep_the_rules_as_well(self, both: tuple[DAG, DAG]) -> None:
        assert [complaint for dag in both for complaint in complaints(dag)] == []


class TestMaintain:
    @pytest.fixture
    def dag(self, bag: DagBag) -> DAG:
        return bag.dags["platform_maintain"]

    def test_each_pipeline_by_itself_plans_and_then_carries_out(self, dag: DAG) -> None:
        groups = {(name, name) for name in pipeline_file.names()} | {("no-file", None)}
        assert edges(dag) == {(f"{name}.plan", f"{name}.carry_out") for name, _ in groups}
        found = {(task.task_id.partition(".")[0], task.pipeline) for task in dag.tasks}
        assert found == groups

    def test_it_deletes_nothing_before_somebody_unpauses_it(self, dag: DAG) -> None:
        assert dag.is_paused_upon_creation is True
        assert (dag.catchup, dag.max_active_runs) == (False, 1)
        assert dag.schedule == "30 3 * * *"

    def test_a_run_may_be_dry_or_about_one_pipeline(self, dag: DAG) -> None:
        checked(dag, {})
        checked(dag, {"dry_run": True, "pipeline": "loan_default"})
        for given in ({"pipeline": "nobodys"}, {"dry_run": "yes"}):
            with pytest.raises(ParamValidationError):
                checked(dag, given)


class TestAlerts:
    def test_without_receivers_nothing_starts_it(self, bag: DagBag) -> None:
        dag = bag.dags["platform_alerts"]
        assert (dag.schedule, dag.max_active_runs) == (None, 1)
        assert dag.is_paused_upon_creation is False
        checked(dag, {"test": "loan_default"})
        with pytest.raises(ParamValidationError, match="is not one of"):
            checked(dag, {"test": "nobodys"})

    def test_a_receiver_brings_a_schedule_and_a_wrong_file_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = changed(alerts={"team": Receiver(webhook="alerts_webhook")})

        def load(name: str) -> Pipeline:
            if name == "loan_default":
                return told
            raise SpecificationError(f"{name}.yaml:1: wrong.")

        monkeypatch.setattr(upkeep.pipeline_file, "load", load)
        dag = upkeep.declare_alerts()
        assert dag.schedule == "*/5 * * * *"
        assert complaints(dag) == []
        # Whoever told and left nothing behind is dead by the time that it is told again.
        assert dag.get_task("tell").execution_timeout < DOUBT


class TestApproval:
    @pytest.fixture
    def asking(self) -> DAG:
        pipeline = pipeline_file.load("loan_default")
        promotion = pipeline.promotion.model_copy(update={"approval": "required"})
        return factory._train(pipeline.model_copy(update={"promotion": promotion}))

    def test_a_person_stands_between_verdict_and_promotion(self, asking: DAG) -> None:
        assert edges(asking) == TRAIN | {
            ("evaluate_challenger", "approve_promotion"),
            ("approve_promotion", "promote_challenger"),
        }

    def test_a_challenger_that_nobody_is_asked_about_may_be_taken_back(self, asking: DAG) -> None:
        assert asking.get_task("promote_challenger").trigger_rule == "none_failed"

    def test_it_keeps_the_rules_as_well(self, asking: DAG) -> None:
        assert complaints(asking) == []


def changed(**changes: Any) -> Pipeline:
    return pipeline_file.load("loan_default").model_copy(update=changes)


def sources(**others: Source) -> dict[str, Source]:
    return {**pipeline_file.load("loan_default").sources, **others}


def labels_in_row() -> dict[str, Source]:
    """The sources of a pipeline whose only one brings its own labels."""
    loans = sources()["loans"].model_copy(update={"labels": Labels(column="bad24")})
    return {"loans": loans}


class TestLabelsInTheRow:
    @pytest.fixture
    def dag(self) -> DAG:
        return factory._score(changed(sources=labels_in_row()))

    def test_they_are_validated_with_the_rows(self, dag: DAG) -> None:
        assert edges(dag) == {
            *(edge for edge in SCORE if "labels" not in "".join(edge)),
            ("validate_loans", "measure_performance"),
        }

    def test_the_rules_of_the_house(self, dag: DAG) -> None:
        assert complaints(dag) == []


class TestSeveralSources:
    @pytest.fixture
    def dag(self) -> DAG:
        accounts = Source(uri="s3://landing/accounts.parquet", suite="accounts")
        payments = Source(connection="bank", query="select 1", suite="payments", history=3)
        more = sources(accounts=accounts, payments=payments)
        return factory._score(changed(sources=more))

    def test_each_is_ingested_and_validated_before_features(self, dag: DAG) -> None:
        assert edges(dag) == SCORE | {
            (f"ingest_{name}", f"validate_{name}") for name in ("accounts", "payments")
        } | {(f"validate_{name}", "compute_features") for name in ("accounts", "payments")}
        compute = dag.get_task("compute_features")
        assert list(compute.batches) == ["loans", "accounts", "payments"]


class TestWithoutSchedule:
    @pytest.mark.parametrize("kind", ["score", "train"])
    # Airflow reads .airflowignore with a class that its own dependency deprecates.
    @pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
    def test_the_scheduler_reads_what_the_file_declares(self, kind: str) -> None:
        pipeline = changed(schedule=None)
        dag = factory._score(pipeline) if kind == "score" else factory._train(pipeline)

        read = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))

        assert set(read.task_dict) == set(dag.task_dict)
        assert read.start_date is None
        assert complaints(dag) == []

    def test_nothing_but_a_person_starts_it(self) -> None:
        dag = factory._score(changed(schedule=None))
        assert dag.schedule is None
        assert edges(dag) == SCORE


class TestSnapshots:
    @pytest.fixture
    def timeless(self) -> tuple[DAG, DAG]:
        pipeline = changed(
            partition=Frequency.NONE, event_time=None, schedule=None, sources=labels_in_row()
        )
        return factory._score(pipeline), factory._train(pipeline)

    @pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
    def test_the_scheduler_reads_what_the_file_declares(self, timeless: tuple[DAG, DAG]) -> None:
        for dag in timeless:
            stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
            assert set(DagSerialization.from_dict(stored).task_dict) == set(dag.task_dict)
            assert complaints(dag) == []

    def test_events_start_trainings(self, timeless: tuple[DAG, DAG]) -> None:
        score, train = timeless
        assert train.max_active_runs == 1
        assert score.schedule is None
        assert isinstance(train.timetable, PartitionedAssetTimetable)

    def test_a_person_is_told_how_to_name_one(self, timeless: tuple[DAG, DAG]) -> None:
        told = [dag.params.get_param("partition").description for dag in timeless]
        assert all("e.g. snapshot-0001" in text and "the next snapshot" in text for text in told)


def test_no_template_needs_a_logical_date(bag: DagBag) -> None:
    # A run that an asset event started has none: such a template would raise.
    forbidden = re.compile(r"\{[{%][^}]*\b(ds|ds_nodash|ts|logical_date|data_interval\w*)\b")
    found = [
        f"DAG {dag.dag_id}, task {task.task_id}: take the partition from partition_of, not {text}"
        for dag in bag.dags.values()
        for task in dag.tasks
        for text in templates(task)
        if forbidden.search(text)
    ]
    assert found == []
    partitions = [text for task in bag.dags["loan_default_train"].tasks for text in templates(task)]
    assert any("partition_of" in text for text in partitions)  # the walk does see templates


# Parses a folder in a process of its own and tells what that took.
CHILD = """
import json, socket, sys
from airflow.dag_processing.dagbag import DagBag

connections, before = [], set(sys.modules)
def refuse(self, address, *rest):
    connections.append(repr(address))
    raise OSError("no connection while parsing")
socket.socket.connect = socket.socket.connect_ex = refuse

bag = DagBag(sys.argv[1])
roots = {name.partition(".")[0] for name in set(sys.modules)}
print("RESULT" + json.dumps({
    "dags": sorted(bag.dags),
    "errors": {str(path): text for path, text in bag.import_errors.items()},
    "connections": connections,
    "modules": sorted(roots),
}))
"""


def parse_in_a_child(folder: Path, *path: Path) -> dict[str, Any]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder.parent / "plugins"),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert answers, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(answers[0].removeprefix("RESULT"))
    return result


def test_parsing_opens_no_connection_and_imports_nothing_heavy() -> None:
    parsed = parse_in_a_child(FOLDER, PROJECT, PROJECT / "plugins")
    assert parsed["errors"] == {}
    assert {"loan_default_score", "loan_default_train"} <= set(parsed["dags"])
    assert parsed["connections"] == []
    assert [name for name in HEAVY if name in parsed["modules"]] == []


def test_a_broken_pipeline_file_breaks_its_own_dags_only(tmp_path: Path) -> None:
    for name in ("include", "plugins", "dags"):
        shutil.copytree(
            PROJECT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("*.parquet"),
        )
    pipelines = tmp_path / "include" / "pipelines"
    text = (pipelines / "loan_default.yaml").read_text()
    (pipelines / "broken.yaml").write_text(text.replace("task: binary", "task: binry"))
    declaration = (tmp_path / "dags" / "loan_default.py").read_text()
    (tmp_path / "dags" / "broken.py").write_text(declaration.replace("loan_default", "broken"))

    parsed = parse_in_a_child(tmp_path / "dags", tmp_path, tmp_path / "plugins")

    assert {"loan_default_score", "loan_default_train"} <= set(parsed["dags"])
    assert not [name for name in parsed["dags"] if name.startswith("broken")]
    ((path, told),) = parsed["errors"].items()
    assert Path(path).name == "broken.py"
    assert told.strip().endswith(
        "SpecificationError: broken.yaml:3: task: not a valid value, got 'binry'; "
        "did you mean 'binary'?"
    )
