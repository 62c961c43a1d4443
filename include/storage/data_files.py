"""The Parquet files of tables: written below a table, and visible once they are committed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from include.errors import TableError
from include.storage.settings import StoreSettings

PARTITION = "partition"


@dataclass(frozen=True)
class DataFile:
    """A Parquet file written below a table and not yet committed.

    Args:
        path: Path relative to the table.
        partition: Partition that it belongs to.
        size: Bytes.
        rows: Rows.
    """

    path: str
    partition: str
    size: int
    rows: int

    def to_action(self) -> AddAction:
        """Render as a Delta add action."""
        return AddAction(
            path=self.path,
            size=self.size,
            partition_values={PARTITION: self.partition},
            modification_time=0,
            data_change=True,
            stats=json.dumps({"numRecords": self.rows}),
        )


def committed_files(delta: DeltaTable) -> list[DataFile]:
    """List the files that a table consists of, as its log tells."""
    actions = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    return [
        DataFile(
            path=action["path"],
            partition=action.get(f"partition.{PARTITION}") or "",
            size=action["size_bytes"],
            rows=action["num_records"],
        )
        for action in actions
    ]


def write_files(settings: StoreSettings, table_uri: str, rows: pa.Table) -> tuple[DataFile, ...]:
    """Write one new Parquet file per partition of the rows below a table, without committing.

    Nothing is visible before the commit; a file that is never committed is an orphan that vacuum
    collects. Runs in tasks and in Spark workers alike.

    Args:
        settings: Where the store is.
        table_uri: Address of the table.
        rows: Rows with a ``partition`` column, which goes into the path and not into the file.
    """
    filesystem = settings.filesystem()
    root = settings.path(table_uri)
    files = []
    for partition in sorted(rows[PARTITION].unique().to_pylist()):
        part = rows.filter(pc.equal(rows[PARTITION], partition)).drop_columns([PARTITION])
        path = f"{PARTITION}={partition}/{uuid.uuid4().hex}.parquet"
        with filesystem.open_output_stream(f"{root}/{path}") as sink:
            pq.write_table(part, sink, compression="zstd")
            size = sink.tell()
        files.append(DataFile(path, partition, size, part.num_rows))
    return tuple(files)


@contextmanager
def open_data_file(settings: StoreSettings, uri: str) -> Iterator[Any]:
    """Open a committed file for reading.

    Raises:
        TableError: If maintenance removed it.
    """
    with told_if_removed(uri), settings.filesystem().open_input_file(settings.path(uri)) as source:
        yield source


@contextmanager
def told_if_removed(what: str) -> Iterator[None]:
    """Say of a file that is there no more, why and what to do.

    Args:
        what: Address of the file, or of its table at a version.

    Raises:
        TableError: In place of an error that says that a file does not exist.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise TableError(
            f"{what}: its data files must still be there, got none. Maintenance removes those of "
            "a version that was replaced longer ago than the retention and that nothing on record "
            "refers to. Read a later version, or clear the run from its first task on."
        ) from error
