"""`./relevo compose`: the deployment with docker-compose.yaml."""

from __future__ import annotations

import typer

from stack import compose_settings
from stack.layout import REPOSITORY
from stack.terminal import console, shown_errors

app = typer.Typer(help="The deployment with docker-compose.yaml.", no_args_is_help=True)


@app.callback()
def compose() -> None:
    """Keep `init` a command of its own."""


@app.command()
def init() -> None:
    """Make .env with random secrets; one that is there only gets the secrets that it lacks."""
    path = REPOSITORY / ".env"
    with shown_errors():
        made = compose_settings.ensure(path)
    if made:
        console.print(f"{path}: {len(made)} secrets made. Keep a copy where you keep secrets.")
    else:
        console.print(f"{path}: complete, nothing changed.")
    console.print("Next: docker compose up --detach --wait")
