"""`./relevo retire`: end a pipeline, or undo that while its tables are there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.storage.settings import KEEP_DAYS, MOST_DAYS
from include.wording import some
from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stack.airflow_api import AirflowApi

_RETIRE = "platform_retire"
_MAINTAIN = "platform_maintain"
_ACTIVE = ["queued", "running"]


def retire(
    name: Name,
    reason: Reason = "",
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
        conf = {"pipeline": name, "reason": why, "keep_days": keep_days, "undo": undo}
        with contextlib.nullcontext() if undo else _paused(api, name):
            told = platform_run.follow(api, _RETIRE, conf)
    console.print(told, markup=False, soft_wrap=True)


@contextlib.contextmanager
def _paused(api: AirflowApi, name: str) -> Iterator[None]:
    """Pause the DAGs of a pipeline that Airflow still knows, and say so if what follows fails.

    They stay paused then, for the pipeline may be retired all the same.

    Raises:
        StackError: If a run is active that may write to its tables; then nothing is paused.
    """
    dag_ids = [dag_id for dag_id in (f"{name}_score", f"{name}_train") if api.has_dag(dag_id)]
    _refuse_active(api, name, dag_ids)
    paused = []
    try:
        for dag_id in dag_ids:
            if not api.dag(dag_id)["is_paused"]:
                api.pause(dag_id)
                paused.append(dag_id)
                report(f"paused {dag_id}")
        yield
    except (StackError, KeyboardInterrupt):
        if paused:
            report(
                f"{' and '.join(paused)} stay{'s' if len(paused) == 1 else ''} paused. If the "
                f"pipeline shall go on, {platform_run.unpausing(*paused)}"
            )
        raise


def _refuse_active(api: AirflowApi, name: str, dag_ids: Sequence[str]) -> None:
    """Refuse while a run of the pipeline is active, or one of the platform that is about it."""
    runs = [(dag_id, run) for dag_id in dag_ids for run in api.dag_runs(dag_id, state=_ACTIVE)]
    others = api.dag_runs("~", state=_ACTIVE)
    runs += [(run["dag_id"], run) for run in others if _is_about(run, name)]
    if runs:
        active = [f"{run['dag_run_id']} of {dag_id} ({run['state']})" for dag_id, run in runs]
        raise StackError(
            f"Pipeline {name}: no run may be active when it is retired, got {some(active)}. Let "
            "them end, or mark them as failed, and repeat the command; nothing was paused."
        )


def _is_about(run: Mapping[str, Any], name: str) -> bool:
    """Tell whether a run is one of the platform that works on the pipeline's tables."""
    dag_id, pipeline = run["dag_id"], (run["conf"] or {}).get("pipeline")
    if dag_id == _MAINTAIN and pipeline is None:  # it works on all
        return True
    return dag_id.startswith("platform_") and dag_id != _RETIRE and pipeline == name
