"""The life of one world: landed, trained, scored by a backfill, and mended as a person would."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from croniter import croniter
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from mlflow.exceptions import MlflowException

from include.calendar.partitions import Frequency, Partition, parse
from include.errors import RelevoError
from include.storage.settings import LAKE
from stack.errors import StackError
from stack.torture import data, observation, project
from stack.torture.observation import LEDGER, VERDICTS, World
from stack.torture.place import Place

Answer = TypeVar("Answer")
CRON = "0 6 2 * *"
# A run that fails again after so many clears is not mended by clearing.
MOST_CLEARS = 6
# What clients make of a server that was killed or stopped.
AWAY = (StackError, RelevoError, DeltaError, MlflowException, OSError)


@dataclass
class Story:
    """One world on its way.

    Args:
        place: The stack.
        pipeline: Name of the pipeline.
        scored: How many partitions it scores.
        shuffled: A generator to shuffle them with: they are then triggered one by one, all at
            once, instead of by a backfill, which takes them in order and two at a time.
        first: The first partition that is landed.
        landed: Landed rows by source and partition.
        clears: How often each run was cleared because it had failed.
        failed: Partitions whose scoring runs failed, so that later ones did not wait for them.
    """

    place: Place
    pipeline: str
    scored: int
    shuffled: random.Random | None = None
    first: Partition = project.FIRST_LANDED
    landed: dict[str, dict[str, int]] = field(default_factory=dict)
    clears: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: set[str] = field(default_factory=set)

    @property
    def score_dag(self) -> str:
        """Name of the DAG that scores."""
        return f"{self.pipeline}_score"

    @property
    def train_dag(self) -> str:
        """Name of the DAG that trains."""
        return f"{self.pipeline}_train"

    @property
    def partitions(self) -> list[Partition]:
        """The partitions that are scored."""
        return [self.first.shift(project.HISTORY + step) for step in range(self.scored)]

    def prepare(self, end: date | None = None) -> None:
        """Write the pipeline, land its data, and let Airflow run it.

        Args:
            end: Last day of its schedule; by default that of its last partition.
        """
        self.schedule(end or self.due(self.partitions[-1]).date())
        self.landed = data.land(self.place.objects, self.pipeline, self.first, self.scored)
        for dag_id in (self.train_dag, self.score_dag):
            self.place.api.wait_for_dag(dag_id, 240)
            self.place.api.unpause(dag_id)

    def schedule(self, end: date | None) -> None:
        """Write the pipeline with the last day of its schedule."""
        project.write_pipeline(
            self.place.layout.repository, self.pipeline, self.first.start.date(), end
        )

    def train(self) -> None:
        """Start the first training."""
        partition = str(self.partitions[0].shift(-1))
        self.place.api.trigger(self.train_dag, {"partition": partition}, run_id="first")

    def begin_scoring(self) -> bool:
        """Start the scoring of every partition if the first training has ended; tell whether."""
        if self.place.api.dag_run(self.train_dag, "first")["state"] != "success":
            return False
        due = [self.due(partition) for partition in self.partitions]
        # Perhaps the answer of a call was lost.
        if self.shuffled is not None:
            begun = self._begun()
            for moment in self.shuffled.sample(due, len(due)):
                if moment not in begun:
                    run_id = f"shuffled_{moment:%Y-%m-%d}"
                    self.place.api.trigger(self.score_dag, run_id=run_id, logical_date=moment)
        elif not self.place.api.backfills(self.score_dag):
            self.place.api.create_backfill(self.score_dag, due[0], due[-1], max_active_runs=2)
        return True

    def due(self, partition: Partition) -> datetime:
        """Name the date on which the schedule is about a partition."""
        after = partition.end.replace(tzinfo=UTC)
        moment: datetime = croniter(CRON, after).get_next(datetime)
        return moment

    def due_day(self, partition: str) -> str:
        """Name the day on which the schedule is about a partition, ISO 8601."""
        return f"{self.due(parse(partition, Frequency.MONTHLY)):%Y-%m-%d}"

    def run_of(self, partition: str) -> dict[str, Any] | None:
        """Find the scoring run of a partition's due date."""
        for run in self.place.api.dag_runs(self.score_dag):
            if run["logical_date"] and run["logical_date"].startswith(self.due_day(partition)):
                return run
        return None

    def partition_of(self, run: Mapping[str, Any]) -> str:
        """Name the partition that a scoring run is about."""
        named = (run["conf"] or {}).get("partition")
        moment = run["logical_date"]
        about = (p for p in self.partitions if moment and moment.startswith(self.due_day(str(p))))
        return named or str(next(about))

    def runs(self) -> list[dict[str, Any]]:
        """List the runs of both DAGs."""
        return [
            run
            for dag_id in (self.train_dag, self.score_dag)
            for run in self.place.api.dag_runs(dag_id)
        ]

    def finished_tasks(self) -> int:
        """Count the tasks that have succeeded."""
        return sum(
            self.place.api.count_task_instances(dag_id, state=["success"])
            for dag_id in (self.train_dag, self.score_dag)
        )

    def mend(self) -> list[str]:
        """Clear what failed, as a person would; returns what cannot be mended by that."""
        hopeless = []
        for run in self.runs():
            if run["state"] != "failed":
                continue
            name = (run["dag_id"], run["dag_run_id"])
            if self.clears[name] >= MOST_CLEARS:
                hopeless.append(f"run {name[0]} {name[1]} failed {MOST_CLEARS} times")
                continue
            self.clears[name] += 1
            if run["dag_id"] == self.score_dag:
                self.failed.add(self.partition_of(run))
            # At first what failed, then the run as a whole: one that was marked as failed has
            # skipped what had not begun.
            if self.clears[name] % 2:
                self.place.api.clear_failed_tasks(*name)
            else:
                tasks = {task["task_id"] for task in self.place.api.task_instances(*name)}
                self.place.api.clear_task_instances(*name, sorted(tasks))
        self._hasten()
        return hopeless

    def _hasten(self) -> None:
        """Clear tasks that would be tried again when a clock that jumped says so.

        Airflow counts the delay from the end that the worker tells: a day ahead is a day's wait.
        """
        soon = datetime.now(UTC) + timedelta(minutes=2)
        for dag_id in (self.train_dag, self.score_dag):
            for task in self.place.api.task_instances(dag_id, state=["up_for_retry"]):
                if task["end_date"] and datetime.fromisoformat(task["end_date"]) > soon:
                    self.place.api.clear_task_instances(
                        dag_id, task["dag_run_id"], [task["task_id"]]
                    )

    def is_quiet(self) -> bool:
        """Tell whether everything that was begun or asked for has succeeded."""
        return (
            self._begun().issuperset(map(self.due, self.partitions))
            and all(run["state"] == "success" for run in self.runs())
            and not self.requested()
        )

    def _begun(self) -> set[datetime]:
        """List the due dates that have a run."""
        return {
            datetime.fromisoformat(run["logical_date"])
            for run in self.place.api.dag_runs(self.score_dag)
            if run["logical_date"]
        }

    def unfinished(self) -> list[str]:
        """Name what has not succeeded: runs, partitions without one, trainings on record."""
        runs = self.runs()
        found = [
            f"run {run['dag_id']} {run['dag_run_id']} is {run['state']}"
            for run in runs
            if run["state"] != "success"
        ]
        found += [
            f"training of {self.pipeline} as of {name} is on record and has not ended"
            for name in sorted(self.requested())
        ]
        return found

    def requested(self) -> set[str]:
        """Name the partitions with a training on record that has not ended."""
        try:
            delta = DeltaTable(
                f"s3://{LAKE}/{self.pipeline}/{LEDGER}", None, self.place.store.storage_options()
            )
        except TableNotFoundError:
            return set()
        rows = delta.to_pyarrow_table().to_pylist()
        begun = {
            row["partition"]
            for row in rows
            if (row["kind"], row["decision"]) in (("retraining", "yes"), ("training", "started"))
        }
        return begun - {
            row["partition"]
            for row in rows
            if row["kind"] == "training" and row["decision"] in VERDICTS
        }

    def observe(self) -> World:
        """Look at the world from outside."""
        return observation.observe(
            self.place.store, self.place.mlflow_url, self.pipeline, self.landed
        )

    def retire(self) -> None:
        """Pause the DAGs and take their file away."""
        for dag_id in (self.train_dag, self.score_dag):
            self.place.api.pause(dag_id)
        project.retire_pipeline(self.place.layout.repository, self.pipeline)


def tolerate(call: Callable[[], Answer], default: Answer) -> Answer:
    """Ask servers that may just have been killed."""
    try:
        return call()
    except AWAY:
        time.sleep(1)
        return default
