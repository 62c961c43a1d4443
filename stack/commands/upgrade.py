"""`./relevo upgrade`: bring the databases to the installed releases, after a backup."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from stack.backup import transfer
from stack.commands.backup import Compose, installation
from stack.embedded.databases import outdated
from stack.embedded.layout import Layout
from stack.terminal import console, report, shown_errors

BACKUPS = "backups"


def upgrade(
    directory: Annotated[
        Path | None,
        typer.Option("--backup", help="Where the backup goes; a new directory beside the data."),
    ] = None,
    compose: Compose = False,
) -> None:
    """Back up, migrate the databases of Airflow and MLflow, start, and wait until healthy."""
    os.umask(0o077)
    layout = Layout.from_environment()
    with shown_errors():
        if not compose and not outdated(layout):
            report("Nothing to migrate: both databases are of the installed releases.")
            return
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        target = Path(os.path.abspath(directory or layout.state / BACKUPS / moment))
        with console.status("upgrading"):
            transfer.upgrade(installation(compose), target, report)
        report(f"The upgrade is done. The state before it is in {target}.")
