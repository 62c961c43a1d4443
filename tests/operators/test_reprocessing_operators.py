"""The operators behind ``platform_reprocess``: what they clear, wait for, refuse and say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from include.scoring.reprocessing_requests import Request, RunToRepeat
from include.specification.pipeline_file import load
from include.steps.staleness import Stale
from relevo.operators.reprocessing import (
    AskReprocessingOperator,
    FinishReprocessingOperator,
    PrepareHistoryOperator,
    RepeatRunsOperator,
    ReprocessingOperator,
)

SCORED = RunToRepeat("2005-Q1", "score", "loan_default_score", "scheduled__1", 0, False)
TRAINED = RunToRepeat("2005-Q1", "train", "loan_default_train", "asset__1", 2, True)
LOST = RunToRepeat("2005-Q2", "score", "loan_default_score", "manual__1_score_2005-Q2", None, False)
REQUEST = Request(
    run_id="manual__1",
    who="ada",
    why="a bad load",
    corrected=[("loans", "2005-Q1")],
    told=["loans 2005-Q1: loans.parquet changed"],
    history={"2004-Q1": ("raw_loans",)},
    runs=[SCORED, TRAINED, LOST],
    versions=[1],
    forgotten=[],
    predictions={"2005-Q1": 3},
)
NOTHING = Stale((), {}, (), {})


class Runs:
    """The runs that Airflow knows, and what becomes of them."""

    def __init__(self) -> None:
        self.held: dict[str, SimpleNamespace] = {}
        self.started: list[tuple[Any, ...]] = []

    def put(self, repeated: RunToRepeat, state: str, cleared: int) -> None:
        self.held[repeated.run_id] = SimpleNamespace(state=state, clear_number=cleared)

    def read(self, dag_id: str, run_id: str) -> SimpleNamespace | None:
        return self.held.get(run_id)

    def start(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        self.started.append((dag_id, run_id, conf))


@pytest.fixture
def runs(replace_by_autospec: Any) -> Runs:
    found = Runs()
    for place in ("relevo.operators.reprocessing", "relevo.active_runs"):
        replace_by_autospec(f"{place}.read_run", side_effect=found.read)
    replace_by_autospec("relevo.operators.reprocessing.start_again", side_effect=found.start)
    return found


@pytest.fixture
def asked_by(replace_by_autospec: Any) -> Any:
    target = "include.scoring.reprocessing_requests.asked_by"
    return replace_by_autospec(target, return_value=REQUEST)


@pytest.fixture
def others(replace_by_autospec: Any) -> Any:
    return replace_by_autospec("include.scoring.reprocessing_requests.open_run", return_value=None)


@pytest.fixture
def ask(replace_by_autospec: Any) -> Any:
    return replace_by_autospec("include.steps.reprocessing.ask", return_value=REQUEST)


def run(operator: type[ReprocessingOperator], context: dict[str, Any], **changed: Any) -> Any:
    params = {"pipeline": "loan_default", "partitions": None, "reason": " a bad load ", **changed}
    context["params"] = params
    context["dag_run"].triggering_user_name = "ada"
    return operator(task_id="step").execute(context)


def test_what_a_person_asks_for_is_put_on_record(
    context: dict[str, Any], ti: Any, ask: Any, others: Any
) -> None:
    told = run(AskReprocessingOperator, context, partitions=["2005-Q1"])
    assert told == {"partitions": 3, "runs": 3}
    lake, *asked, _, origin = ask.call_args.args
    assert asked == [load("loan_default"), ["2005-Q1"], "a bad load", "ada"]
    assert (lake.pipeline, origin.dag_run_id) == ("loan_default", ti.run_id)
    assert ti.pushed == {"relevo_ledger": "/relevo/decisions/loan_default"}


def test_nothing_is_stale(context: dict[str, Any], ask: Any, others: Any) -> None:
    ask.return_value = None
    with pytest.raises(AirflowSkipException, match="loan_default: nothing is stale"):
        run(AskReprocessingOperator, context)


def test_without_a_reason(context: dict[str, Any], ask: Any) -> None:
    with pytest.raises(AirflowFailException, match="Parameter reason: must say why"):
        run(AskReprocessingOperator, context, reason="  ")
    with pytest.raises(AirflowFailException, match="must have at most 1000 characters"):
        run(AskReprocessingOperator, context, reason="x" * 1001)
    ask.assert_not_called()


@pytest.mark.parametrize(("state", "refused"), [("running", True), ("failed", False)])
def test_one_at_a_time(
    context: dict[str, Any], ask: Any, others: Any, runs: Runs, state: str, refused: bool
) -> None:
    others.return_value = ("platform_reprocess", "other")
    run(AskReprocessingOperator, context)  # that one was deleted
    runs.held["other"] = SimpleNamespace(state=state)
    if not refused:
        run(AskReprocessingOperator, context)
        return
    with pytest.raises(AirflowFailException, match="one reprocessing at a time, got run other"):
        run(AskReprocessingOperator, context)
    ask.assert_called_once()


def test_history_is_prepared_by_spark(
    context: dict[str, Any], asked_by: Any, spark: Any, replace_by_autospec: Any
) -> None:
    prepare = replace_by_autospec("include.steps.history_completion.prepare_again")
    assert run(PrepareHistoryOperator, context) == ["2004-Q1"]
    assert prepare.call_args.args[3:5] == ([("loans", "2005-Q1")], {"2004-Q1": ("raw_loans",)})
    asked_by.return_value = replace(REQUEST, history={})
    assert run(PrepareHistoryOperator, context) == []
    assert (prepare.call_count, spark.call_count) == (1, 1)


def test_runs_are_repeated_one_after_the_other(
    context: dict[str, Any], asked_by: Any, runs: Runs
) -> None:
    """Each is cleared once, whatever is killed in between, and waited for."""
    runs.put(SCORED, "success", 0)
    runs.put(TRAINED, "failed", 2)  # as it was before anybody asked
    for repeated in (SCORED, TRAINED, LOST):
        for _ in range(2):  # the second time it is under way, or was killed just there
            with pytest.raises(TaskDeferred) as deferred:
                run(RepeatRunsOperator, context)
            assert deferred.value.trigger.runs == [repeated.run_id]
            runs.put(repeated, "queued", (repeated.clear_number or 0) + 1)
        runs.put(repeated, "success", (repeated.clear_number or 0) + 1)

    assert run(RepeatRunsOperator, context) == 3
    assert runs.started == [
        (item.dag_id, item.run_id, {"partition": item.partition})
        for item in (SCORED, TRAINED, LOST)
    ]


def test_a_run_that_is_under_way_is_cleared_when_it_has_ended(
    context: dict[str, Any], asked_by: Any, runs: Runs
) -> None:
    runs.put(SCORED, "running", 0)
    with pytest.raises(TaskDeferred):
        run(RepeatRunsOperator, context)
    assert runs.started == []


def test_a_run_that_failed_stops_the_rest(
    context: dict[str, Any], asked_by: Any, runs: Runs
) -> None:
    runs.put(SCORED, "failed", 1)
    expected = "Run scheduled__1 of loan_default_score about 2005-Q1 failed when it was repeated"
    with pytest.raises(AirflowFailException, match=expected):
        run(RepeatRunsOperator, context)
    assert runs.started == []


def test_one_that_had_failed_before_may_fail_again(
    context: dict[str, Any], asked_by: Any, runs: Runs
) -> None:
    asked_by.return_value = replace(REQUEST, runs=[TRAINED])
    runs.put(TRAINED, "failed", 3)
    assert run(RepeatRunsOperator, context) == 1


def test_what_airflow_knows_of_a_run(
    context: dict[str, Any], ask: Any, others: Any, runs: Runs
) -> None:
    run(AskReprocessingOperator, context)
    look_up = ask.call_args.args[5]
    runs.put(SCORED, "failed", 4)
    assert look_up("loan_default_score", "scheduled__1") == (4, True)
    assert look_up("loan_default_score", "another") is None


def test_a_run_that_was_deleted(context: dict[str, Any], asked_by: Any, runs: Runs) -> None:
    with pytest.raises(AirflowFailException, match="must still be there, got none"):
        run(RepeatRunsOperator, context)


def test_without_a_request(context: dict[str, Any], asked_by: Any) -> None:
    asked_by.return_value = None
    with pytest.raises(AirflowFailException, match="the ledger must hold what this run asked for"):
        run(RepeatRunsOperator, context)


def test_what_was_replaced_and_what_is_left(
    context: dict[str, Any], asked_by: Any, replace_by_autospec: Any
) -> None:
    replaced = {"2005-Q1": {"then": 3, "now": 5}}
    finish = replace_by_autospec(
        "include.steps.reprocessing.finish", return_value=(replaced, NOTHING)
    )
    assert run(FinishReprocessingOperator, context) == replaced
    finish.return_value = (replaced, replace(NOTHING, history={"2004-Q1": ("raw_loans",)}))
    with pytest.raises(AirflowFailException, match="2004-Q1 are stale all the same"):
        run(FinishReprocessingOperator, context)
