"""The operators behind what people do by hand: what they pass on, link, and say."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.calendar.partitions import Frequency, parse
from include.errors import RegistryError, UnavailableError
from include.specification.pipeline_file import load
from include.steps.interventions import Done
from include.steps.rollback import Handover
from include.storage.settings import MlflowSettings
from relevo.operators.interventions import (
    FreezeOperator,
    InterventionOperator,
    PromoteOperator,
    RefuseOperator,
    UnfreezeOperator,
    WithdrawOperator,
)

DONE = Done("It is so.", True)
AT = datetime(2026, 1, 2, 3)
STEPS: list[tuple[type[InterventionOperator], str, dict[str, Any], list[Any]]] = [
    (FreezeOperator, "include.steps.interventions.freeze", {}, []),
    (UnfreezeOperator, "include.steps.interventions.unfreeze", {}, []),
    (RefuseOperator, "include.steps.interventions.refuse", {"version": 2.0}, [2]),
    (
        *(WithdrawOperator, "include.steps.training_course.withdraw", {"partition": "2005-Q1"}),
        [parse("2005-Q1", Frequency.QUARTERLY)],
    ),
]


def run(operator: type[InterventionOperator], context: dict[str, Any], **params: Any) -> Any:
    context["params"] = {"pipeline": "loan_default", "reason": " an audit ", **params}
    at = AT.replace(tzinfo=UTC)
    context["dag_run"] = SimpleNamespace(triggering_user_name="ada", run_after=at)
    return operator(task_id="by_hand").execute(context)


@pytest.mark.parametrize(("operator", "step", "params", "passed"), STEPS)
def test_what_a_person_asked_for_is_done(
    context: dict[str, Any],
    ti: Any,
    replace_by_autospec: Any,
    operator: type[InterventionOperator],
    step: str,
    params: dict[str, Any],
    passed: list[Any],
) -> None:
    called = replace_by_autospec(step, return_value=DONE)
    assert run(operator, context, **params) == {"changed": True}
    lake, *others, who, at, origin = called.call_args.args
    assert lake.pipeline == "loan_default"
    assert [item for item in others if not hasattr(item, "lake")] == [*passed, "an audit"]
    assert [type(item) for item in passed] == [type(item) for item in others if item in passed]
    assert (who, at, origin.dag_run_id, origin.task_id) == ("ada", AT, ti.run_id, ti.task_id)
    assert ti.pushed == {
        "relevo_ledger": "/relevo/decisions/loan_default",
        "relevo_told": "It is so.",
    }


def test_a_promotion_by_hand(context: dict[str, Any], ti: Any, replace_by_autospec: Any) -> None:
    tracking = replace_by_autospec("include.registry.mlflow_runs.Tracking")
    tracking.return_value.settings = MlflowSettings(uri="http://mlflow:5000")
    done = Handover(2, None, "Version 2 is in use by hand.")
    promote = replace_by_autospec("include.steps.rollback.promote", return_value=done)
    assert run(PromoteOperator, context, version=2) == {"version": 2, "instead_of": None}
    _, registry, *others, _ = promote.call_args.args
    assert registry.tracking is tracking.return_value
    assert others == [load("loan_default"), 2, "an audit", "ada", AT]
    assert ti.pushed["relevo_model_version"] == (
        "http://mlflow:5000/#/models/loan_default/versions/2"
    )
    with pytest.raises(AirflowFailException, match="Parameter version: must name one"):
        run(PromoteOperator, context, version=None)


def test_what_changes_nothing_is_skipped_and_says_so(
    context: dict[str, Any], ti: Any, replace_by_autospec: Any
) -> None:
    replace_by_autospec("include.steps.interventions.freeze", return_value=Done("So it is.", False))
    with pytest.raises(AirflowSkipException, match=r"So it is\."):
        run(FreezeOperator, context)
    assert ti.pushed["relevo_told"] == "So it is."


@pytest.mark.parametrize(
    ("error", "raised"),
    [(RegistryError("wrong."), AirflowFailException), (UnavailableError("away"), UnavailableError)],
)
def test_what_is_wrong_is_told(
    context: dict[str, Any],
    ti: Any,
    replace_by_autospec: Any,
    error: Exception,
    raised: type[Exception],
) -> None:
    replace_by_autospec("include.steps.interventions.freeze", side_effect=error)
    with pytest.raises(raised, match=str(error)):
        run(FreezeOperator, context)
    assert ti.pushed == {"relevo_told": str(error)}


def test_without_a_reason(context: dict[str, Any], replace_by_autospec: Any) -> None:
    freeze = replace_by_autospec("include.steps.interventions.freeze", return_value=DONE)
    with pytest.raises(AirflowFailException, match="Parameter reason: must say why"):
        run(FreezeOperator, context, reason="  ")
    freeze.assert_not_called()


def test_a_reason_goes_on_record_in_one_line_that_no_terminal_obeys(
    context: dict[str, Any], replace_by_autospec: Any
) -> None:
    freeze = replace_by_autospec("include.steps.interventions.freeze", return_value=DONE)
    reason = "an \x1b[2K\x1b[1Aaudit\x9b2K\r\nof\tspring\u202e \u00e9t\u00e9"
    run(FreezeOperator, context, reason=reason)
    assert freeze.call_args.args[2] == "an [2K [1Aaudit 2K of spring \u00e9t\u00e9"
    run(FreezeOperator, context, reason="x" * 1000)
    with pytest.raises(AirflowFailException, match="reason: must have at most 1000 characters, go"):
        run(FreezeOperator, context, reason="x" * 1001)
    assert freeze.call_count == 2
