"""`./relevo migrate`: put in use what the pipeline file names under `next:`."""

from __future__ import annotations

from typing import Annotated

import typer

from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason


def migrate(
    name: Name,
    reason: Reason = "",
    first: Annotated[
        str | None, typer.Option(help="First partition to carry over; all of them without it.")
    ] = None,
) -> None:
    """Fill new tables by what `next:` says, train on them, and switch if the gate passes."""
    platform_run.do("platform_migrate", name, reason, waits_for=f"{name}_train", first=first)
