"""`./relevo demo`: a whole model lifecycle on the example data, by Airflow, from an empty store.

Everything happens in DAG runs that a person could have started in the UI; this module starts
them, waits, and shows what came out. It can be stopped and started again: runs that are done stay
done.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from croniter import croniter
from rich import box
from rich.console import Console
from rich.table import Table

from include.calendar import partitions
from include.calendar.partitions import Partition
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.storage.settings import StoreSettings
from stack.airflow_api import AirflowApi
from stack.errors import StackError

if TYPE_CHECKING:
    from include.reports.decisions_page import Row

PIPELINE = "loan_default"
FIRST_TRAINING = "2004-Q4"
# All there are, 2005-Q1 to 2008-Q4: on 2 cores they fit into 12 minutes from a fresh clone.
MOST_PARTITIONS = 16
_POLL_SECONDS = 1.0
_DONE = frozenset({"success", "failed"})


@dataclass(frozen=True)
class Pages:
    """Where a person looks at what happened.

    Args:
        airflow: Address of Airflow's user interface.
        login: Who logs in there, and where the password is.
        mlflow: Address of MLflow's user interface.
        end: What to do when done.
    """

    airflow: str
    login: str
    mlflow: str
    end: str


def run(api: AirflowApi, pages: Pages, console: Console, *, partitions: int | None = None) -> None:
    """Land, train, backfill, wait, and show.

    The library reads where everything is from the environment, as it does on Spark workers.

    Args:
        api: The deployment's Airflow.
        pages: What to open afterwards.
        console: Where to show progress.
        partitions: How many quarters to score, from 2005-Q1 on, 1 to 16.

    Raises:
        StackError: If there are not so many quarters, or a run failed.
    """
    count = partitions or MOST_PARTITIONS
    if count > MOST_PARTITIONS:
        raise StackError(
            f"Option --partitions: must be at most {MOST_PARTITIONS}, got {count}: the example "
            "data ends in 2008-Q4."
        )
    lifecycle = Lifecycle(api, pages, console)
    lifecycle.land()
    lifecycle.train()
    lifecycle.score(count)
    lifecycle.show()


def summary() -> str:
    """Describe what happened to every partition as JSON.

    Without addresses, run ids and times: two demonstrations from scratch give the same text.
    """
    return json.dumps([asdict(row) for row in _rows()], indent=1)


def _rows() -> list[Row]:
    from include.reports.decisions_page import rows
    from include.storage.lake_tables import Lake

    lake = Lake(StoreSettings.from_environment(), PIPELINE)
    return rows(lake, pipeline_file.load(PIPELINE))


class Lifecycle:
    """The demonstration on one deployment.

    Args:
        api: The deployment's Airflow.
        pages: What to open afterwards.
        console: Where to show progress.
    """

    def __init__(self, api: AirflowApi, pages: Pages, console: Console) -> None:
        self.api = api
        self.pages = pages
        self.console = console
        self.pipeline: Pipeline = pipeline_file.load(PIPELINE)
        self.score_dag = f"{PIPELINE}_score"
        self.train_dag = f"{PIPELINE}_train"
        self._started = time.monotonic()
        self._shown: set[tuple[str, str]] = set()

    def land(self) -> None:
        """Land the example data, quarter by quarter; files that are there already stay."""
        from include.example_data.landing import land_loans
        from include.storage.object_store import ObjectStore

        with self.console.status("landing example data"):
            report = land_loans(ObjectStore(StoreSettings.from_environment()))
        self._say(
            f"landed {report.loans:,} loans and {report.outcomes:,} outcomes "
            f"({len(report.written)} files new, {len(report.skipped)} there already)"
        )

    def train(self) -> None:
        """Train as of 2004-Q4, unless that was done."""
        for dag_id in (self.train_dag, self.score_dag):
            self.api.wait_for_dag(dag_id)
            self.api.unpause(dag_id)
        run_id = f"demo__{FIRST_TRAINING}"
        if run_id not in {item["dag_run_id"] for item in self.api.dag_runs(self.train_dag)}:
            self.api.trigger(self.train_dag, {"partition": FIRST_TRAINING}, run_id=run_id)
        self._wait(lambda: [self.api.dag_run(self.train_dag, run_id)])

    def score(self, count: int) -> None:
        """Score ``count`` quarters from 2005-Q1 on by a backfill, and wait for retrainings."""
        first = partitions.parse(FIRST_TRAINING, self.pipeline.partition).shift(1)
        due = [self._due(first.shift(step)) for step in range(count)]
        held = {_moment(item) for item in self.api.dag_runs(self.score_dag)}
        if not held.issuperset(due):
            self.api.create_backfill(self.score_dag, due[0], due[-1], max_active_runs=2)

        def wanted() -> list[dict[str, Any]]:
            runs = [run for run in self.api.dag_runs(self.score_dag) if _moment(run) in due]
            # Airflow makes the runs of a backfill one after the other.
            missing = [{"state": "queued"}] * (count - len(runs))
            trainings = [
                run for run in self.api.dag_runs(self.train_dag) if run["partition_key"] is not None
            ]
            return runs + missing + trainings + self._requested()

        self._wait(wanted)

    def show(self) -> None:
        """Print what happened to every partition, and where to look."""
        from include.reports.decisions_page import HEADS

        found = _rows()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for head in HEADS[:-1]:
            table.add_column(head, no_wrap=True)
        for row in found:
            table.add_row(*row.cells()[:-1])
        self.console.print(table)
        for row in found:
            self.console.print(
                f"{row.partition}  retrain {row.retrain}: {row.reason}", markup=False
            )
            if row.training:
                outcome = f"         training {row.training_reason}"
                self.console.print(outcome, markup=False, soft_wrap=True)
        self.console.print()
        latest = found[-1].partition
        reports = f"{self.pages.airflow}/relevo"
        for name, address in (
            ("Airflow UI", f"{self.pages.airflow}  ({self.pages.login})"),
            ("MLflow UI", self.pages.mlflow),
            ("Decisions", f"{reports}/decisions/{PIPELINE}"),
            ("Data Docs", f"{reports}/reports/{PIPELINE}/data_docs/{latest}/loans/index.html"),
            ("Drift reports", f"{reports}/reports/{PIPELINE}/drift/{latest}/index.html"),
        ):
            self.console.print(f"{name:<14}{address}", markup=False, soft_wrap=True)
        self._say(self.pages.end)

    def _requested(self) -> list[dict[str, Any]]:
        """Stand in for trainings that were requested and have no run yet."""
        from include.storage import ledger
        from include.storage.lake_tables import Lake

        lake = Lake(StoreSettings.from_environment(), PIPELINE)
        return [{"state": "queued"} for _ in ledger.pending_trainings(lake)]

    def _due(self, partition: Partition) -> datetime:
        """Name the date on which the schedule is about a partition."""
        after = partition.end.replace(tzinfo=UTC)
        if self.pipeline.schedule is None:
            raise StackError(f"Pipeline {self.pipeline.name}: must have a schedule, got none.")
        due: datetime = croniter(self.pipeline.schedule.cron, after).get_next(datetime)
        return due

    def _wait(self, runs: Any) -> None:
        """Wait until all runs are done; report each as it ends.

        Raises:
            StackError: If one failed.
        """
        with self.console.status("waiting for Airflow") as status:
            while True:
                current = runs()
                for item in current:
                    self._report(item)
                if all(item["state"] in _DONE for item in current):
                    return
                status.update(f"{self._clock()}  {self._running()}")
                time.sleep(_POLL_SECONDS)

    def _report(self, item: dict[str, Any]) -> None:
        if item["state"] not in _DONE:
            return
        key = (item["dag_id"], item["dag_run_id"])
        if key in self._shown:
            return
        self._shown.add(key)
        about = self._about(item)
        if item["state"] == "failed":
            failed = [
                task["task_id"]
                for task in self.api.task_instances(*key)
                if task["state"] == "failed"
            ]
            raise StackError(
                f"Run {key[0]} {about}: must succeed, got failed tasks {', '.join(failed)}. "
                "Read their logs in the Airflow UI, correct the cause, clear them there, and run "
                "./relevo demo again."
            )
        self._say(f"{key[0]} {about}: done in {item.get('duration') or 0:.0f} s")

    def _about(self, item: dict[str, Any]) -> str:
        partition = partitions.of_run(
            self.pipeline.partition,
            requested=(item.get("conf") or {}).get("partition"),
            partition_key=item.get("partition_key"),
            logical_date=_moment(item),
        )
        return str(partition)

    def _running(self) -> str:
        tasks = self.api.task_instances(state=["running", "deferred"])
        names = sorted({f"{task['dag_id']}.{task['task_id']}" for task in tasks})
        return ", ".join(names) or "waiting for Airflow"

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes:2}:{seconds:02}"

    def _say(self, line: str) -> None:
        self.console.print(f"{self._clock()}  {line}", markup=False)


def _moment(item: dict[str, Any]) -> datetime | None:
    date = item.get("logical_date")
    return datetime.fromisoformat(date) if date else None
