"""`./relevo up`: start the embedded stack."""

from __future__ import annotations

import os

from stack.embedded.configuration import ADMIN, Configuration
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.terminal import console, report, shown_errors


def up() -> None:
    """Start the embedded stack and wait until it is healthy."""
    with shown_errors():
        ensure_up(Stack(Layout.from_environment()))


def ensure_up(stack: Stack) -> bool:
    """Start the stack unless it runs, and show its addresses; tells whether it was started."""
    os.umask(0o077)
    with console.status("starting the stack"):
        started = stack.up(report)
    console.print("The stack is up." if started else "The stack is already running.")
    configuration = Configuration.load(stack.layout)
    for line in (
        f"Airflow   {configuration.airflow_url}  user {ADMIN}",
        f"password  in {stack.layout.airflow_passwords}",
        f"MLflow    {configuration.mlflow_url}",
    ):
        console.print(line, markup=False, soft_wrap=True)
    return started
