"""The commands by which people decide by hand, as they are typed: one run each, followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from typer.testing import CliRunner, Result

from relevo.operators.interventions import TOLD
from stack.airflow_api import AirflowApi
from stack.cli import app
from stack.commands import platform_run
from stack.errors import AirflowApiError

NAME, WHY = "telco_churn", ("--reason", " an audit ")
COMMANDS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("freeze", NAME), {}),
    (("unfreeze", NAME), {}),
    (("promote", NAME, "3"), {"version": 3}),
    (("refuse", NAME, "3"), {"version": 3}),
    (("rollback", NAME), {"version": None}),
    (("migrate", NAME), {"first": None}),
    (("migrate", NAME, "--first", "2005-01"), {"first": "2005-01"}),
    (("rollback", NAME, "--version", "3"), {"version": 3}),
]


def relevo(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture
def api(shell: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An Airflow whose run ends well at the second look."""
    api = create_autospec(AirflowApi, instance=True)
    api.url = "http://airflow:8080"
    api.dag.return_value = {"is_paused": False}
    api.trigger.return_value = {"dag_run_id": "manual__1"}
    api.dag_run.side_effect = [{"state": "running"}, {"state": "success"}]
    api.task_instances.return_value = [{"task_id": "freeze", "map_index": -1}]
    api.xcom_entries.return_value = [
        {"key": "relevo_ledger", "value": "/relevo/decisions/telco_churn"},
        {"key": TOLD, "value": "Version 2 is frozen. ada: [an audit]"},
    ]
    monkeypatch.setattr(platform_run, "AirflowApi", create_autospec(AirflowApi, return_value=api))
    monkeypatch.setattr(platform_run, "_POLL_SECONDS", 0)
    for name, value in (("URL", api.url), ("USER", "ada"), ("PASSWORD", "secret")):
        monkeypatch.setenv(f"RELEVO_AIRFLOW_{name}", value)
    return api


@pytest.mark.parametrize(("words", "params"), COMMANDS)
def test_each_triggers_its_dag_and_says_what_came_of_it(
    api: Any, words: tuple[str, ...], params: dict[str, Any]
) -> None:
    done = relevo(*words, *WHY)
    assert done.exit_code == 0, done.output
    assert done.stdout == "Version 2 is frozen. ada: [an audit]\n"
    api.trigger.assert_called_once_with(
        f"platform_{words[0]}", {"pipeline": NAME, "reason": "an audit", **params}
    )
    platform_run.AirflowApi.assert_called_once_with(  # type: ignore[attr-defined]
        "http://airflow:8080", "secret", "ada", loopback=False
    )


def test_a_reason_is_passed_on_without_what_a_terminal_obeys(api: Any) -> None:
    assert relevo("freeze", NAME, "--reason", "an\x1b[2K\naudit").exit_code == 0
    assert api.trigger.call_args.args[1]["reason"] == "an [2K audit"


def test_a_migration_says_once_that_the_training_it_waits_for_is_paused(api: Any) -> None:
    api.dag.side_effect = lambda dag_id: {"is_paused": dag_id == f"{NAME}_train"}
    api.dag_run.side_effect = [{"state": "running"}] * 3 + [{"state": "success"}]
    done = relevo("migrate", NAME, *WHY)
    assert done.exit_code == 0
    assert done.stdout.count(f"{NAME}_train is paused, and this waits for") == 1
    assert f"`./relevo airflow dags unpause {NAME}_train`" in done.stdout


def test_a_failure_is_told_as_the_task_told_it(api: Any) -> None:
    api.dag_run.side_effect = [{"state": "failed"}]
    done = relevo("freeze", NAME, *WHY)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Version 2 is frozen. ada: [an audit]\n"


def test_a_failure_that_speaks_of_this_task_is_told_with_its_name(api: Any) -> None:
    api.dag_run.side_effect = [{"state": "failed"}]
    api.xcom_entries.return_value = [{"key": TOLD, "value": "Wait, and clear this task."}]
    done = relevo("freeze", NAME, *WHY)
    assert done.stderr == (
        "Wait, and clear this task. This task is freeze of run manual__1 of platform_freeze: "
        "http://airflow:8080/dags/platform_freeze/runs/manual__1\n"
    )


@pytest.mark.parametrize("command", ["freeze", "migrate", "retire"])
@pytest.mark.parametrize("end", [KeyboardInterrupt, AirflowApiError("does not answer")])
def test_a_command_that_ends_first_says_that_the_run_goes_on(
    api: Any, command: str, end: Any
) -> None:
    api.dag_runs.return_value = []
    api.dag_run.side_effect = [{"state": "running"}, end]
    done = relevo(command, NAME, *WHY)
    assert done.exit_code == (130 if end is KeyboardInterrupt else 1)
    page = f"http://airflow:8080/dags/platform_{command}/runs/manual__1"
    assert (
        f"Run manual__1 of platform_{command} goes on, whatever becomes of this command. Look at "
        f"it in the UI, {page}."
    ) in done.output


def test_interrupted_while_it_asks_it_says_that_a_run_may_have_begun(api: Any) -> None:
    api.trigger.side_effect = KeyboardInterrupt
    done = relevo("freeze", NAME, *WHY)
    assert done.exit_code == 130
    assert "A run of platform_freeze may have begun, whatever becomes of this" in done.stdout


def test_a_failure_without_a_word_names_the_log(api: Any) -> None:
    api.dag_run.side_effect = [{"state": "failed"}]
    api.xcom_entries.return_value = []
    done = relevo("freeze", NAME, *WHY)
    assert done.exit_code == 1
    assert "See the log of freeze in the UI, http://airflow:8080/dags/platform_freeze/runs/" in (
        done.stderr
    )


def test_a_run_that_does_not_end(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_run, "_LONGEST_SECONDS", -1.0)
    done = relevo("freeze", NAME, *WHY)
    assert done.exit_code == 1
    assert "manual__1 of platform_freeze: must end within" in done.stderr


def test_what_is_not_even_triggered(api: Any) -> None:
    for words, complaint in (
        (("freeze", NAME, "--reason", "  "), "--reason: must say why"),
        (("freeze", NAME, "--reason", "x" * 1001), "--reason: must have at most 1000 characters"),
        (("withdraw", NAME, "2005-01", "--reason", "x" * 1001), "must have at most 1000"),
        (("freeze", "telco_chrun", *WHY), "telco_churn"),
        *(((*words, "--reason", ""), "--reason: must say why") for words, _ in COMMANDS),
        *((words, "Option --reason: must say why, got nothing") for words, _ in COMMANDS),
        (("withdraw", NAME, "2005-01"), "Option --reason: must say why, got nothing"),
        (("retire", NAME), "Option --reason: must say why, got nothing"),
        (("promote", NAME, "0", *WHY), "Invalid value"),
    ):
        done = relevo(*words)
        assert done.exit_code != 0
        assert complaint in done.stderr
    api.dag.return_value = {"is_paused": True}
    assert "DAG platform_freeze: must not be paused" in relevo("freeze", NAME, *WHY).stderr
    api.trigger.assert_not_called()


def test_a_right_that_is_missing_is_airflows_answer(api: Any) -> None:
    api.trigger.side_effect = AirflowApiError("answered 403 Forbidden", status=403)
    done = relevo("freeze", NAME, *WHY)
    assert (done.exit_code, done.stderr) == (1, "answered 403 Forbidden\n")


def test_a_stack_that_is_down(shell: Path) -> None:
    done = relevo("freeze", NAME, *WHY)
    assert done.exit_code == 1
    assert "must be running, got down. Run `./relevo up`" in done.stderr
