"""What a backup needs of an installation, whichever way it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from stack.backup.archive import Contents
from stack.backup.manifest import Kind, Manifest

Report = Callable[[str], None]


class Installation(Protocol):
    """One way to run Relevo: its databases, buckets and configuration."""

    @property
    def kind(self) -> Kind:
        """Which sort of installation it is."""

    @property
    def buckets(self) -> tuple[str, ...]:
        """Names of all buckets."""

    def releases(self) -> dict[str, str]:
        """Return the releases of Airflow and MLflow that its databases belong to."""

    def database_server(self) -> str:
        """Name what keeps the databases, with its release."""

    def quiet(self, report: Report) -> AbstractContextManager[None]:
        """Have nothing running that writes; what ran before runs again afterwards."""

    def save_databases(self, folder: Path) -> None:
        """Write a consistent copy of each database into a folder, while quiet."""

    def save_bucket(self, bucket: str, stream: IO[bytes]) -> None:
        """Write a bucket's archive, while quiet."""

    def save_files(self, directory: Path) -> None:
        """Write what else belongs to a backup, the configuration first, while quiet."""

    def refuse_unless_empty(self, backup: Path) -> None:
        """Check that there is nothing yet that a restore would overwrite.

        Raises:
            BackupError: There is something; says what, and how to make room.
        """

    def filling(self, backup: Path, report: Report) -> AbstractContextManager[None]:
        """Set the configuration up from a backup and have the store and databases ready."""

    def load_databases(self, backup: Path, manifest: Manifest) -> None:
        """Restore each database from a backup, while filling."""

    def load_bucket(self, bucket: str, stream: IO[bytes]) -> Contents:
        """Write an archive's objects to a bucket, while filling; returns what is in it then."""

    def stop(self, report: Report) -> None:
        """Stop everything that writes."""

    def migrate(self, report: Report) -> None:
        """Bring every database to the schema of the installed releases, while stopped."""

    def start(self, report: Report) -> None:
        """Start everything and wait until it is healthy."""

    def way_back(self, backup: Path) -> str:
        """Say how to return to a backup after a failed upgrade."""
