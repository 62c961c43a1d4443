"""What a person does by hand: a run of a platform DAG, triggered and followed to its end.

There is one way, through Airflow: its right, its audit log and the ledger are the same whoever asks
from where.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.wording import as_sentence, take_reason
from stack.airflow_api import AirflowApi
from stack.commands import named_pipeline
from stack.doctor.deployment import airflow_access, secrets_from_files
from stack.embedded.configuration import Configuration
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import AirflowApiError, StackError
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Name = Annotated[str, typer.Argument(help="Name of the pipeline.")]
Version = Annotated[int, typer.Argument(min=1, help="Number of the model version.")]
Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]

# XCom key of relevo.operators.interventions, which the stack's commands need not load.
_TOLD = "relevo_told"
# A task has 15 minutes, and two more tries.
_LONGEST_SECONDS = 3600.0
_POLL_SECONDS = 1.0
# So a task names itself in what it says.
_THIS_TASK = "this task"


def do(dag_id: str, name: str, reason: str, *, waits_for: str = "", **params: Any) -> None:
    """Trigger a platform DAG, wait for its end, and print the sentence that came of it.

    Args:
        dag_id: The DAG.
        name: Name of the pipeline.
        reason: Why, for the ledger.
        waits_for: DAG of which its run may wait for a run.
        **params: The DAG's other parameters.

    Raises:
        typer.Exit: With 1, if it failed; its sentence is shown as an error.
    """
    with shown_errors():
        named_pipeline.load(name)
        why = given_reason(reason)
        api = reach_airflow(Layout.from_environment())
        told = follow(api, dag_id, {"pipeline": name, "reason": why, **params}, waits_for)
    console.print(told, markup=False, soft_wrap=True)


def given_reason(reason: str) -> str:
    """Take the option ``--reason`` as it goes on record.

    Raises:
        StackError: If it says nothing, or too much.
    """
    try:
        return take_reason(reason)
    except ValueError as error:
        raise StackError(f"Option --reason: {error}") from error


def reach_airflow(layout: Layout) -> AirflowApi:
    """Reach the Airflow that ``RELEVO_AIRFLOW_*`` names, else that of the running stack.

    Raises:
        StackError: If there is neither.
    """
    os.environ.update(secrets_from_files(os.environ))
    access = airflow_access()
    if access is not None:
        return AirflowApi(
            access.url, access.password.get_secret_value(), access.user, loopback=False
        )
    if not Stack(layout).is_running():
        raise StackError(
            f"Stack {layout.state}: must be running, got down. Run `./relevo up`, or export "
            "RELEVO_AIRFLOW_URL, _USER and _PASSWORD of your deployment."
        )
    return AirflowApi.of(Configuration.load(layout))


def demand_unpaused(api: AirflowApi, dag_id: str) -> None:
    """Refuse to ask for what would wait for ever.

    Raises:
        StackError: If the DAG is paused.
    """
    if api.dag(dag_id)["is_paused"]:
        raise StackError(
            f"DAG {dag_id}: must not be paused, got paused. Unpause it in the UI, and repeat the "
            "command."
        )


def unpausing(*dag_ids: str) -> str:
    """Say how DAGs are unpaused, as the end of a sentence."""
    commands = " and ".join(f"`./relevo airflow dags unpause {dag_id}`" for dag_id in dag_ids)
    return f"unpause {'it' if len(dag_ids) == 1 else 'them'} in the UI, or with {commands}."


def follow(api: AirflowApi, dag_id: str, conf: Mapping[str, Any], waits_for: str = "") -> str:
    """Trigger a DAG of one task and wait for its end; returns what it says, also if skipped.

    Args:
        api: Airflow.
        dag_id: The DAG.
        conf: Its parameters.
        waits_for: DAG of which the run may wait for a run; '' if of none.

    Raises:
        StackError: If it failed, or does not end.
    """
    demand_unpaused(api, dag_id)
    with _said_to_go_on(f"A run of {dag_id} may have begun", f"{api.url}/dags/{dag_id}/runs"):
        run_id = str(api.trigger(dag_id, conf)["dag_run_id"])
    page = f"{api.url}/dags/{dag_id}/runs/{run_id}"
    with _said_to_go_on(f"Run {run_id} of {dag_id} goes on", page):
        state = _wait(api, dag_id, run_id, waits_for)
    (task,) = api.task_instances(dag_id, run_id)
    told = next(
        (
            str(entry["value"])
            for entry in api.xcom_entries(dag_id, run_id, task["task_id"], task["map_index"])
            if entry["key"] == _TOLD
        ),
        "",
    )
    if state != "failed":
        return told
    if not told:
        log = f"See the log of {task['task_id']} in the UI, {page}."
        raise StackError(f"Run {run_id} of {dag_id}: failed. {log}")
    if _THIS_TASK in told:
        which = f"This task is {task['task_id']} of run {run_id} of {dag_id}: {page}"
        told = f"{as_sentence(told)} {which}"
    raise StackError(told)


@contextlib.contextmanager
def _said_to_go_on(what: str, page: str) -> Iterator[None]:
    """Say what goes on in Airflow, and where, if the command ends before it does."""
    left = f"{what}, whatever becomes of this command. Look at it in the UI, {page}."
    try:
        yield
    except KeyboardInterrupt:
        report(left)
        raise
    except AirflowApiError as error:
        # Without an answer nobody knows what became of the request.
        raise StackError(str(error) if error.status else f"{error} {left}") from error


def _wait(api: AirflowApi, dag_id: str, run_id: str, waits_for: str) -> str:
    """Wait for the end of a run; returns its state."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while (state := str(api.dag_run(dag_id, run_id)["state"])) not in ("success", "failed"):
        if time.monotonic() > deadline:
            raise StackError(
                f"Run {run_id} of {dag_id}: must end within {_LONGEST_SECONDS / 60:.0f} minutes, "
                f"got {state}. It goes on: look at it in the UI, {api.url}."
            )
        if waits_for and api.has_dag(waits_for) and api.dag(waits_for)["is_paused"]:
            report(f"{waits_for} is paused, and this waits for a run of it: {unpausing(waits_for)}")
            waits_for = ""  # told
        time.sleep(_POLL_SECONDS)
    return state
