"""The operator behind ``platform_migrate``: what it begins, triggers, waits for, and says."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from include.errors import TrainingError
from include.steps.interventions import Done
from include.steps.migration import Migration
from relevo.operators.interventions import TOLD
from relevo.operators.migration import MigrateOperator

RUN = "migration__manual__1"
MIGRATION = Migration(
    who="ada",
    why="a new column",
    before={},
    after={"features": 2},
    as_of="2005-Q1",
    first=None,
    features=["2005-Q1"],
    labels=[],
    sources={},
    training=RUN,
)


@pytest.fixture
def steps(replace_by_autospec: Any, spark: Any) -> SimpleNamespace:
    module = "include.steps.migration"
    return SimpleNamespace(
        begin=replace_by_autospec(f"{module}.begin", return_value=MIGRATION),
        fill=replace_by_autospec(f"{module}.fill", return_value=(1, 0)),
        finish=replace_by_autospec(f"{module}.finish", return_value=Done("Switched.", True)),
        open_run=replace_by_autospec(f"{module}.open_run", return_value=None),
    )


@pytest.fixture
def runs(replace_by_autospec: Any) -> dict[str, SimpleNamespace]:
    held: dict[str, SimpleNamespace] = {}

    def start(dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        assert run_id not in held
        held[run_id] = SimpleNamespace(state="queued", dag_id=dag_id, conf=conf)

    module = "relevo.operators.migration"
    for place in (module, "relevo.active_runs"):
        replace_by_autospec(f"{place}.read_run", side_effect=lambda dag_id, run: held.get(run))
    replace_by_autospec(f"{module}.start_again", side_effect=start)
    dags = replace_by_autospec(f"{module}.RuntimeTaskInstance")
    dags.get_dag.side_effect = lambda dag_id: SimpleNamespace(is_paused=True)
    return held


def run(context: dict[str, Any], **params: Any) -> Any:
    context["params"] = {
        "pipeline": "loan_default",
        "reason": "a new column",
        "first": None,
        **params,
    }
    context["dag_run"].triggering_user_name = "ada"
    context["dag_run"].run_after = datetime(2026, 1, 1, tzinfo=UTC)
    return MigrateOperator(task_id="migrate").execute(context)


def test_it_trains_once_and_waits_for_the_verdict(
    context: dict[str, Any],
    ti: Any,
    steps: SimpleNamespace,
    runs: dict[str, SimpleNamespace],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):  # the second time as if it was killed just there
        with pytest.raises(TaskDeferred) as deferred:
            run(context, first="2004-Q1")
        assert (deferred.value.trigger.dag_id, deferred.value.trigger.runs) == (
            "loan_default_train",
            [RUN],
        )
    assert steps.begin.call_args.args[2:5] == ("2004-Q1", "a new column", "ada")
    assert runs[RUN].conf == {"partition": "2005-Q1", "generations": {"features": 2}}
    steps.finish.assert_not_called()
    steps.fill.assert_called_once()
    assert "loan_default_train is paused: unpause it" in capsys.readouterr().out

    runs[RUN].state = "success"
    assert run(context) == {"changed": True}
    assert ti.pushed[TOLD] == "Switched."


def test_a_training_that_failed_is_mended_first(
    context: dict[str, Any], ti: Any, steps: SimpleNamespace, runs: dict[str, SimpleNamespace]
) -> None:
    runs[RUN] = SimpleNamespace(state="failed")
    with pytest.raises(AirflowFailException, match=f"Run {RUN} of loan_default_train about 2005-Q"):
        run(context)
    assert "clear what failed there" in ti.pushed[TOLD]
    runs[RUN].state = "success"
    steps.finish.side_effect = TrainingError("no verdict")
    with pytest.raises(AirflowFailException, match="no verdict"):
        run(context)


def test_nothing_to_migrate_is_skipped(
    context: dict[str, Any], ti: Any, steps: SimpleNamespace, runs: dict[str, SimpleNamespace]
) -> None:
    steps.begin.return_value = Done("There is nothing to migrate.", False)
    with pytest.raises(AirflowSkipException, match="nothing to migrate"):
        run(context)
    assert ti.pushed[TOLD] == "There is nothing to migrate."
    assert runs == {}
    steps.fill.assert_not_called()


def test_one_at_a_time(
    context: dict[str, Any], steps: SimpleNamespace, runs: dict[str, SimpleNamespace]
) -> None:
    steps.open_run.return_value = ("platform_migrate", "other")
    runs["other"] = SimpleNamespace(state="running")
    with pytest.raises(AirflowFailException, match="one migration at a time, got run other"):
        run(context)
    steps.begin.assert_not_called()
    runs["other"].state = "failed"
    with pytest.raises(TaskDeferred):
        run(context)
