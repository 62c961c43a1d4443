"""`./relevo rollback`: go back to a version that was in use before."""

from __future__ import annotations

from typing import Annotated

import typer

from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason


def rollback(
    name: Name,
    reason: Reason = "",
    version: Annotated[
        int | None, typer.Option(min=1, help="What to go back to; the one before if unset.")
    ] = None,
) -> None:
    """Go back to a version that was in use before, from the next partition on."""
    platform_run.do("platform_rollback", name, reason, version=version)
