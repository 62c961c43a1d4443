"""A deployment of docker-compose.yaml from a copy of the project; the benchmark uses it too."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.airflow_api import AirflowApi
from stack.compose import env_file
from stack.embedded.layout import REPOSITORY

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
        return env_file.read(self.directory / ".env")

    @property
    def secrets(self) -> dict[str, str]:
        """Those that are secret, by name."""
        return {
            name: self.settings[name] for section in env_file.SECTIONS for name in section.secrets
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


def copy_project(directory: Path, name: str) -> None:
    """Copy what git would, and give it an .env, a name and ports of its own."""
    tracked = run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], REPOSITORY
    )
    for path in filter(None, tracked.split("\0")):
        source = REPOSITORY / path
        if source.is_file():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    run([sys.executable, "relevo", "compose", "init"], directory)
    airflow, mlflow = (free_port() for _ in range(2))
    with (directory / ".env").open("a", encoding="utf-8") as settings:
        settings.write(
            f"COMPOSE_PROJECT_NAME={name}\nRELEVO_VERSION={name}\n"
            f"AIRFLOW_PORT={airflow}\nAIRFLOW_BASE_URL=http://127.0.0.1:{airflow}\n"
            f"MLFLOW_PORT={mlflow}\nMLFLOW_UI_URL=http://127.0.0.1:{mlflow}\n"
        )


def free_port() -> int:
    """Find a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
