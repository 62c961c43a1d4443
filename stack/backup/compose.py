"""The docker-compose deployment as an installation, through the `docker` command line alone.

Archives and dumps are streamed through the standard streams of containers, so that no folder of
this machine has to be writable for the user inside, and the engine may be elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from include.storage.settings import BUCKETS
from stack.backup.archive import Contents
from stack.backup.installation import Report
from stack.backup.manifest import CONFIGURATION, DATABASES, Kind, Manifest
from stack.compose import env_file
from stack.embedded.layout import REPOSITORY
from stack.errors import BackupError
from stack.private_files import copy_private, private_opener

SETTINGS = ".env"
DATABASE_NAMES = ("airflow", "mlflow", "mlflow_auth")
# What keeps the data, and only answers. Redis holds nothing that Airflow cannot queue again.
KEEPERS = ("postgres", "store")
# First: from then on no task is started, and those that run may finish.
SCHEDULER = "scheduler"
# The job that has the key of every bucket.
COPIER = ("run", "--rm", "-T", "buckets", "python", "-m", "stack.backup.archive")
RELEASES = (
    "import json; from stack.backup.manifest import installed_releases as r; print(json.dumps(r()))"
)
# Set, the databases are not those of the service `postgres`.
EXTERNAL = "AIRFLOW_DATABASE_URL"
OUTPUT_CHARACTERS = 2000


class Docker(Protocol):
    """Run `docker` with arguments."""

    def __call__(
        self,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> str:
        """Return what it printed, unless that goes to `stdout`.

        Raises:
            BackupError: It ended with another exit code than 0.
        """


def run_docker(
    *arguments: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> str:
    """Run the real `docker` beside docker-compose.yaml."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            cwd=REPOSITORY,
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
    except OSError as error:
        raise BackupError(
            f"Program docker: must run here, got {error.strerror}. Install Docker with compose."
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-OUTPUT_CHARACTERS:]
        raise BackupError(
            f"Command `docker {' '.join(arguments)}`: must succeed, got exit code "
            f"{done.returncode}: {said}"
        )
    return (done.stdout or b"").decode(errors="replace")


class ComposeInstallation:
    """Back up, restore and upgrade the deployment of docker-compose.yaml.

    Args:
        directory: Where `.env` is.
        docker: Runs `docker`.
    """

    kind: Kind = "compose"
    buckets = BUCKETS

    def __init__(self, directory: Path = REPOSITORY, docker: Docker = run_docker) -> None:
        self.settings = directory / SETTINGS
        self.docker = docker

    def releases(self) -> dict[str, str]:
        """Return the releases in the running api-server, else those of the image."""
        python = ("python", "-c", RELEASES)
        if "api-server" in self._running():
            answer = self._compose("exec", "-T", "api-server", *python)
        else:
            answer = self._compose("run", "--rm", "-T", "--no-deps", "buckets", *python)
        return {str(name): str(release) for name, release in json.loads(answer).items()}

    def database_server(self) -> str:
        """Ask PostgreSQL for its release."""
        answer = self._compose(
            *("exec", "-T", "postgres", "psql", "--username=postgres", "--no-align"),
            *("--tuples-only", "--command=show server_version"),
        )
        return f"PostgreSQL {answer.strip()}"

    @contextlib.contextmanager
    def quiet(self, report: Report) -> Iterator[None]:
        """Have PostgreSQL and the store running and nothing else; others are started again."""
        if not self.settings.exists():
            raise BackupError(
                f"File {self.settings}: must exist. Run `./relevo compose init`, or restore."
            )
        if env_file.read(self.settings).get(EXTERNAL):
            raise BackupError(
                f"File {self.settings}: {EXTERNAL} must not be set for a backup with this command, "
                "got a database outside of the deployment. Back it up by its own means "
                "(docs/production/backup-and-upgrade.md)."
            )
        self._compose("up", "--detach", "--wait", *KEEPERS)
        stopped = self._stop(report)
        try:
            yield
        finally:
            if stopped:
                report(f"starting {', '.join(stopped)}")
                self._compose("start", *stopped)

    def save_databases(self, folder: Path) -> None:
        """Dump each database in PostgreSQL's custom format."""
        for name in DATABASE_NAMES:
            with open(folder / f"{name}.dump", "xb", opener=private_opener) as stream:
                self._compose(
                    *("exec", "-T", "postgres", "pg_dump", "--format=custom"),
                    *("--username=postgres", name),
                    stdout=stream,
                )

    def save_bucket(self, bucket: str, stream: IO[bytes]) -> None:
        """Write a bucket's archive."""
        self._compose(*COPIER, "save", bucket, stdout=stream)

    def save_files(self, directory: Path) -> None:
        """Copy `.env`; the logs of tasks are in a bucket."""
        folder = directory / CONFIGURATION
        folder.mkdir(mode=0o700)
        copy_private(self.settings, folder / SETTINGS)

    def refuse_unless_empty(self, backup: Path) -> None:
        """Check that there is no `.env`, no container and no volume of the deployment.

        Raises:
            BackupError: Something is there.
        """
        remedy = "Run `docker compose down --volumes`, which deletes its data, and move .env away."
        if self.settings.exists():
            raise BackupError(f"File {self.settings}: must not exist for a restore. {remedy}")
        settings = ("--env-file", str(backup / CONFIGURATION / SETTINGS))
        project = json.loads(self._compose(*settings, "config", "--format=json"))["name"]
        label = f"label=com.docker.compose.project={project}"
        containers = self.docker("ps", "--all", "--quiet", "--filter", label).split()
        volumes = self.docker("volume", "ls", "--quiet", "--filter", label).split()
        if containers or volumes:
            raise BackupError(
                f"Deployment {project}: must be empty for a restore, got {len(containers)} "
                f"containers and {len(volumes)} volumes ({', '.join(volumes)}). {remedy}"
            )

    @contextlib.contextmanager
    def filling(self, backup: Path, report: Report) -> Iterator[None]:
        """Take `.env` over, and have PostgreSQL with its accounts and the store with its buckets.

        Everything is stopped again afterwards.
        """
        copy_private(backup / CONFIGURATION / SETTINGS, self.settings)
        report(f"starting {' and '.join(KEEPERS)}")
        self._compose("up", "--detach", "--wait", *KEEPERS)
        for job in ("databases", "buckets"):
            self._compose("run", "--rm", "-T", job)
        yield
        self._compose("stop")

    def load_databases(self, backup: Path, manifest: Manifest) -> None:
        """Restore each dump into its empty database, all of it or nothing."""
        for name in DATABASE_NAMES:
            with (backup / DATABASES / f"{name}.dump").open("rb") as stream:
                self._compose(
                    *("exec", "-T", "postgres", "pg_restore", "--username=postgres"),
                    *(f"--dbname={name}", "--exit-on-error", "--single-transaction"),
                    stdin=stream,
                )

    def load_bucket(self, bucket: str, stream: IO[bytes]) -> Contents:
        """Write an archive's objects to a bucket; returns what is in it then."""
        return Contents(**json.loads(self._compose(*COPIER, "load", bucket, stdin=stream)))

    def stop(self, report: Report) -> None:
        """Stop everything but PostgreSQL and the store."""
        self._stop(report)

    def migrate(self, report: Report) -> None:
        """Build the image of this release and run its migrations."""
        report("building the image and migrating")
        self._compose("run", "--rm", "-T", "--build", "--env=RELEVO_UPGRADE=yes", "migrate")

    def start(self, report: Report) -> None:
        """Start everything and wait until it is healthy."""
        report("starting everything")
        self._compose("up", "--detach", "--wait")

    def way_back(self, backup: Path) -> str:
        """Say how to return to a backup after a failed upgrade."""
        return (
            "To return to the state before it: check out the release that was running, run "
            "`docker compose down --volumes`, move .env away, and run "
            f"`./relevo restore --compose {backup}`."
        )

    def _running(self) -> list[str]:
        return self._compose("ps", "--services", "--status=running").split()

    def _stop(self, report: Report) -> list[str]:
        names = [name for name in self._running() if name not in KEEPERS]
        # The scheduler first, then whatever it could have started.
        for group in ([n for n in names if n == SCHEDULER], [n for n in names if n != SCHEDULER]):
            if group:
                report(f"stopping {', '.join(group)}")
                self._compose("stop", *group)
        return names

    def _compose(
        self,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> str:
        return self.docker("compose", *arguments, stdin=stdin, stdout=stdout)
