"""`./relevo compose`: the deployment with docker-compose.yaml."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import typer

from stack.compose import env_file
from stack.embedded.environment import code_commit
from stack.embedded.layout import REPOSITORY
from stack.errors import ConfigurationError, StackError

SETTINGS = REPOSITORY / ".env"

app = typer.Typer(help="The deployment with docker-compose.yaml.", no_args_is_help=True)


@app.callback()
def compose() -> None:
    """Keep `init` a command of its own."""


@app.command()
def init() -> None:
    """Make .env with random secrets; one that is there only gets the secrets that it lacks."""
    env_file.initialise(SETTINGS)


def docker_compose(*arguments: str, output: Path | None = None) -> None:
    """Run `docker compose` beside docker-compose.yaml.

    Args:
        *arguments: What follows `docker compose`.
        output: Where to write what it prints; shown if None.

    Raises:
        StackError: There is no .env, or the command failed.
    """
    if not SETTINGS.exists():
        raise ConfigurationError(
            f"File {SETTINGS}: must exist, got nothing. Run `./relevo compose init`."
        )
    command = ["docker", "compose", *arguments]
    environment = {"RELEVO_COMMIT": code_commit(REPOSITORY), **os.environ}
    try:
        if output is None:
            status = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False)
        else:
            with output.open("wb") as stream:
                status = subprocess.run(
                    command, cwd=REPOSITORY, env=environment, stdout=stream, check=False
                )
    except OSError as error:
        raise ConfigurationError(
            f"Program docker: must run here, got {error.strerror}. Install Docker with compose."
        ) from error
    if status.returncode != 0:
        raise StackError(
            f"Command `{' '.join(command)}`: must succeed, got exit code {status.returncode}; "
            "what it said is above."
        )
