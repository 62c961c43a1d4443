"""Removing a table wholly: files of all versions, drafts, lineage, and last its log.

Nobody may write the table meanwhile. Killed anywhere it is finished by doing it again, and until
then whoever opens the table finds its latest version, whose files are gone, or an error, and never
an earlier version: the last commit is deleted after everything else, and a log with a gap before it
is not read.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from include.storage.lake_tables import Lake
from include.storage.object_store import THREADS, ObjectStore, StoredObject
from include.storage.settings import LAKE


def list_table(lake: Lake, table: str) -> list[StoredObject]:
    """List all objects of a table, in the order in which they are removed."""
    return [item for group in _groups(lake, table) for item in group]


def remove_table(lake: Lake, table: str) -> tuple[int, int]:
    """Remove a table wholly; of one that is gone nothing is left to do.

    Args:
        lake: The pipeline's tables.
        table: Name of the table, which nobody writes any more.

    Returns:
        How many objects were removed, and their bytes.
    """
    store = ObjectStore(lake.settings)
    store.connect()
    groups = _groups(lake, table)
    for group in groups:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(store.delete, [item.uri for item in group]))
    return sum(map(len, groups)), sum(item.size for group in groups for item in group)


def _groups(lake: Lake, table: str) -> tuple[list[StoredObject], ...]:
    """Part the objects: drafts, so that no task takes one up; all else; the last commit."""
    store, root = ObjectStore(lake.settings), f"s3://{LAKE}/{lake.pipeline}"
    held = list(store.list(lake.uri(table)))
    log = [item for item in held if item.uri.startswith(f"{lake.uri(table)}/_delta_log/")]
    last = [item for item in log if item.name.endswith(".json")][-1:]
    rest = [item for item in held if item not in last]
    return (
        list(store.list(f"{root}/drafts/{table}")),
        [
            *rest,
            *store.list(f"{root}/lineage/{table}"),
        ],
        last,
    )
