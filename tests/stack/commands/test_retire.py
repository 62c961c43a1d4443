"""`./relevo retire` as it is typed: what it pauses, what it triggers, and when it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from stack.errors import AirflowApiError
from tests.stack.commands import test_platform_run
from tests.stack.commands.test_platform_run import WHY, relevo

api = test_platform_run.api
NAME = "gone"


@pytest.fixture
def quiet(api: Any) -> Any:
    """No run is active; the training DAG is paused already."""
    api.has_dag.return_value = True
    api.dag_runs.return_value = []
    api.dag.side_effect = lambda dag_id: {"is_paused": dag_id == f"{NAME}_train"}
    return api


def test_it_pauses_and_triggers(quiet: Any) -> None:
    done = relevo("retire", NAME, *WHY)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"paused {NAME}_score\nVersion 2 is frozen. ada: [an audit]\n"
    quiet.pause.assert_called_once_with(f"{NAME}_score")
    conf = {"pipeline": NAME, "reason": "an audit", "keep_days": 90, "undo": False}
    quiet.trigger.assert_called_once_with("platform_retire", conf)
    quiet.dag_runs.assert_any_call(f"{NAME}_train", state=["queued", "running"])


def test_undone_it_pauses_and_unpauses_nothing(quiet: Any) -> None:
    assert relevo("retire", NAME, "--undo", *WHY).exit_code == 0
    quiet.pause.assert_not_called()
    quiet.unpause.assert_not_called()
    assert quiet.trigger.call_args.args[1]["undo"] is True


def test_dags_that_airflow_does_not_know_any_more(quiet: Any) -> None:
    quiet.has_dag.return_value = False
    assert relevo("retire", NAME, "--keep-days", "7", *WHY).exit_code == 0
    quiet.pause.assert_not_called()
    assert quiet.trigger.call_args.args[1]["keep_days"] == 7


def test_while_runs_are_active_it_names_them_and_changes_nothing(quiet: Any) -> None:
    quiet.dag_runs.side_effect = lambda dag_id, **_: (
        [{"dag_run_id": "manual__7", "state": "queued"}] if dag_id.endswith("train") else []
    )
    done = relevo("retire", NAME, *WHY)
    assert done.exit_code == 1
    assert f"no run may be active when it is retired, got manual__7 of {NAME}_train (queued)." in (
        done.stderr
    )
    quiet.pause.assert_not_called()
    quiet.trigger.assert_not_called()


@pytest.mark.parametrize(
    ("dag_id", "pipeline"),
    [("platform_migrate", NAME), ("platform_release", NAME), ("platform_maintain", None)],
)
def test_runs_by_hand_that_are_about_it_count_before_anything_is_paused(
    quiet: Any, dag_id: str, pipeline: str | None
) -> None:
    run = {"dag_id": dag_id, "dag_run_id": "manual__7", "state": "running"}
    run["conf"] = {"pipeline": pipeline} if pipeline else None
    quiet.dag_runs.side_effect = lambda dag_id, **_: [run] if dag_id == "~" else []
    done = relevo("retire", NAME, *WHY)
    assert done.exit_code == 1
    assert f"got manual__7 of {dag_id} (running). Let them end" in done.stderr
    quiet.pause.assert_not_called()
    quiet.trigger.assert_not_called()


def test_runs_that_are_about_others_do_not_count(quiet: Any) -> None:
    others = [
        {"dag_id": dag_id, "dag_run_id": "1", "state": "running", "conf": {"pipeline": pipeline}}
        for dag_id, pipeline in (
            ("platform_migrate", "other"),
            ("platform_maintain", "other"),
            ("platform_alerts", None),
            ("platform_retire", NAME),
            ("of_a_person", NAME),
        )
    ]
    quiet.dag_runs.side_effect = lambda dag_id, **_: others if dag_id == "~" else []
    assert relevo("retire", NAME, *WHY).exit_code == 0


@pytest.mark.parametrize("state", ["failed", KeyboardInterrupt])
def test_refused_all_the_same_it_says_what_stays_paused(quiet: Any, state: Any) -> None:
    quiet.dag_run.side_effect = [{"state": state}] if state == "failed" else state
    quiet.dag.side_effect = lambda dag_id: {"is_paused": False}
    done = relevo("retire", NAME, *WHY)
    assert done.exit_code in (1, 130)
    assert (
        f"{NAME}_score and {NAME}_train stay paused. If the pipeline shall go on, unpause them in "
        f"the UI, or with `./relevo airflow dags unpause {NAME}_score` and "
    ) in done.stdout
    quiet.unpause.assert_not_called()


def test_without_the_right_nothing_is_paused(quiet: Any) -> None:
    quiet.dag.side_effect = AirflowApiError("Airflow GET: answered 403 Forbidden", status=403)
    assert relevo("retire", NAME, *WHY).exit_code == 1
    quiet.pause.assert_not_called()


@pytest.mark.parametrize("words", [("--keep-days", "0"), ("--keep-days", "x"), ("--reason", " ")])
def test_what_is_wrong_is_refused_first(quiet: Any, words: tuple[str, ...]) -> None:
    given = WHY if words[0] != "--reason" else ()
    assert relevo("retire", NAME, *words, *given).exit_code != 0
    quiet.trigger.assert_not_called()
