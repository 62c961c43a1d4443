"""`./relevo freeze`: let nothing take the champion's place."""

from __future__ import annotations

from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason


def freeze(name: Name, reason: Reason = "") -> None:
    """Let nothing take the champion's place until `unfreeze`; scoring goes on."""
    platform_run.do("platform_freeze", name, reason)
