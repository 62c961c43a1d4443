"""Retired pipelines: who refuses to work on them, and the operator behind ``platform_retire``."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.errors import RetiredError, UnavailableError
from include.registry.champions import Registry
from include.steps.interventions import Done
from include.steps.on_record import Writers
from include.steps.retirement_archive import Archive
from relevo import in_service
from relevo.operators.alerts import TellAlertsOperator
from relevo.operators.approval import ApprovePromotionOperator
from relevo.operators.base import PipelineOperator
from relevo.operators.erasure import EraseOperator
from relevo.operators.interventions import TOLD, FreezeOperator, WithdrawOperator
from relevo.operators.maintenance import CarryOutMaintenanceOperator
from relevo.operators.reprocessing import AskReprocessingOperator
from relevo.operators.retirement import RetireOperator
from relevo.operators.rollback import RollBackOperator

DONE = Done("It is retired. ada: no product", True)
ARCHIVE = Archive("s3://lake/p/retired/archive-1.zip", "abc", 12, (1,), ())
AT = datetime(2026, 1, 2, 3)
REFUSED = "pipeline p: must not be retired, got: retired since yesterday"


class Scoring(PipelineOperator):
    def run(self, context: Any) -> None:
        raise AssertionError("it works all the same")


@pytest.fixture
def world(replace_by_autospec: Any, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Nothing is retired and nothing is active."""
    found = Writers(frozenset({"gone_score", "by_hand", "platform_retire"}), frozenset())
    replace_by_autospec("include.steps.on_record.writers", return_value=found)
    replace_by_autospec("include.registry.mlflow_runs.Tracking")
    monkeypatch.setattr(Registry, "retired", create_autospec(Registry.retired, return_value=""))
    return SimpleNamespace(
        concern=replace_by_autospec("relevo.operators.retirement.may_concern", return_value=True),
        count=replace_by_autospec("relevo.operators.retirement.count_active", return_value=0),
        retire=replace_by_autospec("include.steps.retirement.retire", return_value=DONE),
        reinstate=replace_by_autospec("include.steps.retirement.reinstate", return_value=DONE),
        follow=replace_by_autospec("include.steps.retirement.follow", return_value=ARCHIVE),
    )


def run(operator: Any, context: dict[str, Any], **params: Any) -> Any:
    context["params"] = {
        **{"pipeline": "gone", "reason": " no product ", "keep_days": 90.0, "undo": False},
        **params,
    }
    at = AT.replace(tzinfo=UTC)
    context["dag_run"] = SimpleNamespace(triggering_user_name="ada", run_after=at)
    return operator(task_id="retire").execute(context)


def test_what_a_person_asked_for_is_done_without_a_pipeline_file(
    context: dict[str, Any], ti: Any, world: SimpleNamespace, demand: Any
) -> None:
    assert run(RetireOperator, context) == {"changed": True}
    lake, registry, days, *others, origin = world.retire.call_args.args
    assert lake.pipeline == registry.lake.pipeline == "gone"
    assert (days, others, origin.dag_run_id) == (90, ["no product", "ada", AT], ti.run_id)
    assert isinstance(days, int)
    assert ti.pushed[TOLD] == f"It is retired. ada: no product. {ARCHIVE}"
    asked = {call.args[0] for call in world.count.call_args_list}
    assert asked == {"gone_score", "by_hand", "platform_erase", "platform_maintain"}
    world.follow.assert_called_once_with(lake, registry)
    world.reinstate.assert_not_called()
    demand.assert_not_called()


def test_undone(context: dict[str, Any], ti: Any, world: SimpleNamespace) -> None:
    world.follow.return_value = None
    assert run(RetireOperator, context, undo=True) == {"changed": True}
    _, _, *others, _ = world.reinstate.call_args.args
    assert others == ["no product", "ada", AT]
    assert ti.pushed[TOLD] == DONE.told
    world.retire.assert_not_called()


def test_what_changes_nothing_is_skipped_but_finished(
    context: dict[str, Any], world: SimpleNamespace
) -> None:
    world.retire.return_value = Done("So it is.", False)
    with pytest.raises(AirflowSkipException, match=r"So it is\."):
        run(RetireOperator, context)
    world.follow.assert_called_once()


def test_while_a_run_is_active_nothing_is_put_on_record(
    context: dict[str, Any], ti: Any, world: SimpleNamespace
) -> None:
    world.count.side_effect = lambda dag_id: dag_id == "gone_score"
    with pytest.raises(AirflowFailException, match=r"no run may be active .* runs of gone_score"):
        run(RetireOperator, context)
    world.retire.assert_not_called()
    assert "Pause the DAGs" in ti.pushed[TOLD]


def test_a_run_about_another_pipeline_is_none_of_its(
    context: dict[str, Any], world: SimpleNamespace
) -> None:
    world.count.side_effect = lambda dag_id: dag_id == "platform_erase"
    world.concern.return_value = False
    assert run(RetireOperator, context) == {"changed": True}
    world.concern.assert_called_with("platform_erase", "gone")


def test_the_archive_waits_for_a_run_that_began_meanwhile(
    context: dict[str, Any], ti: Any, world: SimpleNamespace
) -> None:
    world.retire.side_effect = lambda *_: setattr(world.count, "return_value", 1) or DONE
    with pytest.raises(UnavailableError, match="no run may be active when its archive is made"):
        run(RetireOperator, context)
    world.follow.assert_not_called()
    # Tried again it is retired already, and only waits.
    Registry.retired.return_value = "retired since yesterday"  # type: ignore[attr-defined]
    world.retire.side_effect = None
    with pytest.raises(UnavailableError, match="clear this task when they have ended"):
        run(RetireOperator, context)
    world.count.return_value = 0
    assert run(RetireOperator, context) == {"changed": True}


class TestRetired:
    @pytest.fixture(autouse=True)
    def retired(self, demand: Any) -> None:
        demand.side_effect = RetiredError(REFUSED)
        in_service.retired.return_value = "retired since yesterday"  # type: ignore[attr-defined]

    def test_no_task_works_on_it(self, context: dict[str, Any]) -> None:
        context["params"] = {"pipeline": "p"}
        for task in (
            Scoring(task_id="score", pipeline="p"),
            ApprovePromotionOperator(task_id="ask", subject="?", pipeline="p"),
            AskReprocessingOperator(task_id="ask"),
        ):
            with pytest.raises(AirflowFailException, match=REFUSED):
                task.execute(context)

    @pytest.mark.parametrize("operator", [FreezeOperator, WithdrawOperator, RollBackOperator])
    def test_nothing_is_done_by_hand(self, context: dict[str, Any], ti: Any, operator: Any) -> None:
        with pytest.raises(AirflowFailException, match=REFUSED):
            run(operator, context, pipeline="loan_default", version=None, partition="2005-Q1")
        assert ti.pushed[TOLD] == REFUSED

    def test_but_it_is_retired_and_people_are_erased(self) -> None:
        assert RetireOperator.of_retired
        assert EraseOperator.of_retired

    def test_nobody_is_told_of_it(
        self, context: dict[str, Any], replace_by_autospec: Any, make_alerts: Any
    ) -> None:
        context["params"] = {}
        told = replace_by_autospec("relevo.operators.alerts.AlertRound")
        assert TellAlertsOperator(task_id="tell").execute(context) == {}
        told.assert_not_called()
        in_service.retired.return_value = ""  # type: ignore[attr-defined]
        told.return_value.tell.return_value = 1
        assert TellAlertsOperator(task_id="tell").execute(context) == {"loan_default": 1}

    @pytest.fixture
    def make_alerts(self, replace_by_autospec: Any) -> Any:
        names = replace_by_autospec("relevo.operators.alerts.pipeline_file.names")
        names.return_value = ("loan_default",)
        load = replace_by_autospec("relevo.operators.alerts.pipeline_file.load")
        load.return_value = SimpleNamespace(name="loan_default", alerts={"team": object()})
        return load


def test_maintenance_sees_to_pipelines_without_a_file(
    context: dict[str, Any], replace_by_autospec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_by_autospec("relevo.operators.maintenance.count_active", return_value=0)
    replace_by_autospec(
        "include.steps.removal.retired_pipelines", return_value=["gone", "loan_default", "lost"]
    )
    seen = []

    def report(task: Any, context: Any, name: str) -> dict[str, Any]:
        seen.append(name)
        if name == "gone":
            raise RetiredError("its archive is not there")
        return {"retired table": {"count": 1, "bytes": 2}}

    monkeypatch.setattr(CarryOutMaintenanceOperator, "_report", report)
    context["params"] = {"pipeline": None, "dry_run": False}
    task = CarryOutMaintenanceOperator(task_id="carry_out", pipeline=None)
    with pytest.raises(AirflowFailException, match="pipeline gone: its archive is not there"):
        task.execute(context)
    assert seen == ["gone", "lost"]
    context["params"] = {"pipeline": "loan_default", "dry_run": False}
    with pytest.raises(AirflowSkipException):
        task.execute(context)
