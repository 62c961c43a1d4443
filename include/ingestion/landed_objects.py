"""What counts as landed: the data files below an address, and the folders that are partitions.

Writers, editors and notebooks leave files behind that hold other rows, or the same rows again.
Left aside is what has a part of its path, below the source's folder, that begins with ``_``,
``.``, ``~`` or ``#`` (but for ``_name=value``), ends as in ``UNFINISHED``, or is a file manager's
own; and an object of 0 bytes that is not named as a data file: it marks something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from include.calendar import partitions
from include.calendar.partitions import Frequency, Partition
from include.errors import PartitionError, SourceError
from include.ingestion.readable import FORMATS
from include.specification.sections.sources import PLACEHOLDER
from include.storage.object_store import ObjectStore, StoredObject
from include.storage.settings import StoreSettings
from include.wording import some

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "parquet": (".parquet",),
    "csv": (".csv", ".tsv", ".txt"),
    "json_lines": (".jsonl", ".ndjson", ".json"),
}
UNFINISHED = (
    "~",
    ".tmp",
    ".temp",
    ".swp",
    ".part",
    ".partial",
    ".filepart",
    ".crdownload",
    ".inprogress",
    "._copying_",
    ".crc",
    "_$folder$",
)
_FILE_MANAGERS = (
    *("thumbs.db", "desktop.ini", "icon\r"),
    *("$recycle.bin", "system volume information", "lost+found", "@eadir"),
)
# Of tables whose files are not all of them rows that the table still has.
_TABLE_LOGS = {"_delta_log", ".hoodie"}


@dataclass(frozen=True)
class LandedFiles:
    """Data files below an address.

    Args:
        files: Sorted by address.
        warnings: What was left aside.
    """

    files: tuple[StoredObject, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class LandedFolders:
    """Folders of a source that has one for each partition.

    Args:
        partitions: Those with a data file, in time order.
        strays: Addresses of others that hold something.
        warnings: What was left aside.
    """

    partitions: tuple[Partition, ...]
    strays: tuple[str, ...]
    warnings: tuple[str, ...]


def is_leftover(path: str) -> bool:
    """Tell whether a path below a source's folder is one that holds no rows of the source."""
    for part in path.split("/"):
        name = part.lower()
        if name.startswith((".", "~", "#")) or (name.startswith("_") and "=" not in name):
            return True
        if name.endswith(UNFINISHED) or name in _FILE_MANAGERS:
            return True
    return False


def endings_of(file_format: str) -> tuple[str, ...]:
    """List how names of data files of a format end, in lower case."""
    endings = ENDINGS[file_format]
    if file_format == "parquet":  # packs its pages itself
        return endings
    return endings + tuple(f"{ending}.gz" for ending in endings)


def name_of(item: StoredObject, uri: str) -> str:
    """Name a file by its path below the source's folder."""
    return item.name if item.uri == uri else item.uri.removeprefix(uri.rstrip("/") + "/")


def data_files(objects: Iterable[StoredObject], uri: str, subject: str) -> LandedFiles:
    """Leave aside what holds no rows of a source.

    Args:
        objects: Objects below an address.
        uri: The address.
        subject: Whose they are, for messages.
    """
    files, aside = [], []
    for item in objects:
        path = name_of(item, uri)
        if is_leftover(path):
            if item.size:  # _SUCCESS and its like say nothing
                aside.append(path)
        elif item.size or _is_data(path):
            files.append(item)
    warnings = []
    if aside:
        warnings.append(
            f"{subject}: left aside in {uri} as leftovers of writers or editors: {some(aside)}. "
            "Rename what holds rows of the source, and delete the rest."
        )
    if any(_TABLE_LOGS & set(path.split("/")) for path in aside):
        warnings.append(
            f"{subject}: {uri} is a table of Delta Lake or Hudi, whose files may also hold rows "
            "that it has deleted; they are read. Land an export of it, or read it by a query."
        )
    return LandedFiles(tuple(files), tuple(warnings))


def copies(files: Iterable[StoredObject], uri: str, subject: str) -> tuple[str, ...]:
    """Tell of files with the same content, such as ``a (1).parquet`` beside ``a.parquet``.

    Args:
        files: Files with rows.
        uri: The address below which they are.
        subject: Whose they are, for messages.
    """
    alike: dict[tuple[int, str], list[str]] = {}
    for item in files:
        alike.setdefault((item.size, item.etag), []).append(name_of(item, uri))
    return tuple(
        f"{subject}: {some(names)} in {uri} are the same to the byte, and the rows of each are "
        "read. Delete all but one, if they are copies."
        for names in alike.values()
        if len(names) > 1
    )


def folder_values(columns: Mapping[str, Sequence[str]], subject: str) -> tuple[str, ...]:
    """Tell of values that stand in the names of folders (``country=DE/``) and in no column.

    Args:
        columns: By the name of a file its columns.
        subject: Whose they are, for messages.
    """
    lost: dict[str, str] = {}
    for path, names in columns.items():
        for folder in path.split("/")[:-1]:
            name, equals, _ = folder.partition("=")
            if equals and name not in names:
                lost.setdefault(name, folder)
    if not lost:
        return ()
    return (
        f"{subject}: folder {some(lost.values())} names a value that is no column of its files, "
        "and is not read. Write it into the files as a column if it matters.",
    )


def files_of(
    below: Iterable[StoredObject], itself: Iterable[StoredObject], uri: str, subject: str
) -> LandedFiles:
    """Choose the data files of a folder, or else the one object at the address itself.

    Args:
        below: Objects below the address.
        itself: The object at it, if there is one.
        uri: The address.
        subject: Whose they are, for messages.
    """
    found = data_files(below, uri, subject)
    if found.files or uri.endswith("/"):
        return found
    return LandedFiles(tuple(itself), found.warnings)


def files_at(store: ObjectStore, uri: str, subject: str) -> LandedFiles:
    """List the data files of a folder, or the one object that is at the address itself."""
    return files_of(store.list(uri), _at(store, uri), uri, subject)


def _at(store: ObjectStore, uri: str) -> Iterator[StoredObject]:
    """Find the object at an address, if anybody asks for it."""
    for item in store.list(uri.rpartition("/")[0]):
        if item.uri == uri:
            yield item


def list_files(settings: StoreSettings, uri: str, file_format: str, subject: str) -> LandedFiles:
    """List the data files of a folder, or the one object that is at the address itself.

    Raises:
        SourceError: If there is none, one is empty, or one is of another format.
    """
    found = files_at(ObjectStore(settings), uri, subject)
    words = FORMATS[file_format]
    if not found.files:
        aside = "".join(f" ({warning.rpartition('. ')[0]})" for warning in found.warnings[:1])
        raise SourceError(
            f"{subject}: must have at least one {words} file in {uri}, got none{aside}. "
            "Land the file and clear this task with downstream, or correct the source's uri."
        )
    endings = endings_of(file_format)
    foreign = [name_of(i, uri) for i in found.files if not i.name.lower().endswith(endings)]
    if foreign:
        raise SourceError(
            f"{subject}: files must be {words} and end in {', '.join(endings)}, got "
            f"{some(foreign)}. Convert them, move them out of the folder, or correct the source's "
            "format."
        )
    hollow = [name_of(item, uri) for item in found.files if item.size == 0]
    if hollow:
        raise SourceError(
            f"{subject}: files must not be empty, got 0 bytes in {some(hollow)}. "
            "Land them again: the upload was cut off."
        )
    return found


def list_folders(store: ObjectStore, uri: str, frequency: Frequency, subject: str) -> LandedFolders:
    """List the partitions of a source whose address holds ``{partition}``.

    Args:
        store: Where they are.
        uri: The source's address.
        frequency: How its partitions are named.
        subject: The source, for messages.
    """
    before, _, after = uri.partition(PLACEHOLDER)
    # Other sources may lie below the same folder: s3://landing/{partition}/loans/.
    folder = re.compile(
        f"({re.escape(before)}([^/]+?){re.escape(after.rstrip('/'))})(?:/(.*)|$)", re.DOTALL
    )
    found, strays = set(), dict[str, None]()
    for item in store.list(before.rpartition("/")[0]):
        match = folder.fullmatch(item.uri)
        if match is None or is_leftover(match[3] or "") or not (item.size or _is_data(item.name)):
            continue
        try:
            partition = partitions.parse(match[2], frequency)
        except PartitionError:
            strays[match[1]] = None
            continue
        if match[3] is None and after.endswith("/"):
            strays[match[1]] = None  # a file beside the folders
        else:
            found.add(partition)
    warnings: tuple[str, ...] = ()
    if strays:
        warnings = (
            f"{subject}: left aside {some(strays)}: partitions of the source are named like "
            f"{partitions.example(frequency)!r}. Rename it, or move it elsewhere.",
        )
    return LandedFolders(tuple(sorted(found)), tuple(strays), warnings)


def _is_data(path: str) -> bool:
    return path.lower().endswith(tuple(end for form in ENDINGS for end in endings_of(form)))
