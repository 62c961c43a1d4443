"""Cheap parts in place of the real ones, and the launcher that becomes one of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from stack.embedded.configuration import Configuration
from stack.embedded.environment import base_environment
from stack.embedded.health import check_page
from stack.embedded.launch import launch
from stack.embedded.layout import Layout
from stack.embedded.parts import Launch, Part
from stack.embedded.ports import LOOPBACK

LAUNCHER = (sys.executable, __file__)


def _server(name: str, port: str) -> Callable[[Layout, Configuration], Launch]:
    def make(layout: Layout, configuration: Configuration) -> Launch:
        command = (
            *(sys.executable, "-m", "http.server", str(configuration.port(port))),
            *("--bind", LOOPBACK),
        )
        return Launch(command, base_environment(layout, name), layout.run)

    return make


def _step(layout: Layout, configuration: Configuration) -> Launch:
    return Launch((sys.executable, "-c", ""), base_environment(layout, "step"), layout.run)


def _family(layout: Layout, configuration: Configuration) -> Launch:
    """Start a child that outlives its parent when that is killed."""
    program = "import subprocess; subprocess.run(['sleep', '1000'], start_new_session=True)"
    return Launch((sys.executable, "-c", program), base_environment(layout, "family"), layout.run)


def _broken(layout: Layout, configuration: Configuration) -> Launch:
    program = "raise SystemExit('the disk is on fire')"
    return Launch((sys.executable, "-c", program), base_environment(layout, "broken"), layout.run)


def _page(port: str) -> Callable[[Layout, Configuration, float], str | None]:
    return lambda layout, configuration, started: check_page(
        f"http://{LOOPBACK}:{configuration.port(port)}"
    )


FIRST = Part("first", _server("first", "store"), _page("store"), start_seconds=1)
SECOND = Part(
    "second",
    _server("second", "mlflow"),
    _page("mlflow"),
    after=("first", "step"),
    address=lambda configuration: configuration.mlflow_url,
    start_seconds=1,
)
STEP = Part("step", _step, lambda layout, configuration, started: None, once=True)
FAMILY = Part("family", _family, lambda layout, configuration, started: None, start_seconds=1)
BROKEN = Part(
    "broken",
    _broken,
    lambda layout, configuration, started: "no answer",
    after=("first",),
    start_seconds=1,
)
PARTS = (FIRST, STEP, SECOND, FAMILY, BROKEN)

if __name__ == "__main__":
    # supervisord gives its own environment; the repository is on PYTHONPATH.
    assert os.environ["RELEVO_PART"] == "supervisord"
    launch(sys.argv[1], PARTS)
