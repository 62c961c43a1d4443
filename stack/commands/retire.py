"""`./relevo retire`: end a pipeline, or undo that while its tables are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from include.storage.settings import KEEP_DAYS, MOST_DAYS
from include.wording import some
from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from stack.airflow_api import AirflowApi

_RETIRE = "platform_retire"


def retire(
    name: Name,
    reason: Reason,
    keep_days: Annotated[
        int, typer.Option(min=1, max=MOST_DAYS, help="How long its tables stay.")
    ] = KEEP_DAYS,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take it back into service, while its tables are there.")
    ] = False,
) -> None:
    """Pause a pipeline, archive its model and ledger, and let its tables go after a while."""
    with shown_errors():
        why = platform_run.given_reason(reason)
        api = platform_run.reach_airflow(Layout.from_environment())
        # Before anything is paused.
        platform_run.demand_unpaused(api, _RETIRE)
        if not undo:
            _pause(api, name)
        conf = {"pipeline": name, "reason": why, "keep_days": keep_days, "undo": undo}
        told = platform_run.follow(api, _RETIRE, conf)
    console.print(told, markup=False, soft_wrap=True)


def _pause(api: AirflowApi, name: str) -> None:
    """Pause the DAGs of a pipeline that Airflow still knows.

    Raises:
        StackError: If a run of them is active; then nothing is paused.
    """
    dag_ids = [dag_id for dag_id in (f"{name}_score", f"{name}_train") if api.has_dag(dag_id)]
    active = [
        f"{run['dag_run_id']} of {dag_id} ({run['state']})"
        for dag_id in dag_ids
        for run in api.dag_runs(dag_id, state=["queued", "running"])
    ]
    if active:
        raise StackError(
            f"Pipeline {name}: no run may be active when it is retired, got {some(active)}. Pause "
            "its DAGs, wait for their runs to end or mark them as failed, and repeat the command."
        )
    for dag_id in dag_ids:
        if not api.dag(dag_id)["is_paused"]:
            api.pause(dag_id)
            report(f"paused {dag_id}")
