"""What every operator of a pipeline shares."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.calendar import partitions
from include.calendar.partitions import Partition
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.storage.lineage import Origin
from relevo import in_service, metrics
from relevo.failures import DeadlineMissedError, failing_at_once, reason_kept
from relevo.hooks import RelevoHook
from relevo.triggers import RunsEndedTrigger, TrainingsEndedTrigger

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from include.storage.lake_tables import Lake
    from relevo.waiting import Waiter, Waiting

# How soon a task that waits looks again itself, and how that grows; how long a run whose place
# is needed waits for the scheduler before it gives way.
_PATIENCE, _LONGEST_PATIENCE = timedelta(minutes=1), timedelta(minutes=10)
_PLACE_NEEDED = timedelta(minutes=1)
PARTITION_TEMPLATE = (
    "{{ macros.relevo.partition_of(task.pipeline, dag_run, params, task.is_teardown) }}"
)


class PipelineOperator(BaseOperator):
    """One step of a pipeline, about one partition.

    What the library finds wrong fails at once, everything else is retried. Nothing is done for a
    pipeline that a person retired.

    Args:
        pipeline: Name of the pipeline.
        partition: Name of the partition; by default the one that the run is about.
    """

    template_fields: Sequence[str] = ("partition",)
    ui_color = "#eef4fb"

    def __init__(
        self, *, pipeline: str, partition: str = PARTITION_TEMPLATE, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.partition = partition

    @abstractmethod
    def run(self, context: Any) -> Any:
        """Do the step; returns a small JSON-serialisable value for XCom."""

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Find out what the run is about, for which the pipeline file is read."""
        with reason_kept(context):
            super().render_template_fields(context, jinja_env)

    def execute(self, context: Any) -> Any:
        """Run the step and turn an error of the library into a failure without retries."""
        with reason_kept(context), failing_at_once():
            in_service.demand(self.pipeline)
            self.begin(context)
            summary = self.run(context)
        metrics.emit(self, summary)
        return summary

    def begin(self, context: Any) -> None:
        """Do what every step of a kind begins with."""

    @property
    def hook(self) -> RelevoHook:
        """Resolve connections."""
        return RelevoHook()

    def specification(self) -> Pipeline:
        """Read the pipeline file."""
        return pipeline_file.load(self.pipeline)

    def slice_of_time(self) -> Partition:
        """Parse the partition that the run is about."""
        return partitions.parse(self.partition, self.specification().partition)

    def origin(self, context: Any) -> Origin:
        """Name this task as the writer of what it writes."""
        return origin_of(context)

    def in_use(self, lake: Lake) -> Pipeline:
        """Read the pipeline file, of the generation of the champion as of the partition."""
        from include.steps.generations import in_use

        return in_use(lake, self.specification(), self.slice_of_time())


class WaitingOperator(PipelineOperator):
    """A step that may have to wait for runs that come first; it defers while it does.

    A trigger follows what was found to be open, at little cost. The task looks again when all of
    that has ended, and now and then before, so that its log tells what it waits for.

    Args:
        deadline: Longest wait.
        poll_seconds: Seconds between looks of the trigger.
    """

    def __init__(
        self,
        *,
        deadline: timedelta = timedelta(days=7),
        poll_seconds: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deadline = deadline
        self.poll_seconds = poll_seconds
        self._waited: dict[str, Any] = {}

    def wait(
        self,
        context: Any,
        look: Callable[[Waiter], Waiting],
        follow: Callable[[Waiting, str], BaseTrigger],
    ) -> None:
        """Return if nothing is open, else defer.

        Args:
            context: Context of the task.
            look: Looks what is open.
            follow: Makes the trigger, from what is open and when to fire in any case.

        Raises:
            TaskDeferred: If there is something to wait for.
            DeadlineMissedError: If the deadline has passed.
            AirflowFailException: If this run keeps those that come first from beginning.
        """
        from relevo.waiting import Waiter

        waiting = look(Waiter.of(context, self.specification(), self.slice_of_time()))
        if not waiting.told:
            return
        told, now = "; ".join(waiting.told), datetime.now(UTC)
        subject = f"pipeline {self.pipeline} {self.partition}"
        deadline = _moment(self._waited.get("deadline")) or now + self.deadline
        blocking = _moment(self._waited.get("blocking")) or now if waiting.is_blocking else None
        if waiting.must_give_way and blocking and now - blocking >= _PLACE_NEEDED:
            raise AirflowFailException(
                f"{subject}: runs about earlier partitions must begin first, got queued: {told}. "
                "Later ones hold all places (max_active_runs of the DAG or of the backfill), so "
                "this run gives way: clear it when those have ended."
            )
        if now >= deadline:
            raise DeadlineMissedError(
                f"{subject}: earlier partitions and retrainings must end within {self.deadline}, "
                f"got open: {told}. Look at those runs, then clear this task with downstream."
            )
        self.log.info("Waiting for %s", told)
        patience = self._waited.get("patience", _PATIENCE.total_seconds())
        # Not at the same time as others, who would then take each other for going on.
        until = min(deadline, now + timedelta(seconds=patience * random.uniform(0.5, 1)))
        if blocking and now < blocking + _PLACE_NEEDED:
            until = min(until, blocking + _PLACE_NEEDED)
        self.defer(
            trigger=follow(waiting, until.isoformat()),
            method_name="resume",
            kwargs={
                "deadline": deadline.isoformat(),
                "blocking": blocking and blocking.isoformat(),
                "patience": min(2 * patience, _LONGEST_PATIENCE.total_seconds()),
            },
        )

    def resume(self, context: Any, event: dict[str, Any], **waited: Any) -> Any:
        """Look again, as often as needed, then do the step."""
        self._waited = waited
        return self.execute(context)


class OrderedOperator(WaitingOperator):
    """A step that one run does while at most one about an earlier partition is active.

    So one prepares its data while the one before it waits for a training; snapshots, partitions
    that look at those before them, and runs about one partition follow each other.
    """

    def await_turn(self, context: Any) -> None:
        """Wait until no more runs that come first are active than may be."""
        from relevo.waiting import Waiting, earlier_runs

        def look(waiter: Waiter) -> Waiting:
            waiting = earlier_runs(waiter)
            too_many = waiting.runs and len(waiting.runs) > self.overlap()
            return waiting if too_many or waiting.rivals else Waiting()

        def follow(waiting: Waiting, until: str) -> RunsEndedTrigger:
            return RunsEndedTrigger(
                dag_id=context["ti"].dag_id,
                runs=waiting.rivals or waiting.runs,
                overlap=0 if waiting.rivals else self.overlap(),
                poll_seconds=self.poll_seconds,
                until=until,
            )

        self.wait(context, look, follow)

    def overlap(self) -> int:
        """Tell how many runs that come first may be active."""
        pipeline = self.specification()
        sources = [source for one in pipeline.described() for source in one.sources.values()]
        follows = not pipeline.has_time or any(source.history for source in sources)
        return 0 if follows else 1


class DecisionsFirstOperator(WaitingOperator):
    """A step that follows every earlier decision, and the trainings that those asked for."""

    def await_decisions(self, context: Any) -> None:
        """Look, and defer if there is anything to wait for."""
        from include.storage.lake_tables import Lake
        from relevo.waiting import earlier_decisions

        lake = Lake(self.hook.store(), self.pipeline)

        def look(waiter: Waiter) -> Waiting:
            return earlier_decisions(waiter, lake)

        def follow(waiting: Waiting, until: str) -> TrainingsEndedTrigger:
            return TrainingsEndedTrigger(
                pipeline=self.pipeline,
                partition=self.partition,
                dag_id=context["ti"].dag_id,
                runs=waiting.runs,
                trainings=waiting.trainings,
                poll_seconds=self.poll_seconds,
                until=until,
            )

        self.wait(context, look, follow)


def origin_of(context: Any) -> Origin:
    """Name the running task as the writer of what it writes."""
    ti = context["ti"]
    return Origin(dag_id=ti.dag_id, dag_run_id=ti.run_id, task_id=ti.task_id)


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)
