"""Which runs of a DAG are active, and which partition each is about: asked of Airflow alone.

A worker asks the api-server, for it knows no database. Airflow lists no runs to workers, but it
counts them and lists the states of their tasks, which every run has from the moment it is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetDagRun, TriggerDagRun
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from include.calendar import partitions
from include.calendar.partitions import Partition
from include.errors import PartitionError
from include.specification.pipeline import Pipeline
from relevo.hooks import RelevoHook

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.execution_time.comms import DagRunResult as DagRun

ERASE, MAINTAIN = "platform_erase", "platform_maintain"
BACKFILL = "backfill"
BY_EVENT = "asset_triggered"
QUEUED, RUNNING = "queued", "running"
ACTIVE = (QUEUED, RUNNING)
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
# Run ids travel in the address of a request.
_AT_ONCE = 50
# Nobody needs to know more runs that come first than these.
_ENOUGH = 20


@dataclass(frozen=True)
class Run:
    """A run that is active.

    Args:
        run_id: Its id.
        partition: What it is about; None for one that cannot be told, as its name is wrong or
            it takes its snapshot later.
        state: ``queued`` or ``running``.
        since: When it started, aware; in the far future while it is queued.
        is_backfill: Whether a backfill made it: those have a limit of their own.
        is_by_event: Whether an event of an asset made it.
    """

    run_id: str
    partition: Partition | None
    state: str
    since: datetime
    is_backfill: bool
    is_by_event: bool = False

    def precedes(self, partition: Partition, since: datetime, run_id: str) -> bool:
        """Tell whether another run has to wait for this one.

        Runs about earlier partitions come first; of several about one partition the one that
        started first, so that they never wait for each other. (Their dates in Airflow's order say
        nothing: that of a backfill's run lies in the past, and a manual run may be under way.)
        """
        if self.partition is None:
            return False
        return (self.partition, self.since, self.run_id) < (partition, since, run_id)

    def __str__(self) -> str:
        """Render for people."""
        return f"run {self.run_id} about {self.partition} ({self.state})"


@dataclass(frozen=True)
class Active:
    """The active runs of a DAG, as one about a partition has to know them.

    Args:
        runs: Those that may come first; of very many about earlier dates the earliest ones.
        later: Ids of those whose date says that they come later, and of those left out.
    """

    runs: tuple[Run, ...] = ()
    later: tuple[str, ...] = ()


def count_active(
    dag_id: str, run_ids: Sequence[str] | None = None, states: Sequence[str] = ACTIVE
) -> int:
    """Count the runs that are queued or running, of all or of some of a DAG."""
    # Without ids Airflow would count every run.
    parts: list[list[str] | None] = [None]
    if run_ids is not None:
        parts = [*_batches(run_ids)]
    return sum(
        RuntimeTaskInstance.get_dr_count(dag_id, run_ids=part, states=list(states))
        for part in parts
    )


def active_beside(own: str, writers: Collection[str], pipeline: str) -> list[str]:
    """Name the DAGs with runs that may change what a pipeline has.

    Args:
        own: The DAG that asks, which does not count.
        writers: Those that write to the pipeline's tables; maintenance counts as well.
        pipeline: Name of the pipeline.
    """
    others = sorted({*writers, MAINTAIN} - {own})
    return [dag_id for dag_id in others if count_active(dag_id) and may_concern(dag_id, pipeline)]


def active_runs(
    pipeline: Pipeline, dag_id: str, last_tasks: Sequence[str], partition: Partition
) -> Active:
    """List the runs that are queued or running.

    Args:
        pipeline: The pipeline that they are about.
        dag_id: Their DAG.
        last_tasks: The tasks with which its runs end: those whose last tasks have ended are
            looked for only if others do not account for all that are active.
        partition: Who asks. A backfill makes thousands of runs at once, so those that are about
            later dates by their ids are not read.
    """
    if not count_active(dag_id):
        return Active()
    states = RuntimeTaskInstance.get_task_states(dag_id, task_ids=list(last_tasks))
    likely = [name for name, tasks in states.items() if not ENDED.issuperset(tasks.values())]
    dates = {name: _date(pipeline, name) for name in likely}
    earlier = [(date, name) for name, date in dates.items() if date and date <= partition]
    near = [name for name, date in dates.items() if date is None]
    near += [name for _, name in sorted(earlier)[:_ENOUGH]]
    later = [name for name in likely if name not in set(near)]
    found = _read(dag_id, near)
    if len(found) + count_active(dag_id, later) < count_active(dag_id):
        known = set(likely)
        rest = [name for name in RuntimeTaskInstance.get_task_states(dag_id) if name not in known]
        found += _read(dag_id, _active_among(dag_id, rest))
    partitions_of = about(pipeline, found)
    runs = tuple(
        Run(
            run.run_id,
            partitions_of[run.run_id],
            run.state.value,
            started(run),
            run.run_type == BACKFILL,
            run.run_type == BY_EVENT,
        )
        for run in found
    )
    return Active(runs, tuple(later))


def may_concern(dag_id: str, pipeline: str) -> bool:
    """Tell whether an active run of a DAG may be about a pipeline.

    Those of the platform's DAGs name the one that they are about, or none if they are about all.
    """
    if not dag_id.startswith("platform_"):
        return True
    names = list(RuntimeTaskInstance.get_task_states(dag_id))
    runs = _read(dag_id, _active_among(dag_id, names))
    return any((run.conf or {}).get("pipeline") in (None, pipeline) for run in runs)


def oldest_active(dag_id: str) -> datetime | None:
    """Tell since when the oldest run that is queued or running may have begun; None without one.

    That is its date, unless it started before: one that was cleared started again since.
    """
    if not count_active(dag_id):
        return None
    states = RuntimeTaskInstance.get_task_states(dag_id)
    runs = _read(dag_id, _active_among(dag_id, list(states)))
    return min((min(run.run_after, started(run)) for run in runs), default=None)


def failed_before(
    task: BaseOperator,
    ti: Any,
    *,
    may_be_skipped: Collection[str] = (),
    must_answer: type[Any] | None = None,
) -> list[str]:
    """Name the tasks before a task that failed, or could not begin because others had.

    So were those of ours that Airflow skipped because somebody marked the run: cleared without
    them, what comes after them would be skipped as well, and the run green. Those that ran just
    then Airflow calls a success, although they were killed: they left no answer.

    Args:
        task: The task.
        ti: Its instance, of the run that is meant.
        may_be_skipped: Tasks that skip themselves.
        must_answer: Operator whose tasks leave an answer as XCom, without which they did not end.
    """
    before = {other.task_id: other for other in task.get_flat_relatives(upstream=True)}
    states = RuntimeTaskInstance.get_task_states(ti.dag_id, run_ids=[ti.run_id])
    found = []
    for name, state in states.get(ti.run_id, {}).items():
        # Airflow names the boxes of a mapped task by their number, as in train_candidate_1.
        other = before.get(name) or before.get(name.rpartition("_")[0])
        is_missing = state == "skipped" and _is_ours(other) and name not in may_be_skipped
        if state == "success" and must_answer is not None and isinstance(other, must_answer):
            is_missing = ti.xcom_pull(task_ids=name) is None
        if other is not None and (state in ("failed", "upstream_failed") or is_missing):
            found.append(name)
    return sorted(found)


def _is_ours(task: Any) -> bool:
    """Tell whether a task is a step of Relevo: what others put before it may skip itself."""
    return getattr(task, "operator_class", type(task)).__module__.startswith("relevo.")


def started(run: Any) -> datetime:
    """Tell when a run started; in the far future while it is queued."""
    return run.start_date or datetime.max.replace(tzinfo=UTC)


def read_run(dag_id: str, run_id: str) -> DagRun | None:
    """Read what Airflow knows of a run; None if it was deleted."""
    try:
        run: DagRun = task_runner.SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == HTTPStatus.NOT_FOUND:
            return None
        raise
    return run


def demand_alone(
    pipeline: str, found: tuple[str, str] | None, run_id: str, what: str, left: str
) -> None:
    """Refuse to begin what another run does for a pipeline.

    Args:
        pipeline: Name of the pipeline.
        found: The run that began and is not done, as (DAG, run id); None if there is none.
        run_id: The run that asks.
        what: What they do, such as ``migration``.
        left: What may be left to do when that one has ended.

    Raises:
        AirflowFailException: If that one is another run, and under way.
    """
    if found is None or found[1] == run_id:
        return
    run = read_run(*found)
    if run is not None and run.state in ACTIVE:
        raise AirflowFailException(
            f"Pipeline {pipeline}: one {what} at a time, got run {found[1]}, which is under way. "
            f"Trigger this DAG when that has ended, if something is {left} then."
        )


def start_again(dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
    """Clear a run as a whole, or make one of that name if there is none.

    Args:
        dag_id: Its DAG.
        run_id: Its id.
        conf: Parameters of one that has to be made.
    """
    message = TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=conf, reset_dag_run=True)
    task_runner.SUPERVISOR_COMMS.send(message)


def did_or_may(dag_id: str, run_id: str, task_id: str) -> bool:
    """Tell whether a task of a run succeeded, or may yet because the run is active."""
    run = read_run(dag_id, run_id)
    if run is None or run.state in ACTIVE:
        return run is not None
    states = RuntimeTaskInstance.get_task_states(dag_id, task_ids=[task_id], run_ids=[run_id])
    return bool(states.get(run_id, {}).get(task_id) == "success")


def _read(dag_id: str, run_ids: Iterable[str]) -> list[DagRun]:
    runs = [read_run(dag_id, name) for name in run_ids]
    return [run for run in runs if run is not None and run.state in ACTIVE]


def _batches(run_ids: Sequence[str]) -> list[list[str]]:
    return [list(run_ids[at : at + _AT_ONCE]) for at in range(0, len(run_ids), _AT_ONCE)]


def _active_among(dag_id: str, run_ids: Sequence[str]) -> list[str]:
    """Find the active ones by counting halves."""
    if len(run_ids) > _AT_ONCE:
        return [name for part in _batches(run_ids) for name in _active_among(dag_id, part)]
    if not count_active(dag_id, run_ids):
        return []
    if len(run_ids) == 1:
        return list(run_ids)
    middle = len(run_ids) // 2
    halves = (run_ids[:middle], run_ids[middle:])
    return [name for half in halves for name in _active_among(dag_id, half)]


def _date(pipeline: Pipeline, run_id: str) -> Partition | None:
    """Tell what a run of the schedule or of a backfill is about; None of others."""
    kind, _, date = run_id.partition("__")
    if kind not in ("scheduled", BACKFILL) or not pipeline.has_time:
        return None
    try:
        return partitions.latest_closed(datetime.fromisoformat(date), pipeline.partition)
    except (ValueError, PartitionError):
        return None


def about(pipeline: Pipeline, runs: Sequence[DagRun]) -> dict[str, Partition | None]:
    """Tell the partition of each run, as the template of its tasks does; None if it names none."""
    from include.storage.lake_tables import Lake
    from include.storage.snapshot_numbers import taken_numbers

    taken: dict[str, Partition] = {}
    if runs and not pipeline.has_time:
        lake = Lake(RelevoHook().store(), pipeline.name)
        taken = {run_id: partition for partition, run_id in taken_numbers(lake).items()}
    found: dict[str, Partition | None] = {}
    for run in runs:
        named = (run.conf or {}).get("partition") or run.partition_key
        try:
            found[run.run_id] = (
                partitions.of_run(
                    pipeline.partition, requested=named, logical_date=run.logical_date
                )
                if named or pipeline.has_time
                else taken.get(run.run_id)
            )
        except PartitionError:
            found[run.run_id] = None
    return found
