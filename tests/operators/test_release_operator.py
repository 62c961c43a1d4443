"""The operator behind ``platform_release``: whom it refuses, what it hands on and deletes."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.calendar.partitions import Frequency, parse
from include.errors import SourceError
from include.specification.pipeline_file import load
from include.steps.interventions import Done
from relevo.active_runs import Active, Run
from relevo.operators.release import ReleaseOperator

PARTITION = parse("2005-Q1", Frequency.QUARTERLY)
AT = datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def active(replace_by_autospec: Any) -> Any:
    return replace_by_autospec("relevo.operators.release.active_runs", return_value=Active())


@pytest.fixture
def forget(replace_by_autospec: Any) -> Any:
    return replace_by_autospec("include.steps.release.forget_rows")


def run(context: dict[str, Any]) -> Any:
    about = {"dataset": "loans", "partition": "2005-Q1", "request": "r1"}
    context["params"] = {"pipeline": "loan_default", "reason": " a call ", **about}
    context["dag_run"] = SimpleNamespace(triggering_user_name="ada", run_after=AT)
    return ReleaseOperator(task_id="release").execute(context)


def test_rows_are_released_and_then_deleted(
    context: dict[str, Any], ti: Any, replace_by_autospec: Any, active: Any, forget: Any
) -> None:
    done = Done("1 of 1 rows released.", changed=True)
    release = replace_by_autospec("include.steps.release.release", return_value=done)
    assert run(context) == {"changed": True}
    lake, *others, origin = release.call_args.args
    assert others == [load("loan_default"), "loans", PARTITION, "r1", "a call", "ada"]
    assert (origin.dag_run_id, origin.task_id) == (ti.run_id, ti.task_id)
    forget.assert_called_once_with(lake, "r1")
    assert ti.pushed["relevo_told"] == "1 of 1 rows released."
    assert active.call_args.args[1] == "loan_default_score"


def test_rows_that_cannot_be_released_stay_handed_in(
    context: dict[str, Any], ti: Any, replace_by_autospec: Any, active: Any, forget: Any
) -> None:
    replace_by_autospec("include.steps.release.release", side_effect=SourceError("not there."))
    with pytest.raises(AirflowFailException, match="not there"):
        run(context)
    assert ti.pushed["relevo_told"] == "not there."
    forget.assert_not_called()


def test_a_run_about_the_partition_has_to_end_first(
    context: dict[str, Any], replace_by_autospec: Any, active: Any, forget: Any
) -> None:
    release = replace_by_autospec(
        "include.steps.release.release", return_value=Done("Done.", changed=True)
    )
    others = [Run(f"run_{at}", PARTITION.shift(at), "running", AT, False) for at in (1, 0)]
    active.return_value = Active(tuple(others))
    with pytest.raises(AirflowFailException, match=r"no run about 2005-Q1 .* got run run_0 about"):
        run(context)
    release.assert_not_called()
    active.return_value = Active(tuple(others[:1]))
    run(context)
    release.assert_called_once()
