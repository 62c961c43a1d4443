"""The deployment of docker-compose.yaml as a user would start it, from a copy of the project."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stack import compose_settings
from stack.airflow_api import AirflowApi
from stack.layout import REPOSITORY

PROJECT = "relevo-test"
START_SECONDS = 900
_DONE = ("success", "failed")


@dataclass
class Deployment:
    """A running deployment, as tests use it."""

    directory: Path

    @property
    def settings(self) -> dict[str, str]:
        """The variables of its .env."""
        return compose_settings.read(self.directory / ".env")

    @property
    def secrets(self) -> dict[str, str]:
        """Those that are secret, by name."""
        return {
            name: self.settings[name]
            for section in compose_settings.SECTIONS
            for name in section.secrets
        }

    @property
    def api(self) -> AirflowApi:
        """Airflow, as its first administrator."""
        url = f"http://127.0.0.1:{self.settings['AIRFLOW_PORT']}"
        return AirflowApi(url, self.settings["AIRFLOW_ADMIN_PASSWORD"])

    def compose(self, *arguments: str, check: bool = True, **options: Any) -> str:
        """Run `docker compose` in the project; returns what it printed."""
        return run(["docker", "compose", *arguments], self.directory, check=check, **options)

    def up(self, *arguments: str) -> None:
        """Start what does not run and wait until all is healthy."""
        try:
            self.compose(
                *("up", "--detach", "--wait", "--wait-timeout", str(START_SECONDS), *arguments)
            )
        except AssertionError:
            print(self.compose("ps", "--all", check=False))
            print(self.compose("logs", "--tail=60", "--no-color", check=False))
            raise

    def containers(self, *, all_states: bool = True) -> list[dict[str, Any]]:
        """Describe its containers as `docker inspect` does."""
        states = ["--all"] if all_states else []
        ids = self.compose("ps", *states, "--quiet").split()
        answer: list[dict[str, Any]] = json.loads(run(["docker", "inspect", *ids], self.directory))
        return answer

    def in_container(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in a running container."""
        return self.compose("exec", "--no-TTY", service, *command, check=check)

    def tools(self, *arguments: str, volume: Path | None = None) -> str:
        """Run a command of `relevo` in the network of the deployment."""
        mounted = [] if volume is None else ["--volume", f"{volume}:/given:ro"]
        return self.compose("run", "--rm", "--no-TTY", *mounted, "tools", *arguments)

    def run(self, dag_id: str, partition: str) -> str:
        """Trigger a run for a partition; returns the run id."""
        return str(self.api.trigger(dag_id, {"partition": partition})["dag_run_id"])

    def wait(self, dag_id: str, run_id: str, seconds: float = 600) -> None:
        """Wait until a run has succeeded."""
        until(
            lambda: self.api.dag_run(dag_id, run_id)["state"] in _DONE,
            f"{dag_id} {run_id} to end",
            seconds,
        )
        state = self.api.dag_run(dag_id, run_id)["state"]
        failed = [
            self.api.task_log(
                dag_id, run_id, task["task_id"], task["map_index"], task["try_number"]
            )[-3000:]
            for task in self.api.task_instances(dag_id, run_id)
            if task["state"] == "failed"
        ]
        assert state == "success", f"{dag_id} {run_id} ended {state}: {failed}"


def run(command: list[str], directory: Path, *, check: bool = True, **options: Any) -> str:
    """Run a command; its output is shown when it fails."""
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, **options
    )
    assert not check or done.returncode == 0, (
        f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}\n"
        f"{done.stderr[-4000:]}"
    )
    return done.stdout + ("" if check else done.stderr)


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(1)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its .env, ports of its own and a name of its own."""
    directory = tmp_path_factory.mktemp("compose") / "relevo"
    tracked = run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], REPOSITORY
    )
    for name in filter(None, tracked.split("\0")):
        source = REPOSITORY / name
        if source.is_file():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    run([sys.executable, "relevo", "compose", "init"], directory)
    airflow, mlflow = (free_port() for _ in range(2))
    with (directory / ".env").open("a", encoding="utf-8") as settings:
        settings.write(
            f"COMPOSE_PROJECT_NAME={PROJECT}\nRELEVO_VERSION={PROJECT}\n"
            f"AIRFLOW_PORT={airflow}\nAIRFLOW_BASE_URL=http://127.0.0.1:{airflow}\n"
            f"MLFLOW_PORT={mlflow}\nMLFLOW_UI_URL=http://127.0.0.1:{mlflow}\n"
        )
    return directory


@pytest.fixture(scope="session")
def deployment(project: Path) -> Iterator[Deployment]:
    """The running deployment; afterwards nothing of it is left."""
    found = Deployment(project)
    run(["docker", "compose", "down", "--volumes", "--remove-orphans"], project)
    try:
        found.compose("build", "--quiet")
        found.up()
        yield found
    finally:
        if not os.environ.get("RELEVO_KEEP_COMPOSE"):
            found.compose("down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth loan of the example data, approved from 2001 to 2005, as two files."""
    from include.example_data.landing import LOAN_COLUMNS, LOANS, OUTCOME_COLUMNS

    folder = tmp_path_factory.mktemp("slices")
    folder.chmod(0o755)
    records = pd.read_parquet(LOANS)
    records = records[records["loan_id"].str[-1].isin(list("048"))]
    for name, columns, moment in (
        ("loans", LOAN_COLUMNS, "ApprovalDate"),
        ("outcomes", OUTCOME_COLUMNS, "label_time_24"),
    ):
        inside = records[records[moment].between("2001-01-01", "2005-12-31 23:59:59")]
        path = folder / f"{name}.parquet"
        inside[list(columns)].to_parquet(path, index=False)
        path.chmod(0o644)
    return folder


def free_port() -> int:
    """Find a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
