"""Waiting without a worker slot: until earlier runs and trainings have ended."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

_log = logging.getLogger(__name__)


class _EndedTrigger(BaseTrigger):
    """Fires when it is worth another look: nothing known is open any more, or time is up.

    It follows what the waiting task found when it looked. Whether something new came before the
    task, and what it all means, the task decides: a triggerer cannot ask what a run is about.

    Args:
        poll_seconds: Seconds between looks, for each run that is open.
        until: When to fire in any case, ISO 8601 with offset.
    """

    def __init__(self, *, poll_seconds: float, until: str) -> None:
        super().__init__()
        self.poll_seconds = poll_seconds
        self.until = until

    @abstractmethod
    def open(self) -> int:
        """Count what is still open; 0 if the task may look again."""

    @abstractmethod
    def values(self) -> dict[str, Any]:
        """Tell what the trigger was made with, beside the two of every trigger."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and what it was made with."""
        always = {"poll_seconds": self.poll_seconds, "until": self.until}
        return f"relevo.triggers.{type(self).__name__}", {**self.values(), **always}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again; the longer the queue, the longer the sleep."""
        until = datetime.fromisoformat(self.until)
        while True:
            try:
                still = await sync_to_async(self.open)()
            except Exception:
                # A server that does not answer now may do so at the next look.
                _log.warning("Cannot tell what is open, looking again", exc_info=True)
                still = 1
            if not still:
                yield TriggerEvent({"status": "ended"})
                return
            left = (until - datetime.now(UTC)).total_seconds()
            if left <= 0:
                yield TriggerEvent({"status": "time"})
                return
            await asyncio.sleep(min(self.poll_seconds * still, left))


class RunsEndedTrigger(_EndedTrigger):
    """Fires when at most ``overlap`` of the runs that come first are active.

    Args:
        dag_id: Their DAG.
        runs: Their ids.
        overlap: How many may be left.
        poll_seconds: Seconds between looks, for each run that is open.
        until: When to fire in any case, ISO 8601 with offset.
    """

    def __init__(self, *, dag_id: str, runs: Sequence[str], overlap: int, **values: Any) -> None:
        super().__init__(**values)
        self.dag_id = dag_id
        self.runs = list(runs)
        self.overlap = overlap

    def values(self) -> dict[str, Any]:
        """Tell what the trigger was made with."""
        return {"dag_id": self.dag_id, "runs": self.runs, "overlap": self.overlap}

    def open(self) -> int:
        """Count the runs that are too many."""
        from relevo.active_runs import count_active

        return max(count_active(self.dag_id, self.runs) - self.overlap, 0)


class TrainingsEndedTrigger(_EndedTrigger):
    """Fires when the runs that come first have ended, and the trainings that they decided.

    Args:
        pipeline: Name of the pipeline.
        partition: Partition that waits.
        dag_id: Its scoring DAG.
        runs: Ids of the runs that come first.
        trainings: Training runs that are known already, as (DAG, run id, partition whose request
            made it or '').
        poll_seconds: Seconds between looks, for each run that is open.
        until: When to fire in any case, ISO 8601 with offset.
    """

    def __init__(
        self,
        *,
        pipeline: str,
        partition: str,
        dag_id: str,
        runs: Sequence[str],
        trainings: Sequence[Sequence[str]],
        **values: Any,
    ) -> None:
        super().__init__(**values)
        self.pipeline = pipeline
        self.partition = partition
        self.dag_id = dag_id
        self.runs = list(runs)
        self.trainings = [list(item) for item in trainings]

    def values(self) -> dict[str, Any]:
        """Tell what the trigger was made with."""
        return {
            "pipeline": self.pipeline,
            "partition": self.partition,
            "dag_id": self.dag_id,
            "runs": self.runs,
            "trainings": self.trainings,
        }

    def open(self) -> int:
        """Count runs, then trainings.

        The order matters: a run writes its decision before it ends, so the ledger that is read
        after no run was active holds the decisions of them all.
        """
        from include.storage import ledger
        from include.storage.lake_tables import Lake
        from relevo.active_runs import count_active
        from relevo.hooks import RelevoHook

        if active := count_active(self.dag_id, self.runs):
            return active
        held = ledger.trainings(Lake(RelevoHook().store(), self.pipeline))
        followed = [
            (dag_id, run_id)
            for dag_id, run_id, name in self.trainings
            if name not in held or held[name].state != "withdrawn"
        ]
        requested = 0
        for name, training in held.items():
            if name < self.partition and training.state == "requested":
                requested += 1
            elif name < self.partition and training.state == "started":
                followed.append((training.dag_id, training.dag_run_id))
        return requested + sum(count_active(dag_id, [run]) for dag_id, run in set(followed))
