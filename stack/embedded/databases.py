"""Which release the metadata databases of the embedded stack belong to.

A release may expect another schema. Migrating takes a while, cannot be undone without a backup, and
MLflow does it unasked when a table is missing, so a start refuses a database of another release.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stack.embedded.layout import Layout
from stack.errors import ConfigurationError
from stack.private_files import write_private


@dataclass(frozen=True)
class Database:
    """Describe one metadata database.

    Args:
        name: Whose it is.
        distribution: Its release is the release of the schema.
        stamp: The file of a stack that names the release the database was migrated to.
    """

    name: str
    distribution: str
    stamp: Callable[[Layout], Path]

    def installed(self) -> str:
        """Return the release that would run now."""
        return version(self.distribution)

    def migrated_to(self, layout: Layout) -> str | None:
        """Return the release that the database belongs to; None while there is nothing in it."""
        stamp = self.stamp(layout)
        return stamp.read_text(encoding="utf-8") if stamp.exists() else None

    def mark(self, layout: Layout, release: str) -> None:
        """Record the release that the database belongs to."""
        write_private(self.stamp(layout), release)


AIRFLOW = Database(
    "Airflow",
    "apache-airflow-core",
    stamp=lambda layout: layout.airflow_migrated,
)
MLFLOW = Database(
    "MLflow",
    "mlflow",
    stamp=lambda layout: layout.mlflow_migrated,
)
DATABASES = (AIRFLOW, MLFLOW)


def outdated(layout: Layout) -> tuple[Database, ...]:
    """Name the databases that belong to another release than the installed one.

    Airflow's first migration leaves its stamp at its end. MLflow's is there before its database is.
    """
    return tuple(
        database
        for database in DATABASES
        if database.migrated_to(layout) not in (None, database.installed())
    )


def refuse_outdated(layout: Layout) -> None:
    """Check that every database belongs to the installed release, or is yet to be made.

    Raises:
        ConfigurationError: One belongs to another release.
    """
    for database in outdated(layout):
        raise ConfigurationError(
            f"Database of {database.name} in {layout.postgres}: must be of release "
            f"{database.installed()}, got {database.migrated_to(layout)}. Run `./relevo upgrade`, "
            "which backs up first."
        )
