"""`./relevo backup` and `./relevo restore`: a whole installation out and in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stack.backup import transfer
from stack.backup.compose import ComposeInstallation
from stack.backup.embedded import EmbeddedInstallation
from stack.backup.installation import Installation
from stack.embedded.layout import Layout
from stack.terminal import console, report, shown_errors

Compose = Annotated[
    bool, typer.Option("--compose", help="The docker-compose deployment, not the embedded stack.")
]


def installation(compose: bool) -> Installation:
    """Return what the commands work on."""
    if compose:
        return ComposeInstallation()
    return EmbeddedInstallation(Layout.from_environment())


def backup(
    directory: Annotated[Path, typer.Argument(help="A new directory; it will hold secrets.")],
    compose: Compose = False,
) -> None:
    """Copy databases, buckets and configuration of one moment into a new directory."""
    os.umask(0o077)
    directory = Path(os.path.abspath(directory))
    with shown_errors():
        with console.status("backing up"):
            made = transfer.back_up(installation(compose), directory, report)
        report(
            f"Backed up to {directory}: {len(made.files)} files. They hold secrets: encrypt them."
        )


def restore(
    directory: Annotated[Path, typer.Argument(help="What `./relevo backup` wrote.")],
    compose: Compose = False,
) -> None:
    """Check a backup, then copy it into an empty installation."""
    os.umask(0o077)
    directory = Path(os.path.abspath(directory))
    with shown_errors():
        with console.status("restoring"):
            made = transfer.restore(installation(compose), directory, report)
        start = "docker compose up --detach --wait" if compose else "./relevo up"
        report(f"Restored the backup of {made.created:%Y-%m-%d %H:%M:%S} UTC. Run `{start}`.")
