"""What lies on the store below a pipeline's folder of the lake, from one listing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore, StoredObject
from include.storage.settings import LAKE

_LOG = "_delta_log/"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")


@dataclass(frozen=True)
class StoredTable:
    """A table as its objects lie on the store.

    Args:
        name: Its name.
        files: Its data files, also those that no version holds.
        commits: When each version was made by the store's clock, aware; of those whose entry the
            log still has.
        checkpoints: By version, what its log added up to.
    """

    name: str
    files: tuple[StoredObject, ...]
    commits: Mapping[int, datetime]
    checkpoints: Mapping[int, StoredObject]

    def past_checkpoints(self) -> tuple[StoredObject, ...]:
        """List all checkpoints but the latest, unless an earlier release cut the log to them."""
        if set(self.commits) != set(range(len(self.commits))):
            return ()
        return tuple(self.checkpoints[version] for version in sorted(self.checkpoints)[:-1])

    def version_at(self, moment: datetime) -> int | None:
        """Name the version that was the latest at a moment, or the first one that is known.

        None of a table whose first commit is being made.
        """
        before = [version for version, made in self.commits.items() if made <= moment]
        return max(before) if before else min(self.commits, default=None)


@dataclass(frozen=True)
class Inventory:
    """The objects of a pipeline in the lake.

    Args:
        tables: By name.
        drafts: Manifests of drafts.
        models: Files of models and references.
        usage: By kind (``data``, ``log``, ``drafts``, ``models``, ``records``), (files, bytes).
    """

    tables: Mapping[str, StoredTable]
    drafts: tuple[StoredObject, ...]
    models: tuple[StoredObject, ...]
    usage: Mapping[str, tuple[int, int]]

    def removable(self) -> Iterator[StoredObject]:
        """Go through what maintenance may remove: neither commits nor records."""
        for table in self.tables.values():
            yield from (*table.files, *table.checkpoints.values())
        yield from (*self.drafts, *self.models)


def take_inventory(lake: Lake) -> Inventory:
    """List what is there."""
    root = f"s3://{LAKE}/{lake.pipeline}/"
    folders: dict[str, list[StoredObject]] = {}
    for item in ObjectStore(lake.settings).list(root):
        folders.setdefault(item.uri.removeprefix(root).partition("/")[0], []).append(item)
    tables = {
        name: _table(name, f"{root}{name}/", items)
        for name, items in folders.items()
        if any(item.uri.startswith(f"{root}{name}/{_LOG}") for item in items)
    }
    kinds: dict[str, list[StoredObject]] = {}
    for name, items in folders.items():
        for item in items:
            kinds.setdefault(_kind(name, item, tables), []).append(item)
    return Inventory(
        tables=tables,
        drafts=tuple(folders.get("drafts", ())),
        models=tuple(folders.get("models", ())),
        usage={kind: count(items) for kind, items in sorted(kinds.items())},
    )


def take_table(lake: Lake, name: str) -> StoredTable:
    """List what is there of one table."""
    root = f"{lake.uri(name)}/"
    return _table(name, root, list(ObjectStore(lake.settings).list(root)))


def count(items: Iterable[StoredObject]) -> tuple[int, int]:
    """Count objects and add up their bytes."""
    sizes = [item.size for item in items]
    return len(sizes), sum(sizes)


def _kind(folder: str, item: StoredObject, tables: Mapping[str, StoredTable]) -> str:
    if folder in tables:
        return "log" if f"/{folder}/{_LOG}" in item.uri else "data"
    return folder if folder in ("drafts", "models") else "records"


def _is_data(path: str) -> bool:
    """Tell whether a path below a table is that of a data file; what other engines add is not."""
    return path.endswith(".parquet") and not path.startswith("_")


def _table(name: str, root: str, items: list[StoredObject]) -> StoredTable:
    log = [item for item in items if item.uri.startswith(root + _LOG)]
    commits = {int(found[1]): item.modified for item in log
               if (found := _COMMIT.fullmatch(item.name))}  # fmt: skip
    checkpoints = {int(found[1]): item for item in log
                   if (found := _CHECKPOINT.fullmatch(item.name))}  # fmt: skip
    return StoredTable(
        name=name,
        files=tuple(item for item in items if _is_data(item.uri.removeprefix(root))),
        commits=commits,
        checkpoints=checkpoints,
    )
