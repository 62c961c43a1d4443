"""The operator behind ``platform_erase``: whom it refuses, what it hands on, and Airflow's logs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.xcom import XCom

from include.errors import SourceError
from include.specification.pipeline_file import load
from include.steps import erasure, retirement
from include.steps.erasure import Found
from include.steps.on_record import Writers
from include.storage.text_redaction import Redaction
from relevo import active_runs
from relevo.failures import REASON
from relevo.operators import erasure as operators
from relevo.operators.erasure import EraseOperator
from relevo.operators.interventions import TOLD

FOUND = Found(2, {"raw_loans": 3, "labels": 2}, 1, 2, (4,), ())


@pytest.fixture
def erase(replace_by_autospec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The ids are there, and Airflow's logs lie in a folder of the test."""
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    replace_by_autospec(
        "include.steps.erasure.read_redaction", return_value=Redaction(["LN-12345"])
    )
    replace_by_autospec("include.steps.erasure.forget_ids")
    replace_by_autospec("include.steps.retirement.renew_archive", return_value="")
    airflow = create_autospec(RuntimeTaskInstance)
    airflow.get_task_states.return_value = {}
    monkeypatch.setattr(operators, "RuntimeTaskInstance", airflow)
    found = Writers(frozenset({"loan_default_score", "loan_default_train", "by_hand"}), frozenset())
    replace_by_autospec("include.steps.on_record.writers", return_value=found)
    return replace_by_autospec("include.steps.erasure.erase", return_value=FOUND)


def run(context: dict[str, Any], **changed: Any) -> Any:
    context["params"] = {
        **{"pipeline": "loan_default", "request": "letter_1", "reason": " a letter "},
        **changed,
    }
    asked_at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    context["dag_run"] = SimpleNamespace(triggering_user_name="ada", run_after=asked_at)
    return EraseOperator(task_id="erase").execute(context)


def test_what_a_person_asked_for_is_done(context: dict[str, Any], ti: Any, erase: Any) -> None:
    assert run(context) == {"changed": True}
    lake, registry, *others, origin = erase.call_args.args
    assert lake.pipeline == registry.lake.pipeline == "loan_default"
    assert others == [load("loan_default"), "letter_1", "a letter", "ada"]
    assert origin.dag_run_id == ti.run_id
    assert ti.pushed == {"relevo_ledger": "/relevo/decisions/loan_default", TOLD: str(FOUND)}
    assert erasure.forget_ids.call_args.args[1] == "letter_1"


def test_of_a_retired_pipeline_the_archive_is_made_anew(
    context: dict[str, Any], ti: Any, erase: Any
) -> None:
    renew: Any = retirement.renew_archive
    renew.return_value = "It has 4."
    run(context)
    assert renew.call_args.args[1] == (4,)
    assert ti.pushed[TOLD] == f"{FOUND} It has 4."


def test_ids_leave_the_logs_of_the_pipeline_alone(
    context: dict[str, Any], erase: Any, tmp_path: Path
) -> None:
    said = 'got "LN-12345", and LN-123456'
    for name in ("loan_default_score", "by_hand", "platform_reprocess", "telco_churn_score"):
        folder = tmp_path / f"dag_id={name}" / "run_id=1"
        folder.mkdir(parents=True)
        (folder / "attempt=1.log").write_text(said)
    run(context)
    told = {path.parts[-3]: path.read_text() for path in tmp_path.rglob("*.log")}
    cleaned = 'got "[erased]", and LN-123456'
    assert told == {
        "dag_id=loan_default_score": cleaned,
        "dag_id=by_hand": cleaned,
        "dag_id=platform_reprocess": cleaned,
        "dag_id=telco_churn_score": said,
    }


def test_ids_leave_the_messages_of_failed_tasks(
    context: dict[str, Any], erase: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow, xcom = operators.RuntimeTaskInstance, create_autospec(XCom)
    monkeypatch.setattr(operators, "XCom", xcom)
    airflow.get_task_states.side_effect = lambda dag_id: {
        "good": {"ingest": "success"},
        **({"bad": {"ingest": "failed"}} if dag_id.endswith("_score") else {}),
    }
    airflow.get_task_breadcrumbs.return_value = [
        {"task_id": "ingest", "map_index": -1},
        {"task_id": "other", "map_index": -1},
    ]
    held = {"kind": "gate", "told": "got LN-12345 twice"}
    xcom.get_one.side_effect = lambda *, task_id, key, **_: (
        held if (task_id, key) == ("ingest", REASON) else None
    )
    run(context)
    airflow.get_task_breadcrumbs.assert_called_once_with("loan_default_score", "bad")
    xcom.set.assert_called_once_with(
        value={"kind": "gate", "told": "got [erased] twice"},
        key=REASON,
        dag_id="loan_default_score",
        run_id="bad",
        task_id="ingest",
        map_index=-1,
    )


def test_ids_stay_until_the_logs_are_clean(
    context: dict[str, Any], erase: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(operators, "_redact_logs", fail)
    with pytest.raises(OSError, match="disk full"):
        run(context)
    erasure.forget_ids.assert_not_called()


def test_a_run_is_active(context: dict[str, Any], erase: Any) -> None:
    active_runs.count_active.side_effect = lambda dag_id: dag_id.endswith("_train")  # type: ignore[attr-defined]
    with pytest.raises(AirflowFailException, match=r"got runs of loan_default_train\. Pause"):
        run(context)
    erase.assert_not_called()


def test_what_is_wrong_is_not_tried_again(context: dict[str, Any], erase: Any) -> None:
    with pytest.raises(AirflowFailException, match="Parameter reason: must say why"):
        run(context, reason=" ")
    erase.side_effect = SourceError("source loans: wrong.")
    with pytest.raises(AirflowFailException, match=r"source loans: wrong\."):
        run(context)
    erasure.forget_ids.assert_not_called()
