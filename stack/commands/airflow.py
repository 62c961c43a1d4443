"""`./relevo airflow`: Airflow's own command line, on the embedded stack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

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
_LOCKED = "database is locked"
_ATTEMPTS = 5


def airflow(context: typer.Context) -> None:
    """Run Airflow's command line on the stack; arguments are handed to it."""
    with shown_errors():
        layout = Layout.from_environment()
        if not Stack(layout).is_running():
            raise StackError(f"Stack {layout.state}: must be running, got down. Run `./relevo up`.")
        configuration = Configuration.load(layout)
    environment = airflow_environment(layout, configuration, "airflow")
    # Not a part: `down` has no business with it.
    del environment[PART_VARIABLE]
    # Its answers are read by people; what libraries warn of is in the logs of the parts.
    environment |= {"PYTHONWARNINGS": "ignore", "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
    environment |= {name: os.environ[name] for name in _TERMINAL if name in os.environ}
    sys.stdout.flush()
    command = [str(layout.bin / "airflow"), *context.args]
    if context.args[:2] == ["backfill", "create"]:
        with shown_errors():
            raise typer.Exit(create_backfill(command, environment))
    os.execve(command[0], command, environment)


def create_backfill(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Create a backfill, and ask again while SQLite is locked; returns the exit code.

    Airflow reads and writes in one savepoint for each run. Where another process wrote in between,
    SQLite refuses at once, whatever the timeout; Airflow then takes the whole backfill back.

    Raises:
        StackError: If the database was locked each time.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        done = subprocess.run(
            command, env=environment, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode == 0 or _LOCKED not in done.stderr:
            sys.stderr.write(done.stderr)
            return done.returncode
        print(f"Airflow's database was locked ({attempt} of {_ATTEMPTS})", file=sys.stderr)
    raise StackError(
        f"Backfill: must find Airflow's database unlocked, got {_ATTEMPTS} refusals; nothing was "
        "made. Run the command again when fewer tasks run."
    )
