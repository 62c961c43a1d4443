"""Make a backup of an installation, restore one, and upgrade with one at hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from stack.backup import manifest as manifests
from stack.backup.archive import Contents, measure_archive
from stack.backup.installation import Installation, Report
from stack.backup.manifest import BUCKETS, DATABASES, Manifest
from stack.embedded.environment import code_commit
from stack.embedded.layout import REPOSITORY
from stack.errors import BackupError, StackError
from stack.private_files import private_opener


def back_up(installation: Installation, directory: Path, report: Report) -> Manifest:
    """Write a whole installation into a new directory.

    Args:
        installation: What to back up.
        directory: Does not exist, or is empty; only its owner may read it afterwards.
        report: Gets a line for each step.

    Raises:
        BackupError: The directory is in use, or something cannot be copied. Without its manifest,
            what was written so far is no backup.
    """
    _make_private(directory)
    return _write(installation, directory, installation.releases(), report)


def _write(
    installation: Installation, directory: Path, releases: dict[str, str], report: Report
) -> Manifest:
    archives = {}
    with installation.quiet(report):
        created = datetime.now(UTC).replace(microsecond=0)
        installation.save_files(directory)
        report("configuration")
        databases = directory / DATABASES
        databases.mkdir(mode=0o700)
        installation.save_databases(databases)
        server = installation.database_server()
        for path in sorted(databases.iterdir()):
            report(f"database {path.stem:<9} {_megabytes(path.stat().st_size)}")
        (directory / BUCKETS).mkdir(mode=0o700)
        for bucket in installation.buckets:
            path = directory / BUCKETS / f"{bucket}.tar"
            with open(path, "xb", opener=private_opener) as stream:
                installation.save_bucket(bucket, stream)
            with path.open("rb") as stream:
                contents = archives[bucket] = measure_archive(stream)
            report(_line(bucket, contents))
        # Before anything is started, which may fail: the backup is whole without it.
        made = Manifest(
            kind=installation.kind,
            created=created,
            commit=code_commit(REPOSITORY),
            releases=releases,
            database_server=server,
            buckets=archives,
            files=manifests.describe_files(directory),
        )
        manifests.write_manifest(directory, made)
    return made


def restore(installation: Installation, directory: Path, report: Report) -> Manifest:
    """Write a backup into an empty installation; it is not started.

    Args:
        installation: Where to; there is nothing yet.
        directory: The backup. Everything in it is checked before anything is changed.
        report: Gets a line for each step.

    Raises:
        BackupError: The backup cannot be trusted, the installation is not empty, or a bucket does
            not hold afterwards what the backup holds.
    """
    made = manifests.verify(directory, installation.kind)
    report(f"verified {len(made.files)} files")
    installation.refuse_unless_empty(directory)
    with installation.filling(directory, report):
        installation.load_databases(directory, made)
        report(f"databases restored ({made.database_server})")
        for bucket, expected in made.buckets.items():
            with (directory / BUCKETS / f"{bucket}.tar").open("rb") as stream:
                contents = installation.load_bucket(bucket, stream)
            if contents != expected:
                raise BackupError(
                    f"Bucket {bucket}: must hold {expected.objects:,} objects of "
                    f"{expected.bytes:,} bytes after the restore, got {contents.objects:,} of "
                    f"{contents.bytes:,}. Empty the installation and restore again."
                )
            report(_line(bucket, contents))
    return made


def upgrade(installation: Installation, directory: Path, report: Report) -> None:
    """Back up, bring the databases to the installed releases, and start everything.

    Args:
        installation: What to upgrade.
        directory: Where the backup goes.
        report: Gets a line for each step.

    Raises:
        StackError: A step failed. If it was after the backup, the message says how to return.
    """
    _make_private(directory)
    # Once stopped, an installation only knows the releases that are new.
    releases = installation.releases()
    installation.stop(report)
    _write(installation, directory, releases, report)
    report(f"backed up to {directory}")
    try:
        installation.migrate(report)
        installation.start(report)
    except StackError as error:
        raise BackupError(
            f"{error}\n\nThe upgrade failed. {installation.way_back(directory)}"
        ) from error


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_used = any(directory.iterdir())
    except (FileExistsError, NotADirectoryError):
        is_used = True
    if is_used:
        raise BackupError(
            f"Directory {directory}: must be new or empty for a backup, got one in use. "
            "Name another."
        )
    directory.chmod(0o700)


def _line(bucket: str, contents: Contents) -> str:
    return f"bucket {bucket:<11} {_megabytes(contents.bytes)} in {contents.objects:,} objects"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:8,.1f} MB"
