"""The parts of the harness's stack: store and MLflow listen behind the gates.

Run as a program, this becomes one of the parts, as `stack.embedded.launch` does.
"""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import replace
from pathlib import Path

from stack.embedded.configuration import Configuration
from stack.embedded.launch import launch
from stack.embedded.layout import Layout
from stack.embedded.parts import PARTS, Launch, Part
from stack.embedded.ports import PORT_RANGE, is_free

LAUNCHER = (sys.executable, "-m", "stack.torture.parts")
GATED = ("store", "mlflow")
_SETTINGS = {
    # A file of DAGs is parsed when it is new, and hardly ever again.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    # Tasks of a scheduler that was killed are found soon, not after five minutes.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "90",
    # Else a task that was cleared twice waits ten minutes before it is tried again.
    "AIRFLOW__CORE__MAX_TASK_RETRY_DELAY": "30",
}


def _upstreams(layout: Layout) -> Path:
    return layout.state / "upstreams.json"


def choose_upstreams(layout: Layout) -> dict[str, int]:
    """Choose the ports behind the gates, once for a stack."""
    path = _upstreams(layout)
    if not path.exists():
        layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = (p for p in secrets.SystemRandom().sample(PORT_RANGE, 2000) if is_free(p))
        path.write_text(json.dumps({name: next(free) for name in GATED}), encoding="utf-8")
    ports: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return ports


def behind(layout: Layout, configuration: Configuration, *names: str) -> Configuration:
    """Return the configuration with the real ports of some servers."""
    upstreams = choose_upstreams(layout)
    ports = {**configuration.ports, **{name: upstreams[name] for name in names}}
    return configuration.model_copy(update={"ports": ports})


def _gated(part: Part) -> Part:
    def start(layout: Layout, configuration: Configuration) -> Launch:
        return part.launch(layout, behind(layout, configuration, part.name))

    def check(layout: Layout, configuration: Configuration, started: float) -> str | None:
        return part.check(layout, behind(layout, configuration, part.name), started)

    return replace(part, launch=start, check=check)


def _airflow(part: Part) -> Part:
    def start(layout: Layout, configuration: Configuration) -> Launch:
        made = part.launch(layout, configuration)
        return replace(made, environment={**made.environment, **_SETTINGS})

    return replace(part, launch=start)


def _torture(part: Part) -> Part:
    if part.name in GATED:
        return _gated(part)
    if part.name in ("dag-processor", "scheduler"):
        return _airflow(part)
    return part


TORTURE_PARTS = tuple(map(_torture, PARTS))

if __name__ == "__main__":
    launch(sys.argv[1], TORTURE_PARTS)
