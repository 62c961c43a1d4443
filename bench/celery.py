"""Many pipelines scoring at once with 1, 2 and 4 Celery workers: throughput and scheduler lag.

    .venv/bin/python -m tests.compose.engine -- .venv/bin/python -m bench.celery

Starts a docker-compose deployment of its own, with copies of the pipeline `trip_duration`, trains
each once, then scores a month of all at the same moment for each number of workers, and takes the
deployment down.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from datetime import datetime
from pathlib import Path

from stack.airflow_api import Record
from stack.embedded.layout import REPOSITORY
from tests.compose.deployment import Deployment, copy_project, until

KIND = "trip_duration"
DATA = REPOSITORY / "tests" / "data" / "nyc_taxi_2018_2020.parquet"
TRAINED = "2018-07"
WORKERS = (1, 2, 4)
MONTHS = ("2018-08", "2018-09", "2018-10")
PATIENCE_SECONDS = 1800.0
_DONE = ("success", "failed")
# Runs in a container, where the store is.
LAND = """
import sys
from pathlib import Path
from include.specification import pipeline_file
from include.ingestion.landing import land
from include.storage.settings import StoreSettings
from include.storage.object_store import ObjectStore
store = ObjectStore(StoreSettings.from_environment())
for name in sys.argv[1:]:
    land(store, pipeline_file.load(name), Path("/given.parquet"))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipelines", type=int, default=20)
    count = parser.parse_args().pipelines
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as folder:
        directory = Path(folder) / "relevo"
        copy_project(directory, "relevo-bench")
        names = write_pipelines(directory, count)
        deployment = Deployment(directory)
        try:
            deployment.compose("build", "--quiet")
            deployment.up()
            prepare(deployment, names)
            rows = [
                (workers, *measure(deployment, names, workers, month))
                for workers, month in zip(WORKERS, MONTHS, strict=True)
            ]
        finally:
            deployment.compose("down", "--volumes", "--remove-orphans")
    print(f"{count} pipelines score a month at once; {os.cpu_count()} cores")
    print("workers  runs a minute  tasks a minute  may run to queued [s]  queued to started [s]")
    for workers, runs, tasks, scheduled, queued in rows:
        print(
            f"{workers:>7}  {runs:>13.1f}  {tasks:>14.0f}  "
            f"{_spread(scheduled):>21}  {_spread(queued):>21}"
        )


def write_pipelines(directory: Path, count: int) -> list[str]:
    """Put copies of the pipeline, with one quick candidate, into the project.

    Returns:
        Their names.
    """
    names = [f"{KIND}_{number:02d}" for number in range(count)]
    patterns = ("dags/{}.py", "include/pipelines/{}.py", "include/pipelines/{}.yaml")
    suites = [
        path.relative_to(REPOSITORY) for path in (REPOSITORY / "expectations").glob(f"{KIND}_*")
    ]
    for name in names:
        for source in (*(Path(pattern.format(KIND)) for pattern in patterns), *suites):
            text = (REPOSITORY / source).read_text().replace(KIND, name)
            text = text.replace("hist_gradient_boosting: {}, xgboost: {}", "ridge: {}")
            text = text.replace("mean_absolute_error: 4.5", "mean_absolute_error: 60")
            (directory / source.with_name(source.name.replace(KIND, name))).write_text(text)
    return names


def prepare(deployment: Deployment, names: list[str]) -> None:
    """Land the data of every pipeline and train each once."""
    deployment.compose(
        *("run", "--rm", "--no-TTY", "--volume", f"{DATA}:/given.parquet:ro", "buckets"),
        *("python", "-c", LAND, *names),
    )
    for name in names:
        for dag_id in (f"{name}_train", f"{name}_score"):
            deployment.api.wait_for_dag(dag_id)
            deployment.api.unpause(dag_id)
    run_all(deployment, [f"{name}_train" for name in names], TRAINED)


def measure(
    deployment: Deployment, names: list[str], workers: int, month: str
) -> tuple[float, float, list[float], list[float]]:
    """Score a month of all pipelines at once.

    Returns:
        Runs a minute, tasks a minute, and for each task the seconds from the moment it may run to
        its place in the queue, and from there to its start.
    """
    deployment.up("--scale", f"worker={workers}")
    runs, tasks = run_all(deployment, [f"{name}_score" for name in names], month)
    begun = min(_moment(run["queued_at"]) for run in runs)
    ended = max(_moment(run["end_date"]) for run in runs)
    minutes = (ended - begun).total_seconds() / 60
    started = [task for task in tasks if task["start_date"] and task["queued_when"]]
    return (
        len(runs) / minutes,
        len(started) / minutes,
        [_seconds(task, "scheduled_when", "queued_when") for task in started],
        [_seconds(task, "queued_when", "start_date") for task in started],
    )


def run_all(
    deployment: Deployment, dag_ids: list[str], partition: str
) -> tuple[list[Record], list[Record]]:
    """Trigger a run of each DAG and wait for all.

    Returns:
        The runs and their tasks.

    Raises:
        RuntimeError: One failed.
    """
    api = deployment.api
    ids = [(dag_id, deployment.run(dag_id, partition)) for dag_id in dag_ids]

    def runs() -> list[Record]:
        return [api.dag_run(*key) for key in ids]

    until(
        lambda: all(run["state"] in _DONE for run in runs()),
        f"{len(ids)} runs about {partition} to end",
        PATIENCE_SECONDS,
    )
    found = runs()
    failed = [run["dag_id"] for run in found if run["state"] == "failed"]
    if failed:
        raise RuntimeError(f"Runs about {partition}: must succeed, failed: {', '.join(failed)}.")
    return found, [task for key in ids for task in api.task_instances(*key)]


def _seconds(task: Record, first: str, last: str) -> float:
    return (_moment(task[last]) - _moment(task[first])).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} (slowest {max(seconds):.1f})"


if __name__ == "__main__":
    main()
