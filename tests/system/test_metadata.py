"""Airflow's records take what people ask for while tasks write, on the real embedded stack."""

from __future__ import annotations

from datetime import date

import pytest

from stack.airflow_api import AirflowApi
from stack.embedded.operation import Stack
from stack.errors import AirflowApiError
from tests.system.conftest import SystemStack

pytestmark = pytest.mark.system

# Nothing of it is landed, so its runs end soon.
SCORE = "trip_duration_score"
TIMES = 50


def works(api: AirflowApi) -> bool:
    """Tell whether a task of the DAG runs, or will although the DAG is paused."""
    return bool(api.task_instances(SCORE, state=["queued", "running"]))


def end(api: AirflowApi, run_id: str) -> None:
    """End a run of the paused DAG, whose last task would run once it is unpaused; forget it."""
    try:
        api.mark_task_instance(SCORE, run_id, "request_retraining", "failed")
    except AirflowApiError as error:
        if error.status != 409:  # it has failed by itself
            raise
    api.mark_dag_run(SCORE, run_id, "failed")
    api.delete_dag_run(SCORE, run_id)


def test_requests_in_a_row_while_runs_are_active(stack: SystemStack) -> None:
    """Each is answered; an error of the server, or one part's restart, fails the test."""
    api = stack.api
    before = {part.name: part.restarts for part in Stack(stack.layout).status()}
    api.wait_for_dag(SCORE)
    api.unpause(SCORE)
    try:
        for _ in range(TIMES):
            api.trigger(SCORE, {"partition": "2019-01"})
            made = api.create_backfill(SCORE, date(2019, 1, 1), date(2019, 3, 1), 2)
            # Airflow allows one backfill of a DAG at a time.
            try:
                api.cancel_backfill(made["id"])
            except AirflowApiError as error:
                if error.status != 409:  # it has ended by itself
                    raise
    finally:
        api.pause(SCORE)
        # Airflow answers whoever ends a run at the moment at which its task ends with a deadlock.
        stack.until(lambda: not works(api), f"the tasks of {SCORE} to end", 300)
        runs = api.dag_runs(SCORE)
        for run in runs:
            end(api, run["dag_run_id"])
    assert len([run for run in runs if run["run_type"] == "manual"]) == TIMES
    assert {part.name: part.restarts for part in Stack(stack.layout).status()} == before
