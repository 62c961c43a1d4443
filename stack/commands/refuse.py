"""`./relevo refuse`: keep a version out of use for good."""

from __future__ import annotations

from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason, Version


def refuse(name: Name, version: Version, reason: Reason = "") -> None:
    """Keep a version that is not in use from ever being promoted or gone back to."""
    platform_run.do("platform_refuse", name, reason, version=version)
