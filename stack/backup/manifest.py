"""What a backup says of itself, and whether its files are still what was written.

- `manifest.json`: written last; a backup without it is incomplete
- `configuration/<file>`: ports and passwords of the installation
- `databases/<file>`: one for each metadata database
- `buckets/<bucket>.tar`: one archive for each bucket
- `logs.tar`: logs of the tasks, where they are not in a bucket
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from packaging.version import Version
from pydantic import BaseModel, ConfigDict, ValidationError

from stack.backup.archive import Contents
from stack.errors import BackupError
from stack.private_files import write_private

# How the files of a backup are laid out.
FORMAT = 1
# How our own tables and registry are written below s3://lake. Raise it with a change that an
# earlier release cannot read.
DATA_FORMAT = 1
MANIFEST = "manifest.json"
DATABASES = "databases"
BUCKETS = "buckets"
CONFIGURATION = "configuration"
AIRFLOW, MLFLOW = "apache-airflow-core", "mlflow"

Kind = Literal["embedded", "compose"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """Identify one file.

    Args:
        size: Length in bytes.
        sha256: Digest of the content, hexadecimal.
    """

    size: int
    sha256: str


class Manifest(_Record):
    """Describe a backup.

    Args:
        format: Of the backup's files.
        data_format: Of our tables and registry in the buckets.
        kind: Which sort of installation it is of; it can be restored into the same sort only.
        created: When writing was stopped, UTC.
        commit: Of the code that made it.
        releases: Release of Airflow and MLflow that the databases belong to, by distribution.
        database_server: SQLite or PostgreSQL, with its release.
        buckets: What is in each bucket.
        files: Every other file of the backup, by its path in it.
    """

    format: int = FORMAT
    data_format: int = DATA_FORMAT
    kind: Kind
    created: datetime
    commit: str
    releases: dict[str, str]
    database_server: str
    buckets: dict[str, Contents]
    files: dict[str, FileRecord]


class _Formats(BaseModel):
    """What of a manifest can be read whatever else a later release has added."""

    format: int
    data_format: int


def installed_releases() -> dict[str, str]:
    """Return the releases of Airflow and MLflow that would run now."""
    return {name: version(name) for name in (AIRFLOW, MLFLOW)}


def describe_files(directory: Path) -> dict[str, FileRecord]:
    """Measure every file below a directory but the manifest itself.

    Raises:
        BackupError: Something is neither a file nor a directory.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BackupError(f"Backup file {name}: must be a plain file. Remove it.")
        if path.is_file() and name != MANIFEST:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[name] = FileRecord(size=path.stat().st_size, sha256=digest)
    return found


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest, which makes the backup a whole one; everything is on the disk first."""
    for name in manifest.files:
        with (directory / name).open("rb") as stream:
            os.fsync(stream.fileno())
    write_private(directory / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def verify(directory: Path, kind: Kind) -> Manifest:
    """Check that a backup can be restored here, before anything is changed.

    Args:
        directory: The backup.
        kind: Which sort of installation it is to be restored into.

    Raises:
        BackupError: It is incomplete, was altered, belongs to another sort of installation, or was
            made by a later release; names the file.
    """
    manifest = _read(directory)
    if manifest.kind != kind:
        raise BackupError(
            f"Backup {directory}: must be of {_SPELT[kind]}, got one of {_SPELT[manifest.kind]}. "
            f"Restore it {'with' if manifest.kind == 'compose' else 'without'} --compose."
        )
    for name, here in installed_releases().items():
        there = manifest.releases[name]
        if Version(there) > Version(here):
            raise BackupError(
                f"Backup {directory}: its databases must be of {name} {here} or earlier, got "
                f"{there}. Restore it with a release of Relevo that has {name} {there}."
            )
    found = describe_files(directory)
    for name in sorted(manifest.files.keys() | found.keys()):
        recorded, seen = manifest.files.get(name), found.get(name)
        if recorded == seen:
            continue
        trouble = _trouble(recorded, seen)
        raise BackupError(
            f"Backup file {directory / name}: must be as it was written, {trouble}. "
            "Restore another backup."
        )
    return manifest


_SPELT = {"embedded": "an embedded stack", "compose": "a docker-compose deployment"}


def _trouble(recorded: FileRecord | None, seen: FileRecord | None) -> str:
    if seen is None:
        return "it is missing"
    if recorded is None:
        return "it does not belong to the backup"
    if recorded.size != seen.size:
        return f"got {seen.size:,} bytes instead of {recorded.size:,}"
    return "its content was altered"


def _read(directory: Path) -> Manifest:
    path = directory / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(
            f"Backup {directory}: must hold {MANIFEST}, got none: it is no backup, or one that was "
            "not finished. Name the directory of a whole one."
        ) from None
    try:
        formats = _Formats.model_validate_json(text)
        for what, there, here in (
            ("format", formats.format, FORMAT),
            ("data format", formats.data_format, DATA_FORMAT),
        ):
            if there > here:
                raise BackupError(
                    f"Backup {directory}: its {what} must be {here} or earlier, got {there}. "
                    "Restore it with the release that made it, or a later one."
                )
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) or "JSON" for e in error.errors())
        raise BackupError(
            f"Backup file {path}: must describe the backup, got something else ({fields}). "
            "Restore another backup."
        ) from error
