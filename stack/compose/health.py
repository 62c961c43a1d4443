"""Whether the service of a container answers: ``python -m stack.compose.health <check> ...``.

Run every few seconds, so nothing but the standard library is imported, except by ``worker``.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

ANSWER_SECONDS = 8.0
AIRFLOW_HEALTH = "http://api-server:8080/api/v2/monitor/health"
BROKER_URL = Path("/run/secrets/broker_url")


def http(*urls: str) -> None:
    """Require that every address answers a GET with success."""
    for url in urls:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            answer.read()


def tcp(address: str) -> None:
    """Require that ``host:port`` accepts a connection."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()


def heartbeat(component: str) -> None:
    """Require that Airflow has heard from its component lately.

    Args:
        component: ``scheduler``, ``dag_processor`` or ``triggerer``.
    """
    with urllib.request.urlopen(AIRFLOW_HEALTH, timeout=ANSWER_SECONDS) as answer:
        status = json.load(answer)[component]["status"]
    if status != "healthy":
        raise OSError(f"{component} is {status}")


def worker() -> None:
    """Require that the Celery worker of this container answers through the broker."""
    from celery import Celery

    name = f"celery@{os.environ.get('HOSTNAME') or socket.gethostname()}"
    control = Celery(broker=BROKER_URL.read_text(encoding="utf-8").strip()).control
    if not control.ping(destination=[name], timeout=ANSWER_SECONDS):
        raise OSError(f"{name} does not answer")


CHECKS: dict[str, Callable[..., None]] = {
    "http": http,
    "tcp": tcp,
    "heartbeat": heartbeat,
    "worker": worker,
}


def main(arguments: list[str]) -> str | None:
    """Run one check; returns the reason why it is not healthy."""
    check, *values = arguments
    try:
        CHECKS[check](*values)
    except OSError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
