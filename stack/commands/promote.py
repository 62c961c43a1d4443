"""`./relevo promote`: put a version in use by hand."""

from __future__ import annotations

from stack.commands import platform_run
from stack.commands.platform_run import Name, Reason, Version


def promote(name: Name, version: Version, reason: Reason = "") -> None:
    """Put a version in use from the next partition on, whatever its verdict was."""
    platform_run.do("platform_promote", name, reason, version=version)
