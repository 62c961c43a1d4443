"""The embedded stack as an installation: one PostgreSQL, one store, one private file."""

from __future__ import annotations

import contextlib
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from include.storage.settings import StoreSettings
from stack.backup import archive
from stack.backup.archive import Contents
from stack.backup.installation import Report
from stack.backup.manifest import CONFIGURATION, DATABASES, Kind, Manifest
from stack.embedded import postgres
from stack.embedded.configuration import BUCKETS, Configuration
from stack.embedded.databases import AIRFLOW, MLFLOW, Database
from stack.embedded.databases import DATABASES as EMBEDDED
from stack.embedded.environment import airflow_environment, base_environment, store_of
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import BackupError
from stack.private_files import copy_private, private_opener

# What keeps the data, and only answers.
KEEPERS = ("store", "postgres")
LOGS = "logs.tar"
# Below Airflow's log folder; beside them are those of the parts, which tell nothing of the past.
TASK_LOGS = "dag_id=*"
LOG_LINES_SHOWN = 15
OUTPUT_CHARACTERS = 2000


class EmbeddedInstallation:
    """Back up, restore and upgrade one embedded stack.

    Args:
        layout: The stack's paths.
    """

    kind: Kind = "embedded"
    buckets = BUCKETS

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.stack = Stack(layout)

    def releases(self) -> dict[str, str]:
        """Return the releases of Airflow and MLflow that the databases belong to."""
        return {
            database.distribution: database.migrated_to(self.layout) or database.installed()
            for database in EMBEDDED
        }

    def database_server(self) -> str:
        """Ask PostgreSQL for its release."""
        answer = self._run(
            *("psql", postgres.ADMIN, "--no-psqlrc", "--no-align", "--tuples-only"),
            "--command=show server_version",
        )
        return f"PostgreSQL {answer.strip()}"

    @contextlib.contextmanager
    def quiet(self, report: Report) -> Iterator[None]:
        """Have what keeps the data running and nothing else; a stack that ran runs again then."""
        Configuration.load(self.layout)  # a stack that was never started has nothing to back up
        with self.stack.only(KEEPERS, report):
            yield

    def save_databases(self, folder: Path) -> None:
        """Dump each database in PostgreSQL's custom format."""
        if AIRFLOW.migrated_to(self.layout) is None:
            raise BackupError(
                f"Database of Airflow in {self.layout.postgres}: must have been used to be backed "
                "up. Run `./relevo up` first."
            )
        for name in postgres.DATABASES:
            with open(folder / f"{name}.dump", "xb", opener=private_opener) as stream:
                self._run("pg_dump", name, "--format=custom", stdout=stream)

    def save_bucket(self, bucket: str, stream: IO[bytes]) -> None:
        """Write a bucket's archive."""
        archive.save_bucket(self._store(), bucket, stream)

    def save_files(self, directory: Path) -> None:
        """Copy the private file, and the logs of all tasks."""
        configuration = self.layout.configuration_file
        folder = directory / CONFIGURATION
        folder.mkdir(mode=0o700)
        copy_private(configuration, folder / configuration.name)
        logs = self.layout.airflow / "logs"
        with tarfile.open(directory / LOGS, "x", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(logs.glob(TASK_LOGS)):
                tar.add(path, path.name)
        (directory / LOGS).chmod(0o600)

    def refuse_unless_empty(self, backup: Path) -> None:
        """Check that the state directory does not exist or is empty.

        Raises:
            BackupError: Something is there.
        """
        state = self.layout.state
        found = sorted(path.name for path in state.iterdir()) if state.exists() else []
        if found:
            raise BackupError(
                f"Directory {state}: must be empty for a restore, got {', '.join(found[:5])}"
                f"{' and more' if len(found) > 5 else ''}. Run `./relevo down`, then move it away "
                f"(mv {state} {state}.old), or set RELEVO_STATE to a new directory."
            )

    @contextlib.contextmanager
    def filling(self, backup: Path, report: Report) -> Iterator[None]:
        """Take the ports and passwords over, and have what keeps the data running."""
        _refuse_sqlite(backup)
        self.layout.create()
        source = backup / CONFIGURATION / self.layout.configuration_file.name
        copy_private(source, self.layout.configuration_file)
        with tarfile.open(backup / LOGS) as tar:
            tar.extractall(self.layout.airflow / "logs", filter="data")
        with self.stack.only(KEEPERS, report):
            yield

    def load_databases(self, backup: Path, manifest: Manifest) -> None:
        """Restore each dump, all of it or nothing, and record the releases that they belong to."""
        for name in postgres.DATABASES:
            with (backup / DATABASES / f"{name}.dump").open("rb") as stream:
                self._run(
                    *("pg_restore", name, "--exit-on-error", "--single-transaction"), stdin=stream
                )
        for database in EMBEDDED:
            database.mark(self.layout, manifest.releases[database.distribution])

    def load_bucket(self, bucket: str, stream: IO[bytes]) -> Contents:
        """Write an archive's objects to a bucket; returns what is in it then."""
        archive.load_bucket(self._store(), bucket, stream)
        return archive.measure_bucket(self._store(), bucket)

    def stop(self, report: Report) -> None:
        """Stop the whole stack."""
        self.stack.down(report)

    def migrate(self, report: Report) -> None:
        """Have PostgreSQL running, and run Airflow's and MLflow's own migrations.

        Raises:
            BackupError: One failed; shows the end of its output.
        """
        layout = self.layout
        with self.stack.only(("postgres",), report) as configuration:
            airflow = airflow_environment(layout, configuration, "migrate")
            self._migrate(AIRFLOW, ("airflow", "db", "migrate"), airflow, report)
            # Without a password in it, the address may be seen in the list of processes.
            address = postgres.address(layout, postgres.MLFLOW_DATABASE)
            mlflow = {**base_environment(layout, "migrate"), "MLFLOW_DISABLE_TELEMETRY": "true"}
            self._migrate(MLFLOW, ("mlflow", "db", "upgrade", address), mlflow, report)

    def start(self, report: Report) -> None:
        """Start the stack and wait until every part is healthy."""
        self.stack.up(report)

    def way_back(self, backup: Path) -> str:
        """Say how to return to a backup after a failed upgrade."""
        state = self.layout.state
        moved = Path(f"{state}.failed")
        inside = backup.is_relative_to(state)
        source = moved / backup.relative_to(state) if inside else backup
        return (
            "To return to the state before it: check out the release that was running, run "
            f"`./relevo down`, `mv {state} {moved}`, `./relevo restore {source}` and `./relevo up`."
        )

    def _migrate(
        self,
        database: Database,
        command: tuple[str, ...],
        environment: dict[str, str],
        report: Report,
    ) -> None:
        before = database.migrated_to(self.layout)
        program, *arguments = command
        done = subprocess.run(
            [str(self.layout.bin / program), *arguments],
            env=environment,
            cwd=self.layout.run,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        with open(self.layout.log_of("upgrade"), "a", encoding="utf-8") as log:
            log.write(done.stdout)
        if done.returncode != 0:
            shown = " ".join(command)
            end = "\n".join(done.stdout.splitlines()[-LOG_LINES_SHOWN:])
            raise BackupError(
                f"Database of {database.name} in {self.layout.postgres}: must be migrated by "
                f"`{shown}`, got exit code {done.returncode}. The end of its output:\n\n{end}\n"
                f"Whole output: {self.layout.log_of('upgrade')}."
            )
        database.mark(self.layout, database.installed())
        report(f"{database.name:<14} {before} -> {database.installed()}")

    def _run(
        self,
        name: str,
        database: str,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> str:
        """Return what a program of PostgreSQL printed, unless that goes to `stdout`."""
        done = subprocess.run(
            [postgres.program(name), *postgres.connection(self.layout, database), *arguments],
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-OUTPUT_CHARACTERS:]
            raise BackupError(
                f"Program {name}: must succeed on the database {database}, got exit code "
                f"{done.returncode}: {said}"
            )
        return (done.stdout or b"").decode(errors="replace")

    def _store(self) -> StoreSettings:
        return store_of(Configuration.load(self.layout))


def _refuse_sqlite(backup: Path) -> None:
    if (backup / DATABASES / "airflow.db").exists():
        raise BackupError(
            f"Backup {backup}: must hold dumps of PostgreSQL, got SQLite's files of an earlier "
            "release, which are not taken over. Restore it with the release that made it."
        )
