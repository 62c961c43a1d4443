"""What a run has to wait for, what blocks, and what a person can do about it.

Runs are ordered by their partition. Airflow says which runs are active, the ledger says which
trainings were asked for, and Airflow again what has become of those.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from include.calendar.partitions import Partition
from include.specification.pipeline import Pipeline
from include.storage.lineage import Origin
from relevo.active_runs import (
    BACKFILL,
    ENDED,
    QUEUED,
    RUNNING,
    Run,
    active_runs,
    count_active,
    read_run,
    started,
)
from relevo.hooks import RelevoHook

if TYPE_CHECKING:
    from include.storage.lake_tables import Lake
    from include.storage.ledger import Training

_log = logging.getLogger(__name__)
_LAST_OF_TRAINING = "close_training"
REQUEST = "request_retraining"
_TOLD = 5
_GOING_ON = frozenset({"scheduled", "queued", "running", "restarting", "up_for_retry"})


@dataclass(frozen=True)
class Waiter:
    """The run that waits.

    Args:
        pipeline: Its pipeline.
        partition: What it is about.
        dag_id: Its DAG.
        run_id: Its id.
        since: When it started, aware.
        is_backfill: Whether a backfill made it.
        last_tasks: The tasks with which runs of its DAG end.
        places: How many runs of its DAG may be active.
    """

    pipeline: Pipeline
    partition: Partition
    dag_id: str
    run_id: str
    since: datetime
    is_backfill: bool
    last_tasks: Sequence[str]
    places: int

    @classmethod
    def of(cls, context: Any, pipeline: Pipeline, partition: Partition) -> Waiter:
        """Read it off the context of a task."""
        dag, run = context["dag"], context["dag_run"]
        return cls(
            pipeline,
            partition,
            dag.dag_id,
            run.run_id,
            started(run),
            run.run_type == BACKFILL,
            [task.task_id for task in dag.leaves],
            dag.max_active_runs,
        )


@dataclass(frozen=True)
class Waiting:
    """What is still open.

    Args:
        told: One line each, for people; nothing is open without any.
        runs: Ids of the runs that come first.
        rivals: Ids of those among them that are about the same partition.
        trainings: Training runs, as (DAG, run id, partition whose request made it or '').
        is_blocking: Whether who comes first is queued, and this is the last to hold a place.
        must_give_way: Whether moreover none of those that hold a place goes on.
    """

    told: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    trainings: tuple[tuple[str, str, str], ...] = ()
    is_blocking: bool = False
    must_give_way: bool = False


def earlier_runs(waiter: Waiter) -> Waiting:
    """Look which runs that come first are active."""
    active = active_runs(waiter.pipeline, waiter.dag_id, waiter.last_tasks, waiter.partition)
    others = [run for run in active.runs if run.run_id != waiter.run_id]
    first = sorted(
        (run for run in others if run.precedes(waiter.partition, waiter.since, waiter.run_id)),
        key=lambda run: (run.partition, run.since, run.run_id),
    )
    told = [str(run) for run in first[:_TOLD]]
    if len(first) > _TOLD:
        told.append(f"{len(first) - _TOLD} more")
    holders = [
        run.run_id
        for run in others
        if run.state == RUNNING and run.is_backfill == waiter.is_backfill
    ]
    blocks = bool(first) and _is_blocking(waiter, first, others, active.later)
    return Waiting(
        told=tuple(told),
        runs=tuple(run.run_id for run in first),
        rivals=tuple(run.run_id for run in first if run.partition == waiter.partition),
        is_blocking=blocks,
        must_give_way=blocks and not _goes_on(waiter.dag_id, holders),
    )


def earlier_decisions(waiter: Waiter, lake: Lake) -> Waiting:
    """Look which runs that come first are active, and then which of their trainings are open.

    The order matters: a run writes its decision before it ends, so the ledger that is read after
    no earlier run was active holds the decisions of them all.
    """
    return _open_trainings(waiter, lake) if not (runs := earlier_runs(waiter)).told else runs


def _is_blocking(
    waiter: Waiter, first: Sequence[Run], others: Sequence[Run], later: Sequence[str]
) -> bool:
    """Tell whether who comes first of all is queued, and this is the last to hold a place.

    Runs of a backfill have places of their own, whose number a worker cannot ask for.
    """
    if first[0].state != QUEUED or first[0].is_backfill != waiter.is_backfill:
        return False
    running = [
        run for run in others if run.state == RUNNING and run.is_backfill == waiter.is_backfill
    ]
    if any(not run.precedes(waiter.partition, waiter.since, waiter.run_id) for run in running):
        return False
    alike = [name for name in later if name.startswith(f"{BACKFILL}__") == waiter.is_backfill]
    if count_active(waiter.dag_id, alike, [RUNNING]):
        return False
    return waiter.is_backfill or len(running) + 1 >= waiter.places


def _goes_on(dag_id: str, run_ids: Sequence[str]) -> bool:
    """Tell whether one of some runs does something, so that it will end and leave its place.

    It may also just be looking whether it may go on; looks are rare and not at one time.
    """
    if not run_ids:
        return False
    states = RuntimeTaskInstance.get_task_states(dag_id, run_ids=list(run_ids))
    return any(_GOING_ON.intersection(tasks.values()) for tasks in states.values())


def _open_trainings(waiter: Waiter, lake: Lake) -> Waiting:
    from include.storage import ledger

    train_dag = f"{waiter.pipeline.name}_train"
    active = active_runs(waiter.pipeline, train_dag, [_LAST_OF_TRAINING], waiter.partition)
    held = ledger.trainings(lake)
    told, followed, about = [], [], set()
    for run in active.runs:
        name = str(run.partition)
        if run.partition is None or run.partition >= waiter.partition:
            continue
        if not _is_over(held.get(name), train_dag, run):
            # One by hand is no matter of the request.
            followed.append((train_dag, run.run_id, name if run.is_by_event else ""))
            about.add(name)
            told.append(f"training as of {name}: {run} of {train_dag}")
    for name, training in held.items():
        if name >= str(waiter.partition) or name in about:
            continue
        if training.state == "started":
            if count_active(training.dag_id, [training.dag_run_id]):
                followed.append((training.dag_id, training.dag_run_id, name))
                told.append(f"training as of {name}: run {training.dag_run_id}")
            else:
                _give_up(waiter.pipeline, lake, name, training.dag_id, training.dag_run_id)
        elif training.state == "requested":
            if spent := _spent(lake, train_dag, name, training.dag_run_id):
                _give_up(waiter.pipeline, lake, name, train_dag, spent)
            else:
                told.append(_describe_request(waiter.pipeline.name, name, training))
    if told and RuntimeTaskInstance.get_dag(train_dag).is_paused:
        told.append(
            f"{train_dag} is paused: unpause it, and trigger what was requested meanwhile, because "
            "Airflow makes no run of an event that came while it was paused"
        )
    return Waiting(told=tuple(told), trainings=tuple(followed))


def _is_over(training: Training | None, train_dag: str, run: Run) -> bool:
    """Tell whether an active training run changes nothing any more.

    The request that made it was withdrawn, or it has recorded its end and does nothing but end
    MLflow's runs.
    """
    if training is None or training.state in ("requested", "started"):
        return False
    if training.state == "withdrawn":
        return run.is_by_event
    if training.dag_run_id != run.run_id:
        return False
    states = RuntimeTaskInstance.get_task_states(train_dag, run_ids=[run.run_id])
    tasks = dict(states.get(run.run_id, {}))
    return tasks.pop(_LAST_OF_TRAINING, None) is not None and ENDED.issuperset(tasks.values())


def _spent(lake: Lake, train_dag: str, name: str, requested_by: str) -> str | None:
    """Find a run that the request started and that is over without having begun to train.

    Airflow tells workers of no events, so it is one that was made after the request was recorded.
    """
    from include.storage import ledger

    told = [
        entry for entry in ledger.entries(lake, "retraining", "training") if entry.partition == name
    ]
    begun = {entry.dag_run_id for entry in told if entry.kind == "training"}
    asked = max(entry.recorded_at for entry in told if entry.dag_run_id == requested_by)
    states = RuntimeTaskInstance.get_task_states(train_dag, task_ids=[_LAST_OF_TRAINING])
    for run_id in map(str, states):
        run = None if run_id in begun else read_run(train_dag, run_id)
        if run is None or run.partition_key != name or run.state in (QUEUED, RUNNING):
            continue
        if run.run_after >= asked.replace(tzinfo=UTC):
            return run_id
    return None


def _give_up(pipeline: Pipeline, lake: Lake, name: str, dag_id: str, run_id: str) -> None:
    """Record the end of a training that will tell none, and let MLflow follow if it answers."""
    from mlflow.exceptions import MlflowException

    from include.registry.champions import Registry
    from include.registry.mlflow_runs import Tracking
    from include.steps import training_course

    training_course.give_up(lake, pipeline, name, Origin(dag_id, run_id, "await_training"))
    tracking = Tracking(RelevoHook().mlflow(), pipeline.name)
    try:
        training_course.end_abandoned(lake, tracking)
        Registry(lake, tracking).set_alias()
    except (MlflowException, OSError) as error:
        _log.warning("MLflow keeps the runs of %s open until the next training: %s", run_id, error)


def _describe_request(pipeline: str, name: str, training: Training) -> str:
    by = training.dag_run_id
    states = RuntimeTaskInstance.get_task_states(
        training.dag_id, task_ids=[REQUEST], run_ids=[by]
    ).get(by, {})
    if not states:
        why = f"requested by run {by}, which is gone"
    elif states.get(REQUEST) == "success":
        why = f"requested by run {by}, but no run of {pipeline}_train is about it yet"
    else:
        state = states.get(REQUEST) or "not done"
        why = f"decided by run {by}, whose {REQUEST} is {state}: clear that task"
    return (
        f"training as of {name}: {why}. Should it stay so, trigger {pipeline}_train with "
        f"{{'partition': '{name}'}}, or `./relevo withdraw {pipeline} {name} --reason ...`"
    )
