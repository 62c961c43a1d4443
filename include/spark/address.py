"""Spark Connect addresses: ``sc://host:port/;parameter=value;...``."""

from __future__ import annotations

from urllib.parse import quote


def with_parameter(address: str, name: str, value: str) -> str:
    """Add a parameter to an address, and keep those that it has.

    Args:
        address: ``sc://host:port``, with or without parameters.
        name: Name of the parameter, e.g. ``token``.
        value: Any text; what has a meaning in an address is escaped.
    """
    if "/;" not in address:
        address = f"{address.rstrip('/')}/"
    return f"{address.rstrip(';')};{name}={quote(value, safe='')}"
