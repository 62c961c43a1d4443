"""The stack that is tortured: started with its gates open, and reached behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from stack.airflow_api import AirflowApi
from stack.embedded.configuration import Configuration
from stack.embedded.environment import store_of
from stack.embedded.layout import Layout
from stack.embedded.operation import Report, Stack
from stack.torture import gate, project
from stack.torture.gate import Gate
from stack.torture.parts import LAUNCHER, TORTURE_PARTS, behind, choose_upstreams


@dataclass
class Place:
    """A running stack with gates, as the harness uses it.

    Args:
        layout: Its paths; the repository is a copy of the project.
        stack: What starts and supervises it.
        gates: The proxies, by part.
        api: Airflow.
        store: The store behind its gate.
        mlflow_url: MLflow behind its gate.
    """

    layout: Layout
    stack: Stack
    gates: dict[str, Gate]
    api: AirflowApi
    store: StoreSettings
    mlflow_url: str

    @property
    def objects(self) -> ObjectStore:
        """The store's objects."""
        return ObjectStore(self.store)


@contextlib.contextmanager
def running(folder: Path, report: Report) -> Iterator[Place]:
    """Have a stack of its own below a folder; the folder stays for looking.

    Args:
        folder: A directory that does not exist, or is empty.
        report: Gets a line for each step.
    """
    layout = Layout(folder / "state", project.lay_out(folder / "project"))
    stack = Stack(layout, TORTURE_PARTS, LAUNCHER)
    upstreams = choose_upstreams(layout)
    try:
        # Ports are chosen while nothing listens, so the gates open after the first part.
        stack.up(report, ["postgres"])
        configuration = Configuration.load(layout)
        with contextlib.ExitStack() as held:
            gates = {
                name: held.enter_context(
                    gate.in_front(layout, configuration.port(name), upstreams[name])
                )
                for name in upstreams
            }
            stack.up(report)
            hidden = behind(layout, configuration, *upstreams)
            yield Place(
                layout=layout,
                stack=stack,
                gates=gates,
                api=AirflowApi.of(configuration),
                store=store_of(hidden),
                mlflow_url=hidden.mlflow_url,
            )
    finally:
        stack.down(report)
