"""Databases that SQL sources name: from an Airflow connection to SQLAlchemy's address."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from include.errors import SettingsError

Connections = Callable[[str], str]
"""Gives the SQLAlchemy address of a database, secrets included, by its connection id."""

_EXTRA = "__extra__"  # Airflow's name for an extra that is JSON within an address
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def from_environment(conn_id: str) -> str:
    """Read an Airflow connection from ``AIRFLOW_CONN_<ID>``, an address or JSON.

    Args:
        conn_id: Id of the connection.

    Returns:
        SQLAlchemy's address of the database, with its password: never print it.

    Raises:
        SettingsError: If the variable is missing or cannot be read.
    """
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    text = os.environ.get(variable, "").strip()
    if not text:
        raise SettingsError(
            f"connection {conn_id}: {variable} must be set, got nothing. Export it as Airflow "
            "reads it, e.g. postgres://user:password@host:5432/database."
        )
    try:
        parts = _from_json(text) if text.startswith("{") else _from_uri(text)
    except (ValueError, TypeError, AttributeError):
        # Without its cause: what cannot be parsed may be the password, and would be quoted there.
        raise SettingsError(
            f"connection {conn_id}: {variable} must be an address such as "
            "postgres://user:password@host:5432/database or JSON with conn_type, host, login, "
            "password, schema and port, got something else. Quote special characters as %XX."
        ) from None
    return sql_url(conn_id, **parts)


def sql_url(
    conn_id: str,
    *,
    conn_type: str | None,
    host: str | None = None,
    port: int | None = None,
    login: str | None = None,
    password: str | None = None,
    schema: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Build SQLAlchemy's address from the parts of an Airflow connection.

    Args:
        conn_id: Id of the connection, for messages.
        conn_type: ``postgres``, ``sqlite``, or a name that SQLAlchemy knows.
        host: Server; of SQLite, the file may stand here.
        port: Its port.
        login: User.
        password: Password of the user.
        schema: Database; of SQLite, the file.
        extra: Arguments of the driver, such as ``sslmode``; only texts, numbers and booleans.

    Raises:
        SettingsError: If it has no type.
    """
    from sqlalchemy import URL

    if not conn_type:
        raise SettingsError(
            f"connection {conn_id}: its type must be set, got nothing. Set it to postgres, sqlite "
            "or another database."
        )
    query = {
        key: str(value) for key, value in (extra or {}).items() if isinstance(value, str | int)
    }
    if conn_type == "sqlite":
        file = schema or host
        if not file:
            raise SettingsError(
                f"connection {conn_id}: must name the file of the database, got nothing. Write "
                "sqlite:////path/to/file."
            )
        return URL.create("sqlite", database=file, query=query).render_as_string(False)
    return URL.create(
        _DRIVERS.get(conn_type, conn_type),
        username=login or None,
        password=password or None,
        host=host or None,
        port=port,
        database=schema or None,
        query=query,
    ).render_as_string(hide_password=False)


def _from_json(text: str) -> dict[str, Any]:
    held = json.loads(text)
    names = ("conn_type", "host", "login", "password", "schema")
    parts: dict[str, Any] = {name: held.get(name) for name in names}
    extra = held.get("extra") or {}
    return {
        **parts,
        "port": int(held["port"]) if held.get("port") else None,
        "extra": dict(json.loads(extra) if isinstance(extra, str) else extra),
    }


def _from_uri(text: str) -> dict[str, Any]:
    parsed = urlsplit(text)
    if not parsed.scheme or "://" not in text:
        raise ValueError("no address")
    # A password with a bare / or # would go on as the database's name and show in messages.
    if parsed.scheme != "sqlite" and "@" in f"{parsed.path}{parsed.query}{parsed.fragment}":
        raise ValueError("special characters")
    query = dict(parse_qsl(parsed.query, keep_blank_values=True))
    netloc = parsed.netloc.rpartition("@")[2]
    host = netloc.rpartition(":")[0] if parsed.port is not None else netloc
    return {
        "conn_type": parsed.scheme,
        # Not parsed.hostname, which is in lower case: of SQLite it may be a file.
        "host": unquote(host.strip("[]")),
        "port": parsed.port,
        "login": unquote(parsed.username or ""),
        "password": unquote(parsed.password or ""),
        "schema": unquote(parsed.path[1:]),
        "extra": dict(json.loads(query[_EXTRA])) if _EXTRA in query else query,
    }
