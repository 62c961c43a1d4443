"""Airflow's metadata database."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import SecretStr

from stack.doctor.checkup import Check, Outcome, Visit, failed, ok, warning

OLDEST = 13
ROUND_TRIPS = 20
SLOW_MILLISECONDS = 20.0
CONNECT_SECONDS = 5
# Airflow's own defaults: [database] sql_alchemy_pool_size and sql_alchemy_max_overflow.
POOL_SIZE, MAX_OVERFLOW = 5, 10
# Scheduler, dag-processor and triggerer; the workers of the api-server come on top.
PROCESSES = 3


def visit(url: SecretStr) -> Visit:
    """List what the database must do."""
    probe = DatabaseProbe(url)
    log = "See the log of the database."
    migrate = Check(
        "migrations",
        partial(check_migrations, url),
        "Run `airflow db migrate` with the image that is to run.",
        60,
    )
    reachable = Check(
        "reachable",
        probe.reach,
        "Check that the database runs, the address, and user and password.",
        gate=True,
    )
    if probe.is_sqlite:
        return Visit("database", (reachable, migrate))
    return Visit(
        "database",
        (
            reachable,
            Check("encoding", probe.encoding, log),
            Check("time zone", probe.time_zone, log),
            Check("connections", probe.connections, log),
            Check("latency", probe.latency, log, 30),
            migrate,
        ),
        probe.close,
    )


class DatabaseProbe:
    """Asks one database; changes nothing.

    Args:
        url: SQLAlchemy's address, with its password.
    """

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    @cached_property
    def _engine(self) -> Any:
        from sqlalchemy import create_engine

        timeout = {"timeout" if self.is_sqlite else "connect_timeout": CONNECT_SECONDS}
        return create_engine(self._url.get_secret_value(), connect_args=timeout)

    @property
    def is_sqlite(self) -> bool:
        """Tell whether the database is a file."""
        return self._url.get_secret_value().startswith("sqlite")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def reach(self) -> Outcome:
        """Connect, and judge kind and release."""
        if self.is_sqlite:
            path = Path(self._url.get_secret_value().partition("///")[2])
            if not path.exists():
                return failed(f"{path} does not exist", "Run `airflow db migrate`.")
            return warning(
                "SQLite", "Good for one machine only; use PostgreSQL for more than that."
            )
        release = int(self._value("show server_version_num"))
        found = f"PostgreSQL {release // 10_000}.{release % 10_000}"
        if release // 10_000 < OLDEST:
            return failed(found, f"Use PostgreSQL {OLDEST} or later.")
        return ok(found)

    def encoding(self) -> Outcome:
        """Judge the database's encoding."""
        found = str(self._value("show server_encoding"))
        if found != "UTF8":
            return failed(found, "Make the database anew: create database ... encoding 'UTF8'.")
        return ok(found)

    def time_zone(self) -> Outcome:
        """Judge the session's time zone."""
        found = str(self._value("show timezone"))
        if found not in ("UTC", "Etc/UTC", "GMT"):
            return warning(found, "alter database ... set timezone to 'UTC'")
        return ok(found)

    def connections(self) -> Outcome:
        """Compare what the server allows with what Airflow's processes may open."""
        allowed = int(self._value("show max_connections"))
        allowed -= int(self._value("show superuser_reserved_connections"))
        each = _setting("DATABASE__SQL_ALCHEMY_POOL_SIZE", POOL_SIZE)
        each += _setting("DATABASE__SQL_ALCHEMY_MAX_OVERFLOW", MAX_OVERFLOW)
        processes = PROCESSES + _setting("API__WORKERS", 1)
        found = f"{allowed} allowed, {processes} processes may open {each * processes}"
        if allowed < each * processes:
            return warning(
                found, "Raise max_connections, put PgBouncer in front, or lower the pool sizes."
            )
        return ok(found)

    def latency(self) -> Outcome:
        """Time the shortest query."""
        from sqlalchemy import text

        milliseconds = []
        with self._engine.connect() as connection:
            for _ in range(ROUND_TRIPS):
                begun = time.perf_counter()
                connection.execute(text("select 1")).scalar_one()
                milliseconds.append((time.perf_counter() - begun) * 1000)
        median = statistics.median(milliseconds)
        found = f"{median:.1f} ms, median of {ROUND_TRIPS} round trips"
        if median > SLOW_MILLISECONDS:
            return warning(found, "Move Airflow and its database into one network.")
        return ok(found)

    def _value(self, query: str) -> Any:
        from sqlalchemy import text

        with self._engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()


def _setting(name: str, default: int) -> int:
    return int(os.environ.get(f"AIRFLOW__{name}", default))


def check_migrations(url: SecretStr) -> Outcome:
    """Let the installed Airflow compare the database with its own migrations."""
    with TemporaryDirectory() as home:
        answer = subprocess.run(
            [str(Path(sys.executable).parent / "airflow"), "db", "check-migrations", "-t", "0"],
            env={
                **os.environ,
                "AIRFLOW_HOME": os.environ.get("AIRFLOW_HOME", home),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url.get_secret_value(),
            },
            capture_output=True,
            text=True,
            timeout=55,
            check=False,
        )
    if answer.returncode == 0:
        return ok("at the head of the installed Airflow")
    lines = [line for line in answer.stderr.splitlines() if line.strip()]
    return failed(
        lines[-1] if lines else "airflow db check-migrations failed",
        "Run `airflow db migrate` with the image that is to run; after a backup.",
    )
