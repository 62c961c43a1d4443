"""Waiting without a worker slot: until earlier partitions and retrainings have ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from include.calendar.partitions import Partition
from include.specification.pipeline import Pipeline
from relevo.hooks import RelevoHook

# A look asks the scheduler about at most so many earlier due dates.
_LOOK_BACK = 200


class TrainingsEndedTrigger(BaseTrigger):
    """Fires when nothing earlier is being processed or trained any more, or at the deadline.

    Args:
        pipeline: Name of the pipeline.
        partition: Partition that waits.
        dag_id: Its scoring DAG.
        earlier: Dates (ISO 8601) at which runs about earlier partitions were due.
        poll_seconds: Seconds between looks.
        deadline: When to give up, ISO 8601 with offset.
    """

    def __init__(
        self,
        *,
        pipeline: str,
        partition: str,
        dag_id: str,
        earlier: Sequence[str],
        poll_seconds: float,
        deadline: str,
    ) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.partition = partition
        self.dag_id = dag_id
        self.earlier = list(earlier)
        self.poll_seconds = poll_seconds
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and what it was made with."""
        return (
            "relevo.triggers.TrainingsEndedTrigger",
            {
                "pipeline": self.pipeline,
                "partition": self.partition,
                "dag_id": self.dag_id,
                "earlier": self.earlier,
                "poll_seconds": self.poll_seconds,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again."""
        deadline = datetime.fromisoformat(self.deadline)
        while True:
            waiting = await sync_to_async(waiting_for)(
                self.pipeline, self.partition, self.dag_id, self.earlier
            )
            if not waiting:
                yield TriggerEvent({"status": "ready"})
                return
            if datetime.now(UTC) >= deadline:
                yield TriggerEvent({"status": "deadline", "waiting_for": waiting})
                return
            await asyncio.sleep(self.poll_seconds)


def earlier_dates(pipeline: Pipeline, partition: Partition) -> list[str]:
    """Name the latest dates (ISO 8601) at which runs about earlier partitions were due."""
    from croniter import croniter

    if pipeline.schedule is None:
        return []
    start = datetime.combine(pipeline.schedule.start, datetime.min.time(), UTC)
    dates = croniter(pipeline.schedule.cron, partition.end.replace(tzinfo=UTC))
    found: list[str] = []
    while len(found) < _LOOK_BACK:
        due: datetime = dates.get_prev(datetime)
        if due < start:
            break
        found.append(due.isoformat())
    return found


def waiting_for(pipeline: str, partition: str, dag_id: str, earlier: Sequence[str]) -> list[str]:
    """Name what a partition still has to wait for; nothing if it may be scored.

    Args:
        pipeline: Name of the pipeline.
        partition: Partition that wants to be scored.
        dag_id: Its scoring DAG.
        earlier: What :func:`earlier_dates` gave.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from include.storage import ledger
    from include.storage.lake_tables import Lake

    # Without dates Airflow would count every run, this one too.
    active = earlier and RuntimeTaskInstance.get_dr_count(
        dag_id,
        logical_dates=[datetime.fromisoformat(date) for date in earlier],
        states=["queued", "running"],
    )
    waiting = [f"{active} earlier runs of {dag_id}"] if active else []
    # The order matters: a run writes its decision before it ends, so the ledger that is read after
    # no earlier run was active holds the decisions of them all.
    trainings = ledger.pending_trainings(Lake(RelevoHook().store(), pipeline))
    return waiting + [f"training as of {name}" for name in trainings if name < partition]
