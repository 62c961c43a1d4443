"""Many pipelines in one deployment, against one: parse time, scheduler lag and memory.

    .venv/bin/python -m bench.pipelines --pipelines 200

Each side gets a temporary copy of the project, with pipelines made from the shipped ones under
names of their own, and the Airflow of an embedded stack of its own; both are gone afterwards.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from bench.parsing import REPOSITORY, first_parse_seconds
from include.specification import pipeline_file
from stack.airflow_api import AirflowApi, Record
from stack.embedded.configuration import Configuration
from stack.embedded.environment import DAGS_VARIABLE
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack, uninterrupted
from stack.embedded.parts import PARTS, Part
from stack.terminal import report

WATCHED = ("scheduler", "dag-processor", "triggerer", "api-server")
PROBES = 20
PATIENCE_SECONDS = 1800.0
POLL_SECONDS = 0.5
WATCH_SECONDS = 60
SAMPLE_SECONDS = 5
COLD_ROUNDS = 3
PROBE = '''"""Measures how long a task waits for the scheduler."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, max_active_runs=100)
def probe():
    @task
    def nothing():
        pass

    nothing()


probe()
'''

Figures = dict[str, float]


def main() -> None:
    """Measure one pipeline, then many, and print both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipelines", type=int, default=200)
    count = parser.parse_args().pipelines
    # The copies have DAG files of their own.
    os.environ.pop(DAGS_VARIABLE, None)
    # An end from outside cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    one, many = measure(1), measure(count)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[2]:.1f} (15 minutes)")
    print(f"{'pipelines':<58}{1:>9}{count:>9}    ratio")
    for name, value in one.items():
        ratio = f"{many[name] / value:>9.2f}" if value else ""
        print(f"{name:<58}{value:>9.2f}{many[name]:>9.2f}{ratio}")


def measure(count: int) -> Figures:
    """Run a stack with ``count`` pipelines and take its figures."""
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as folder:
        layout = Layout(state=Path(folder) / "state", repository=Path(folder) / "project")
        copy_project(layout.repository)
        files = write_pipelines(layout.repository, count)
        report(f"{count} pipelines: starting the stack")
        stack = Stack(layout, parts=airflow_parts())
        try:
            stack.up(report)
            figures = measure_stack(stack, expected=2 * count + 1)
        finally:
            with uninterrupted():
                stack.down(report)
        # When the stack is gone: it would share the cores.
        figures["first parse in a fresh process, slowest kind [s]"] = max(
            statistics.median(
                first_parse_seconds(path, layout.repository) for _ in range(COLD_ROUNDS)
            )
            for path in files[: len(pipeline_file.names())]
        )
    return figures


def airflow_parts() -> list[Part]:
    """Leave out the store, MLflow and Spark: nothing here uses them."""
    names = {"migrate", *WATCHED}
    return [
        replace(part, after=tuple(name for name in part.after if name in names))
        for part in PARTS
        if part.name in names
    ]


def copy_project(target: Path) -> None:
    """Copy what the stack runs, without pipelines; the virtual environment is shared."""
    for name in ("dags", "expectations", "include", "plugins", "stack"):
        shutil.copytree(
            REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    (target / ".venv").symlink_to(sys.prefix)
    for kind in pipeline_file.names():
        for path in _files_of(kind, target):
            path.unlink()


def write_pipelines(target: Path, count: int) -> list[Path]:
    """Write pipelines, in turns like each of the shipped ones, and the probe.

    Args:
        target: The copy of the project.
        count: How many.

    Returns:
        The DAG files of the pipelines.
    """
    (target / "dags" / "probe.py").write_text(PROBE)
    written = []
    for number, kind in zip(range(count), itertools.cycle(pipeline_file.names()), strict=False):
        name = f"{kind}_{number:03d}"
        for source in _files_of(kind, REPOSITORY):
            text = source.read_text().replace(kind, name)
            # Unpaused, a schedule of the past would run once at once, and find no data.
            text = re.sub(r"start: [\d-]+(, end: [\d-]+)?", "start: 2100-01-01", text)
            path = target / source.relative_to(REPOSITORY)
            path.with_name(path.name.replace(kind, name)).write_text(text)
        written.append(target / "dags" / f"{name}.py")
    return written


def _files_of(kind: str, repository: Path) -> list[Path]:
    return [
        repository / "dags" / f"{kind}.py",
        repository / "include" / "pipelines" / f"{kind}.py",
        repository / "include" / "pipelines" / f"{kind}.yaml",
        *sorted((repository / "expectations").glob(f"{kind}_*.json")),
    ]


def measure_stack(stack: Stack, expected: int) -> Figures:
    """Take the figures of a running stack.

    Args:
        stack: Just started.
        expected: How many DAGs it must find.
    """
    api = AirflowApi.of(Configuration.load(stack.layout))
    _wait(lambda: len(_loaded(api)) == expected, f"{expected} DAGs known")
    known = max(_moment(version["created_at"]).timestamp() for version in api.dag_versions())
    known -= stack.supervisor.states()["dag-processor"].started
    for dag in _loaded(api):
        api.unpause(dag["dag_id"])
    # From here on every file has been parsed in a deployment that knows all of them.
    settled = datetime.now(UTC)
    _wait(
        lambda: all(_moment(dag["last_parsed_time"]) > settled for dag in _loaded(api)),
        "every file parsed again",
    )
    parsed = {
        dag["relative_fileloc"]: dag["last_parse_duration"]
        for dag in _loaded(api)
        if dag["dag_id"] != "probe"
    }
    figures = {
        "all DAGs known after the dag-processor's start [s]": known,
        **_spread("parse of a DAG file, as Airflow tells it", parsed.values()),
    }
    report(f"watching memory and CPU for {WATCH_SECONDS} s")
    figures |= watch(stack)
    report(f"triggering {PROBES} runs one after another, then {PROBES} at once")
    alone = [lag for _ in range(PROBES) for lag in lags(api, 1)]
    figures |= _spread("lag of a task, one run at a time", alone)
    figures |= _spread(f"lag of a task, {PROBES} runs at once", lags(api, PROBES))
    return figures


def lags(api: AirflowApi, count: int) -> list[float]:
    """Let runs of the probe start at once, and wait for them.

    Returns:
        Seconds from the moment the scheduler may start the runs to the start of each task.
    """
    api.pause("probe")
    runs = {api.trigger("probe")["dag_run_id"] for _ in range(count)}

    def tasks() -> list[Record]:
        return [task for task in api.task_instances("probe") if task["dag_run_id"] in runs]

    released = datetime.now(UTC)
    api.unpause("probe")
    _wait(lambda: [task["state"] for task in tasks()] == ["success"] * count, f"{count} probes run")
    return [(_moment(task["start_date"]) - released).total_seconds() for task in tasks()]


def watch(stack: Stack) -> Figures:
    """Watch the process trees of Airflow's parts while nothing is due.

    Returns:
        Of each part: proportional set size, the median of samples, in MB; CPU time over wall
        time, so that 1 is a core.
    """
    states = stack.supervisor.states()
    roots = {part: psutil.Process(states[part].pid) for part in WATCHED}
    sizes: dict[str, list[float]] = {part: [] for part in WATCHED}
    begun = {part: _cpu_seconds(root) for part, root in roots.items()}
    start = time.monotonic()
    while time.monotonic() - start < WATCH_SECONDS:
        for part, root in roots.items():
            sizes[part].append(_proportional_mb(root))
        time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - start
    return {
        **{
            f"CPU of {part}, nothing due [cores]": (_cpu_seconds(root) - begun[part]) / seconds
            for part, root in roots.items()
        },
        **{f"memory of {part}, PSS [MB]": statistics.median(sizes[part]) for part in WATCHED},
        "memory of all four, PSS [MB]": sum(statistics.median(sizes[part]) for part in WATCHED),
    }


def _tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _proportional_mb(root: psutil.Process) -> float:
    total = 0
    for process in _tree(root):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def _cpu_seconds(root: psutil.Process) -> float:
    """Sum what a tree and its ended children have used."""
    total = 0.0
    for process in _tree(root):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _loaded(api: AirflowApi) -> list[Record]:
    """List the DAGs that Airflow knows.

    Raises:
        RuntimeError: If a file cannot be loaded: the figures would be of another deployment.
    """
    errors = api.import_errors()
    if errors:
        raise RuntimeError(f"{len(errors)} DAG files cannot be loaded: {errors[0]['stack_trace']}")
    return api.dags()


def _wait(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: must be so within {PATIENCE_SECONDS:.0f} s.")
        time.sleep(POLL_SECONDS)


def _spread(name: str, values: Iterable[float]) -> Figures:
    values = list(values)
    return {
        f"{name}, median [s]": float(np.median(values)),
        f"{name}, 95 % [s]": float(np.quantile(values, 0.95)),
        f"{name}, slowest [s]": max(values),
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    main()
