"""`./relevo airflow`: Airflow's own command line, on the embedded stack."""

from __future__ import annotations

import os
import sys

import typer

from stack.embedded.configuration import Configuration
from stack.embedded.environment import PART_VARIABLE, airflow_environment
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import StackError
from stack.terminal import shown_errors

# Also --help, which is Airflow's.
ALL_PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_TERMINAL = ("TERM", "COLUMNS", "LINES")


def airflow(context: typer.Context) -> None:
    """Run Airflow's command line on the stack; arguments are handed to it."""
    with shown_errors():
        layout = Layout.from_environment()
        environment = airflow_command_environment(layout)
    sys.stdout.flush()
    command = [str(layout.bin / "airflow"), *context.args]
    os.execve(command[0], command, environment)


def airflow_command_environment(layout: Layout) -> dict[str, str]:
    """Return what a program needs that works on the running stack's Airflow. Secret.

    Raises:
        StackError: If the stack is down.
    """
    if not Stack(layout).is_running():
        raise StackError(f"Stack {layout.state}: must be running, got down. Run `./relevo up`.")
    environment = airflow_environment(layout, Configuration.load(layout), "airflow")
    # Not a part: `down` has no business with it.
    del environment[PART_VARIABLE]
    # Its answers are read by people; what libraries warn of is in the logs of the parts.
    environment |= {"PYTHONWARNINGS": "ignore", "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
    return environment | {name: os.environ[name] for name in _TERMINAL if name in os.environ}
