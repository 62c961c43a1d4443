"""Which tasks of a pipeline's runs failed, and why: asked of Airflow alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.xcom import XCom

from include.monitoring.alerts import Alert
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import AlertKind
from relevo.active_runs import ACTIVE, ENDED, about, count_active, read_run
from relevo.failures import REASON, Reason

KINDS: tuple[AlertKind, ...] = ("failure", "gate", "deadline")
_UNKNOWN = "It left no message: the task was killed or lost, or failed outside Relevo. See its log."
_PAGE = re.compile(r"s3://reports/[^\s]+\.html")


def failed_tasks(pipeline: Pipeline, now: datetime, look_back: timedelta) -> list[Alert]:
    """List the tasks that have failed for good, also of runs that are under way.

    Of a run that failed only because of its last task, which looks whether the others did their
    work, that task is named; else those before it.

    Args:
        pipeline: The pipeline.
        now: The present moment, naive UTC.
        look_back: Runs that ended longer ago are left out.
    """
    sources = sorted({*pipeline.feature_sources, pipeline.label_source})
    ingesting = [f"ingest_{source}" for source in sources]
    found: list[Alert] = []
    for kind, first, last in (
        ("score", [*ingesting, "ingest_labels"], "request_retraining"),
        ("train", ["build_training_set"], "close_training"),
    ):
        dag_id = f"{pipeline.name}_{kind}"
        runs = [read_run(dag_id, run_id) for run_id in _suspects(dag_id, first, last)]
        failed = [
            (run, tasks)
            for run in runs
            if run is not None
            and (run.end_date is None or _is_recent(run, now, look_back))
            and (tasks := _failed(dag_id, run.run_id, last))
        ]
        partitions = about(pipeline, [run for run, _ in failed])
        for run, tasks in failed:
            name = str(partitions[run.run_id] or "")
            found += [_alert(dag_id, run, name, task) for task in tasks]
    return found


def _suspects(dag_id: str, first: Sequence[str], last: str) -> Iterator[str]:
    """Name the runs that failed, or have begun and not ended."""
    if not count_active(dag_id, states=(*ACTIVE, "failed")):
        return
    states = RuntimeTaskInstance.get_task_states(dag_id, task_ids=[*first, last])
    for run_id, tasks in states.items():
        ended = tasks.get(last)
        has_begun = any(tasks.get(name) is not None for name in first)
        if ended in ("failed", "upstream_failed") or (has_begun and ended not in ENDED):
            yield run_id


def _failed(dag_id: str, run_id: str, last: str) -> list[dict[str, Any]]:
    tasks = [
        task
        for task in RuntimeTaskInstance.get_task_breadcrumbs(dag_id, run_id)
        if task["state"] == "failed"
    ]
    return [task for task in tasks if task["task_id"] != last] or tasks


def _is_recent(run: Any, now: datetime, look_back: timedelta) -> bool:
    return bool(now - run.end_date.astimezone(UTC).replace(tzinfo=None) < look_back)


def _alert(dag_id: str, run: Any, partition: str, task: dict[str, Any]) -> Alert:
    task_id, index = task["task_id"], task["map_index"]
    told = XCom.get_one(
        key=REASON, dag_id=dag_id, run_id=run.run_id, task_id=task_id, map_index=index
    )
    reason = Reason(**told) if told else Reason("failure", _UNKNOWN)
    page = _PAGE.search(reason.told)
    # A try is known by how long it took; one that never began, by how often the run was cleared.
    attempt = task["duration"] or f"clear-{run.clear_number or 0}"
    return Alert(
        key=f"failed/{dag_id}/{run.run_id}/{task_id}/{index}/{attempt}",
        kind=reason.kind,
        partition=partition,
        reason=f"{task_id} failed. {reason.told}",
        dag_id=dag_id,
        run_id=run.run_id,
        task_id=task_id,
        map_index=index,
        report=page.group() if page else "",
    )
