"""The operator behind ``platform_rollback``: what it passes on, links, and says."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.errors import RegistryError, UnavailableError
from include.specification.pipeline_file import load
from include.steps.rollback import Handover
from include.storage.settings import MlflowSettings
from relevo.operators.rollback import RollBackOperator

DONE = Handover(2, 3, "Version 2 is in use again.")


@pytest.fixture
def roll_back(replace_by_autospec: Any) -> Any:
    tracking = replace_by_autospec("include.registry.mlflow_runs.Tracking")
    tracking.return_value.settings = MlflowSettings(uri="http://mlflow:5000")
    return replace_by_autospec("include.steps.rollback.roll_back", return_value=DONE)


def run(context: dict[str, Any], who: str | None = "ada", **changed: Any) -> Any:
    params = {"pipeline": "loan_default", "version": None, "reason": " too high ", **changed}
    context["params"] = params
    asked_at = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    context["dag_run"] = SimpleNamespace(triggering_user_name=who, run_after=asked_at)
    return RollBackOperator(task_id="roll_back").execute(context)


def test_json_takes_2_0_for_a_whole_number(context: dict[str, Any], roll_back: Any) -> None:
    run(context, version=2.0)
    assert repr(roll_back.call_args.args[3]) == "2"


@pytest.mark.parametrize("version", [None, 2])
def test_what_a_person_asked_for_is_done(
    context: dict[str, Any], ti: Any, roll_back: Any, version: int | None
) -> None:
    assert run(context, version=version) == {"version": 2, "instead_of": 3}
    lake, registry, *others, origin = roll_back.call_args.args
    assert lake.pipeline == registry.lake.pipeline == "loan_default"
    assert others == [load("loan_default"), version, "too high", "ada", datetime(2026, 1, 2, 1)]
    assert (origin.dag_run_id, origin.task_id) == (ti.run_id, ti.task_id)
    assert ti.pushed == {
        "relevo_ledger": "/relevo/decisions/loan_default",
        "relevo_told": "Version 2 is in use again.",
        "relevo_model_version": "http://mlflow:5000/#/models/loan_default/versions/2",
    }


def test_nobody_known(context: dict[str, Any], roll_back: Any) -> None:
    run(context, who=None)
    assert roll_back.call_args.args[5] == "Nobody known"


def test_what_changes_nothing_is_skipped_and_says_so(
    context: dict[str, Any], roll_back: Any
) -> None:
    roll_back.return_value = Handover(2, 2, "Version 2 is in use already.")
    with pytest.raises(AirflowSkipException, match="Version 2 is in use already"):
        run(context)


def test_without_a_reason(context: dict[str, Any], roll_back: Any) -> None:
    with pytest.raises(AirflowFailException, match="Parameter reason: must say why"):
        run(context, reason="  ")
    roll_back.assert_not_called()


def test_what_is_wrong_is_not_tried_again(context: dict[str, Any], roll_back: Any) -> None:
    roll_back.side_effect = RegistryError("model loan_default: wrong.")
    with pytest.raises(AirflowFailException, match=r"model loan_default: wrong\."):
        run(context)
    roll_back.side_effect = UnavailableError("the store does not answer")
    with pytest.raises(UnavailableError):
        run(context)
