"""`./relevo unfreeze`: let the gate decide again who is champion."""

from __future__ import annotations

from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason


def unfreeze(name: Name, reason: Reason = "") -> None:
    """End what `freeze` began: the gate decides again who is champion."""
    platform_run.do("platform_unfreeze", name, reason)
