"""`./relevo clean`: old runs out of Airflow's database."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from stack.airflow_cleaning import DAYS, LEAST_DAYS
from stack.commands.airflow import airflow_command_environment
from stack.commands.compose import docker_compose
from stack.embedded.layout import Layout
from stack.terminal import shown_errors

_MODULE = ("python", "-m", "stack.airflow_cleaning")


def clean(
    days: Annotated[int, typer.Option(min=LEAST_DAYS, help="How long runs stay.")] = DAYS,
    remove: Annotated[bool, typer.Option("--remove", help="Remove; else only say what.")] = False,
    compose: Annotated[bool, typer.Option("--compose", help="In docker-compose.")] = False,
) -> None:
    """Remove old scoring runs from Airflow's database; says what it would unless told --remove."""
    arguments = ("--days", str(days), *(["--remove"] if remove else []))
    with shown_errors():
        if compose:
            docker_compose("exec", "scheduler", *_MODULE, *arguments)
            return
        layout = Layout.from_environment()
        environment = airflow_command_environment(layout)
    sys.stdout.flush()
    os.execve(str(layout.bin / "python"), [*_MODULE, *arguments], environment)
