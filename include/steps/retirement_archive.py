"""What stays of a retired pipeline, as one file beside its ledger and registry.

``s3://lake/<pipeline>/retired/archive-<digest>.zip`` holds ``ledger.jsonl``, ``registry.jsonl``,
``pipeline.yaml`` as of then, the files of every registered version below ``models/<SHA-256>/``,
and ``manifest.json`` with the SHA-256 of each. ``archive.json`` beside it says which archive
counts, and its own SHA-256, once that was read back and found to be what was written.

From the same records the same bytes are made, so that it may be made again whenever that may be
needed: after a kill, or after somebody was erased from ledger and registry. Another one never takes
the place of the one that counts before it was verified itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from include.errors import RegistryError, UnavailableError
from include.registry import retirement
from include.registry.champions import TABLE as REGISTRY
from include.registry.model_files import ModelVersion, get_file
from include.storage import ledger
from include.storage.event_tables import EventTable
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore

MANIFEST = "manifest.json"
_PIECE = 2**20


@dataclass(frozen=True)
class Archive:
    """An archive that was verified.

    Args:
        uri: Its address.
        sha256: Of the whole file.
        size: Its length in bytes.
        versions: Model versions whose files it holds.
        lacking: Model files that were gone, or not what was registered, when it was made.
    """

    uri: str
    sha256: str
    size: int
    versions: Sequence[int]
    lacking: Sequence[str]

    def __str__(self) -> str:
        """Render for people."""
        told = f"Archive {self.uri}: {self.size} bytes, SHA-256 {self.sha256}."
        if self.lacking:
            told += f" {len(self.lacking)} model files were gone or changed before it was made."
        return told


def write_archive(lake: Lake) -> Archive:
    """Write the archive, read it back, put on record that it counts, and delete the one before.

    Raises:
        UnavailableError: If what is read back is not what was written.
    """
    store = ObjectStore(lake.settings)
    with TemporaryFile() as target:
        versions, lacking = _pack(lake, target)
        size = target.tell()
        target.seek(0)
        sha256 = _copy(target)
        uri = f"{retirement.folder(lake.pipeline)}/archive-{sha256[:16]}.zip"
        archive = Archive(uri, sha256, size, versions, lacking)
        if _digest(lake, uri) != sha256:
            target.seek(0)
            with lake.settings.filesystem().open_output_stream(lake.settings.path(uri)) as sink:
                _copy(target, sink)
            _demand(archive, _digest(lake, uri))
    store.write(_record_uri(lake), json.dumps(asdict(archive)).encode(), "application/json")
    for item in store.list(retirement.folder(lake.pipeline)):
        if item.name.startswith("archive-") and item.uri != uri:
            store.delete(item.uri)
    return archive


def _demand(archive: Archive, found: str | None) -> None:
    if found != archive.sha256:
        raise UnavailableError(
            f"archive {archive.uri}: SHA-256 must be {archive.sha256}, as it was written, got "
            f"{found}. Clear the task; if that comes again, look at the store."
        )


def recorded(lake: Lake) -> Archive | None:
    """Read what the archive is said to be; None if there is none that was verified."""
    store = ObjectStore(lake.settings)
    if not store.exists(_record_uri(lake)):
        return None
    return Archive(**json.loads(store.read(_record_uri(lake))))


def demand_archive(lake: Lake) -> Archive:
    """Return the archive, verified once more.

    Raises:
        RegistryError: If there is none, or it is not what was written.
    """
    archive = recorded(lake)
    found = None if archive is None else _digest(lake, archive.uri)
    if archive is None or found != archive.sha256:
        wanted = "verified" if archive is None else f"of SHA-256 {archive.sha256}"
        raise RegistryError(
            f"archive in {retirement.folder(lake.pipeline)}: must be {wanted} before tables are "
            f"removed, got {found or 'none'}. Clear the run of platform_retire, which writes it."
        )
    return archive


def untraceable(lake: Lake) -> tuple[str, ...]:
    """Name archived models of which nobody can tell any more what they were trained on."""
    if not ObjectStore(lake.settings).exists(retirement.file_uri(lake.pipeline)):
        return ()
    found = retirement.find(EventTable(lake, REGISTRY, ()).events())
    if found is None or found.removed_at is None:
        return ()
    return (f"models in {retirement.folder(lake.pipeline)}, whose training sets are removed",)


def _record_uri(lake: Lake) -> str:
    return f"{retirement.folder(lake.pipeline)}/archive.json"


def _pack(lake: Lake, target: IO[bytes]) -> tuple[list[int], list[str]]:
    """Write the archive into a file; returns the versions in it, and files that it lacks."""
    events = EventTable(lake, REGISTRY, ()).events()
    registered = [row for row in events if row["event"] == "registered"]
    models = [ModelVersion.from_dict(json.loads(row["details"])) for row in registered]
    files = {file[1]: (name, file) for model in models for name, file in model.files.items()}
    digests: dict[str, str] = {}
    lacking: list[str] = []
    with ZipFile(target, "w") as packed, _held(lake) as held:

        def add(name: str, data: bytes) -> None:
            digests[name] = hashlib.sha256(data).hexdigest()
            packed.writestr(_named(name), data)

        add("ledger.jsonl", _lines(EventTable(lake, ledger.TABLE, ()).events()))
        add("registry.jsonl", _lines(events))
        store, uri = ObjectStore(lake.settings), retirement.file_uri(lake.pipeline)
        add("pipeline.yaml", store.read(uri))
        for digest, (name, file) in sorted(files.items()):
            data = _model_file(lake, file, held, f"models/{digest}/{name}")
            if data is None:
                lacking.append(file[0])
            else:
                add(f"models/{digest}/{name}", data)
        manifest = {
            "pipeline": lake.pipeline,
            "files": digests,
            "models": {
                model.version: {name: file[1] for name, file in model.files.items()}
                for model in models
            },
            "lacking": lacking,
        }
        packed.writestr(_named(MANIFEST), json.dumps(manifest, indent=1).encode())
    gone = set(lacking)
    whole = (model for model in models if not gone & {file[0] for file in model.files.values()})
    return sorted(model.version for model in whole), lacking


def _named(name: str) -> ZipInfo:
    """Describe a file without a time, so that the same files make the same archive."""
    info = ZipInfo(name)
    info.compress_type = ZIP_DEFLATED
    return info


def _lines(events: Sequence[Mapping[str, Any]]) -> bytes:
    lines = (json.dumps(row, default=str, ensure_ascii=False) for row in events)
    return "".join(f"{line}\n" for line in lines).encode()


def _model_file(lake: Lake, file: tuple[str, str], held: ZipFile | None, name: str) -> bytes | None:
    """Read a model file and check it; once it is removed, from the archive of before."""
    try:
        return get_file(lake.settings, file)
    except RegistryError:
        if held is not None and name in held.namelist():
            data = held.read(name)
            if hashlib.sha256(data).hexdigest() == file[1]:
                return data
        return None


@contextmanager
def _held(lake: Lake) -> Iterator[ZipFile | None]:
    """Open the archive of before, if there is one that was verified."""
    archive = recorded(lake)
    if archive is None:
        yield None
        return
    path = lake.settings.path(archive.uri)
    with lake.settings.filesystem().open_input_file(path) as source, ZipFile(source) as held:
        yield held


def _digest(lake: Lake, uri: str) -> str | None:
    """Read an object for its SHA-256; None if there is none."""
    try:
        with lake.settings.filesystem().open_input_stream(lake.settings.path(uri)) as source:
            return _copy(source)
    except FileNotFoundError:
        return None


def _copy(source: Any, sink: Any = None) -> str:
    """Copy piece by piece, or only read; returns the SHA-256."""
    digest = hashlib.sha256()
    while piece := source.read(_PIECE):
        digest.update(piece)
        if sink is not None:
            sink.write(piece)
    return digest.hexdigest()
