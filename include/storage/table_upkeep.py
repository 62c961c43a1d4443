"""Keeping tables small and quick to open, without a change that a reader or a writer would notice.

A version is *held* if it was the latest at some moment since a cutoff, or if something on record
refers to it. A data file that no held version needs, and that was written before the cutoff, is
read by nobody any more. No commit of a log is ever cut: it says who wrote what.

Whoever commits wins over what is done here: a compaction that meets another commit is left to the
next time, and a writer that meets a compaction tries again as it does with any other commit.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from include.storage.data_files import DataFile, open_data_file
from include.storage.inventory import StoredTable
from include.storage.lake_tables import Lake
from include.storage.lineage import TableReference
from include.storage.lineage_records import PartitionCommits, written
from include.storage.object_store import THREADS, ObjectStore, StoredObject
from include.storage.parquet import open_parquet

# Each event is a file until it is compacted, and whoever adds one reads them all (4 ms a file).
FEW_FILES = 16
# A file that has grown to this is not written again with what comes after it.
_WHOLE = 4 * 2**20


def unneeded_files(
    lake: Lake,
    table: StoredTable,
    references: Collection[TableReference],
    drafted: Collection[str],
    cutoff: datetime,
) -> list[StoredObject]:
    """List the data files of a table that no held version needs.

    Args:
        lake: The pipeline's tables.
        table: The table, as it was listed before this call.
        references: Partitions of the table at versions that are on record.
        drafted: Names of files that a draft consists of.
        cutoff: Versions that were the latest since then are held, aware.
    """
    old = [item for item in table.files if item.modified < cutoff and item.name not in drafted]
    # From what costs least on: there may soon be nothing left to look for.
    for held in (_names_now, _names_at_cutoff, _names_since, _names_on_record):
        if old:
            needed = held(lake, table, references, cutoff)
            old = [item for item in old if item.name not in needed]
    return old


def _names_now(lake: Lake, table: StoredTable, *_: object) -> set[str]:
    return _names(lake, lake.reference(table.name))


def _names_at_cutoff(lake: Lake, table: StoredTable, _: object, cutoff: datetime) -> set[str]:
    version = table.version_at(cutoff)
    if version is None:
        return set()
    return _names(lake, TableReference(lake.pipeline, table.name, version, None, 0))


def _names_since(lake: Lake, table: StoredTable, _: object, cutoff: datetime) -> set[str]:
    """Name the files that commits since the cutoff added, also those replaced since."""
    store = ObjectStore(lake.settings)
    store.connect()
    log = f"{lake.uri(table.name)}/_delta_log"
    since = [f"{log}/{v:020d}.json" for v, made in table.commits.items() if made > cutoff]
    found: set[str] = set()
    with ThreadPoolExecutor(THREADS) as pool:
        for text in pool.map(store.read, since):
            found |= {
                _name(unquote(action["add"]["path"]))
                for action in map(json.loads, text.splitlines())
                if "add" in action
            }
    return found


def _names_on_record(
    lake: Lake, table: StoredTable, references: Collection[TableReference], _: object
) -> set[str]:
    """Name the files of partitions at versions that are on record, unless they are those of now."""
    commits = PartitionCommits(written(lake, table.name) if references else ())
    found: set[str] = set()
    for reference in references:
        name = str(reference.partition)
        then = commits.until(name, reference.version) if name in commits else None
        is_of_now = then is not None and then is commits.at(name)
        # The log of a version that an earlier release cleaned away cannot be read any more.
        if not is_of_now and reference.version in table.commits:
            found |= _names(lake, reference)
    return found


def _names(lake: Lake, reference: TableReference) -> set[str]:
    return {_name(file.path) for file in lake.files(reference)}


def _name(path: str) -> str:
    """Take the last part of a path, which is unique: every writer puts a random number into it."""
    return path.rpartition("/")[2]


def is_of_events(delta: DeltaTable) -> bool:
    """Tell whether a table is one of events.

    Only those are compacted. A partition is one file or a few large ones; who writes it tells by
    their names whether it wrote it already, or another run came in between.
    """
    return not delta.metadata().partition_columns


def scattered(lake: Lake, tables: Iterable[StoredTable]) -> list[tuple[str, int]]:
    """List the tables of events that consist of more than a few small files, with how many."""
    found = []
    for table in tables:
        if len(table.files) > FEW_FILES and is_of_events(lake.open(table.name)):
            small = len(_small(lake, lake.reference(table.name)))
            if small > FEW_FILES:
                found.append((table.name, small))
    return found


def _small(lake: Lake, whole: TableReference) -> list[DataFile]:
    return [file for file in lake.files(whole) if file.size < _WHOLE]


def compact(lake: Lake, table: str, by: str) -> bool:
    """Write the small files of a table of events as one; its events and their order stay.

    The commit names no run of a pipeline, so lineage passes over it. It is not delta-rs's own
    OPTIMIZE: of two at once from one version (a worker that was taken for dead) both go through in
    release 1.6.6, and every row is there twice. This one is the next version, or a conflict.

    Args:
        lake: The pipeline's tables.
        table: Name of the table.
        by: Who does it, for the log.

    Returns:
        Whether the table consists of few files now: not if another writer came first.
    """
    delta = lake.open(table)
    whole = TableReference(lake.pipeline, table, delta.version(), None, 0)
    small = _small(lake, whole)
    if len(small) <= FEW_FILES:
        return True
    rows = _read(lake, table, small, pa.schema(delta.schema().to_arrow()))
    name = f"{uuid.uuid4().hex}.parquet"
    path = lake.settings.path(f"{lake.uri(table)}/{name}")
    with lake.settings.filesystem().open_output_stream(path) as sink:
        pq.write_table(rows, sink, compression="zstd")
        size = sink.tell()
    made = AddAction(
        name, size, {}, 0, data_change=False, stats=json.dumps({"numRecords": rows.num_rows})
    )
    now = int(time.time() * 1000)
    gone = [RemoveAction(file.path, False, now, file.size, {}) for file in small]
    try:
        delta.create_write_transaction(
            [*gone, made],
            mode="append",
            schema=rows.schema,
            commit_properties=CommitProperties(
                custom_metadata={"maintained_by": by}, max_commit_retries=0
            ),
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )
    except CommitFailedError:
        return False
    return True


def _read(lake: Lake, table: str, files: Iterable[DataFile], schema: pa.Schema) -> pa.Table:
    """Read files in the table's columns; those that came later are missing in the first ones."""

    def read(file: DataFile) -> pa.Table:
        with open_data_file(lake.settings, f"{lake.uri(table)}/{file.path}") as source:
            return open_parquet(source).read()

    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(read, files))
    rows = pa.concat_tables([schema.empty_table(), *parts], promote_options="permissive")
    return rows.select(schema.names).cast(schema)
