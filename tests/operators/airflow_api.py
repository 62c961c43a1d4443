"""Airflow's own database and api-server in this process, without a scheduler.

What a worker or a triggerer asks is answered by the routes that answer it in a deployment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time.context import OutletEventAccessors
from sqlalchemy import delete, select, true, update

from tests.operators.running import TaskInstance


class FakeScheduler:
    """Runs in Airflow's database, made and moved by hand."""

    def add_dag(self, dag_id: str, *, is_paused: bool = False) -> None:
        """Make a DAG known, or known as paused or not."""
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel

        with self._session() as session:
            session.merge(DagBundleModel(name="tests"))
            session.flush()
            session.merge(
                DagModel(dag_id=dag_id, bundle_name="tests", is_paused=is_paused, fileloc="x")
            )

    def add_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        state: str = "running",
        tasks: Mapping[str, str | None],
        run_type: str = "manual",
        conf: Mapping[str, Any] | None = None,
        partition_key: str | None = None,
        logical_date: datetime | None = None,
        run_after: datetime | None = None,
    ) -> None:
        """Make a run with the states of its tasks; each is later than the one before."""
        from airflow.models import taskinstance
        from airflow.models.dagrun import DagRun

        with DAG(dag_id):
            operators = [BaseOperator(task_id=name) for name in tasks]
        with self._session() as session:
            session.add(
                DagRun(
                    dag_id=dag_id,
                    run_id=run_id,
                    state=state,
                    run_type=run_type,
                    conf=dict(conf or {}),
                    partition_key=partition_key,
                    logical_date=logical_date,
                    run_after=run_after or datetime.now(UTC),
                    start_date=datetime.now(UTC) if state == "running" else None,
                )
            )
            session.flush()
            for task in operators:
                session.add(
                    taskinstance.TaskInstance(task, None, run_id=run_id, state=tasks[task.task_id])
                )

    def set_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Change the state of a run."""
        from airflow.models.dagrun import DagRun

        with self._session() as session:
            named = (DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            session.execute(update(DagRun).where(*named).values(state=state))
            if state == "running":
                began = update(DagRun).where(*named, DagRun.start_date.is_(None))
                session.execute(began.values(start_date=datetime.now(UTC)))

    def end_run(self, dag_id: str, run_id: str, at: datetime) -> None:
        """Let a run have ended at a moment."""
        from airflow.models.dagrun import DagRun

        with self._session() as session:
            named = (DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            session.execute(update(DagRun).where(*named).values(end_date=at))

    def set_task(self, dag_id: str, run_id: str, task_id: str, state: str | None) -> None:
        """Change the state of a task."""
        from airflow.models import taskinstance

        with self._session() as session:
            model = taskinstance.TaskInstance
            named = (model.dag_id == dag_id, model.run_id == run_id, model.task_id == task_id)
            session.execute(update(model).where(*named).values(state=state))

    def fail_task(
        self, dag_id: str, run_id: str, task_id: str, after: float, **reason: str
    ) -> None:
        """Let a task fail after some seconds, and leave a reason as XCom if there is one."""
        from airflow.models import taskinstance
        from airflow.models.xcom import XComModel

        with self._session() as session:
            model = taskinstance.TaskInstance
            named = (model.dag_id == dag_id, model.run_id == run_id, model.task_id == task_id)
            session.execute(update(model).where(*named).values(state="failed", duration=after))
            if reason:
                XComModel.set(
                    key="relevo_failure",
                    value=reason,
                    serialize=False,
                    dag_id=dag_id,
                    run_id=run_id,
                    task_id=task_id,
                    session=session,
                )

    def delete_runs(self, *run_ids: str) -> None:
        """Delete some runs with their tasks; all of them if none is named."""
        from airflow.models import taskinstance
        from airflow.models.dagrun import DagRun

        with self._session() as session:
            for model in (taskinstance.TaskInstance, DagRun):
                named = model.run_id.in_(run_ids) if run_ids else true()
                session.execute(delete(model).where(named))

    def context(self, dag_id: str, run_id: str, *, places: int = 16) -> dict[str, Any]:
        """What a task of a run sees of it."""
        from airflow.models.dagrun import DagRun

        with self._session() as session:
            run = session.scalar(
                select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            )
            seen = SimpleNamespace(
                dag_id=dag_id,
                run_id=run_id,
                run_type=run.run_type,
                run_after=run.run_after,
                start_date=run.start_date,
                logical_date=run.logical_date,
                partition_key=run.partition_key,
                conf=run.conf,
            )
        leaves = [SimpleNamespace(task_id="request_retraining")]
        return {
            "ti": TaskInstance(dag_id=dag_id, run_id=run_id),
            "dag": SimpleNamespace(dag_id=dag_id, leaves=leaves, max_active_runs=places),
            "dag_run": seen,
            "outlet_events": OutletEventAccessors(),
        }

    @contextmanager
    def _session(self) -> Iterator[Any]:
        from airflow.utils.session import create_session

        with create_session() as session:
            yield session


class Comms:
    """Answers what a task asks its supervisor, as the supervisor does."""

    def __init__(self) -> None:
        from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor

        self.client = InProcessTestSupervisor._api_client()

    def send(self, msg: Any) -> Any:
        """Ask the api-server."""
        from airflow.sdk.api.client import ServerResponseError
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time import comms, request_handlers

        try:
            match msg.type:
                case "GetDRCount":
                    return request_handlers.handle_get_dr_count(self.client, msg)[0]
                case "GetTaskStates":
                    return request_handlers.handle_get_task_states(self.client, msg)[0]
                case "GetDagRun":
                    return comms.DagRunResult.from_api_response(
                        self.client.dag_runs.get_detail(msg.dag_id, msg.run_id)
                    )
                case "GetTaskBreadcrumbs":
                    return comms.TaskBreadcrumbsResult.from_api_response(
                        self.client.task_instances.get_task_breakcrumbs(msg.dag_id, msg.run_id)
                    )
                case "GetXCom":
                    return request_handlers.handle_get_xcom(self.client, msg)[0]
                case "GetDag":
                    return comms.DagResult.from_api_response(self.client.dags.get(msg.dag_id))
        except ServerResponseError as error:
            detail = {"status_code": error.response.status_code, "message": str(error)}
            failed = comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail)
            raise AirflowRuntimeError(failed) from error
        raise AssertionError(f"a task asked for {msg.type}")


def make_tables() -> None:
    """Make the tables of Airflow's database."""
    import airflow.models
    from airflow import settings
    from airflow.models.base import Base

    airflow.models.import_all_models()
    Base.metadata.create_all(settings.get_engine())
