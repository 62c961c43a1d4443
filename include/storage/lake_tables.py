"""Delta tables on the store: read as of a version, write a partition once.

Every table has a string column ``partition``. A write replaces whole partitions in one atomic
commit that carries its origin and an application transaction, so two writers of the same
partition conflict instead of doubling rows, and a retry ends in the same rows. Tables of events
(``include.storage.event_tables``) are only added to.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction
from pyarrow.fs import SubTreeFileSystem
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from include.errors import TableError
from include.storage.lineage import Origin, TableReference
from include.storage.settings import LAKE, StoreSettings

PARTITION = "partition"
_COMMIT_ATTEMPTS = 10


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


class Lake:
    """The tables of one pipeline.

    Args:
        settings: Where the store is.
        pipeline: Name of the pipeline; its tables lie below ``s3://lake/<pipeline>/``.
    """

    def __init__(self, settings: StoreSettings, pipeline: str) -> None:
        self.settings = settings
        self.pipeline = pipeline

    def uri(self, table: str) -> str:
        """Address of a table."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", table):
            raise TableError(f"table {table!r}: a name is lower case, digits and underscores.")
        return f"s3://{LAKE}/{self.pipeline}/{table}"

    def exists(self, table: str) -> bool:
        """Tell whether a table was ever written."""
        return bool(DeltaTable.is_deltatable(self._url(table), self.settings.storage_options()))

    def open(self, table: str, version: int | None = None) -> DeltaTable:
        """Open a table, at a version.

        Raises:
            TableError: If there is no such table or version.
        """
        try:
            return DeltaTable(
                self._url(table), version=version, storage_options=self.settings.storage_options()
            )
        except (TableNotFoundError, DeltaError) as error:
            at = "" if version is None else f" at version {version}"
            raise TableError(
                f"table {self.pipeline}.{table}: must exist{at}, got none. "
                "Run the task that writes it, or restore the version."
            ) from error

    def schema(self, table: str) -> pa.Schema | None:
        """Tell the columns of a table; None if it was never written."""
        delta = self._held(table)
        return None if delta is None else pa.schema(delta.schema().to_arrow())

    def partitions(self, table: str) -> tuple[str, ...]:
        """List the partitions of a table, sorted; none if it was never written."""
        delta = self._held(table)
        return tuple(sorted({item[PARTITION] for item in delta.partitions()} if delta else ()))

    def row_counts(self, table: str) -> dict[str, int]:
        """Count the rows of each partition, from the log alone."""
        delta = self._held(table)
        counts: dict[str, int] = {}
        for file in () if delta is None else self._files(delta):
            counts[file.partition] = counts.get(file.partition, 0) + file.rows
        return counts

    def files(self, reference: TableReference) -> tuple[DataFile, ...]:
        """List the files of a partition (of the whole table if it names none), sorted by path."""
        files = self._files(self.open(reference.table, reference.version))
        wanted = [f for f in files if reference.partition in (None, f.partition)]
        return tuple(sorted(wanted, key=lambda file: file.path))

    def reference(self, table: str, partition: str | None = None) -> TableReference:
        """Refer to a partition at the latest version.

        Raises:
            TableError: If the table or the partition does not exist.
        """
        delta = self.open(table)
        rows = sum(f.rows for f in self._files(delta) if partition in (None, f.partition))
        if partition is not None and rows == 0:
            raise TableError(
                f"table {self.pipeline}.{table}: partition {partition} must have rows, got none. "
                "Run the task that writes it."
            )
        return TableReference(self.pipeline, table, delta.version(), partition, rows)

    def read(
        self,
        table: str,
        *,
        partitions: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Read a table into Arrow.

        Args:
            table: Name of the table.
            partitions: Partitions to read; all of them if None.
            columns: Columns to read; all of them if None.
            version: Version to read as of; the latest if None.

        Returns:
            The rows, in no particular order.

        Raises:
            TableError: If there is no such table or version.
        """
        return self._rows(table, self.open(table, version), partitions, columns)

    def read_held(self, table: str, partitions: Sequence[str] | None = None) -> pa.Table:
        """Read the latest version as :meth:`read` does; nothing if it was never written."""
        delta = self._held(table)
        return pa.table({}) if delta is None else self._rows(table, delta, partitions)

    def _rows(
        self,
        table: str,
        delta: DeltaTable,
        partitions: Sequence[str] | None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        root = self.settings.path(self.uri(table))
        wanted = None if partitions is None else pa.array(list(partitions), pa.string())
        return delta.to_pyarrow_table(
            filters=None if wanted is None else pc.field(PARTITION).isin(wanted),
            columns=None if columns is None else list(columns),
            filesystem=SubTreeFileSystem(root, self.settings.filesystem()),
        )

    def write(
        self, table: str, rows: pa.Table, *, partitions: Sequence[str], origin: Origin
    ) -> TableReference:
        """Replace partitions in one atomic commit.

        Args:
            table: Name of the table; made if it does not exist.
            rows: New rows, with a ``partition`` column whose values are all in ``partitions``.
            partitions: Partitions to replace; one without new rows ends up empty.
            origin: Who writes, from what.

        Returns:
            The new version; ``partition`` is None if several were replaced.

        Raises:
            TableError: If a row is outside the partitions, or the columns do not fit the table.
        """
        found = set(rows[PARTITION].unique().to_pylist())
        if not found <= set(partitions):
            raise TableError(
                f"table {self.pipeline}.{table}: rows must lie in {', '.join(partitions)}, "
                f"got {', '.join(sorted(found - set(partitions)))}. Correct the writer."
            )
        files = write_files(self.settings, self.uri(table), rows)
        return self.commit(table, files, rows.schema, partitions=partitions, origin=origin)

    def commit(
        self,
        table: str,
        files: Sequence[DataFile],
        schema: pa.Schema,
        *,
        partitions: Sequence[str],
        origin: Origin,
    ) -> TableReference:
        """Replace partitions by files that are already below the table, in one atomic commit.

        Raises:
            TableError: If the columns do not fit the table, or other writers win ten times.
        """
        delta = self._ensure(table, schema)
        self._check_schema(table, delta, schema)
        application = f"{table}/{','.join(partitions)}"
        quoted = [(PARTITION, "in", list(partitions))]

        def attempt() -> int:
            delta.update_incremental()
            version = int(delta.version())
            held = set(partitions) & {item[PARTITION] for item in delta.partitions()}
            if not files and not held:
                return version
            delta.create_write_transaction(
                [file.to_action() for file in files],
                mode="overwrite",
                schema=schema,
                partition_by=[PARTITION],
                partition_filters=quoted,
                commit_properties=self._properties(delta, application, origin),
            )
            # Without retries of its own a commit is the next version or a conflict; the latest
            # version may be another writer's already.
            return version + 1

        version = self._retry(table, attempt)
        partition = partitions[0] if len(partitions) == 1 else None
        rows = sum(file.rows for file in files)
        return TableReference(self.pipeline, table, version, partition, rows)

    def append(
        self, table: str, schema: pa.Schema, make: Callable[[pa.Table], pa.Table], *, origin: Origin
    ) -> int:
        """Append what ``make`` makes of the rows that are held; returns how many rows that is.

        It is asked again when another writer came first. Columns that the table lacks are added.
        """
        delta = self._ensure(table, schema, partitioned=False)

        def attempt() -> int:
            delta.update_incremental()
            rows = make(self._rows(table, delta, None))
            if rows.num_rows:
                write_deltalake(
                    delta,
                    rows,
                    mode="append",
                    schema_mode="merge",
                    commit_properties=self._properties(delta, table, origin),
                )
            return int(rows.num_rows)

        return self._retry(table, attempt)

    def _retry(self, table: str, attempt: Any) -> int:
        # Concurrent commits conflict and try again from the new state: nobody waits on a lock.
        try:
            for retry in Retrying(
                retry=retry_if_exception_type(CommitFailedError),
                stop=stop_after_attempt(_COMMIT_ATTEMPTS),
                wait=wait_random_exponential(multiplier=0.1, max=5),
                reraise=True,
            ):
                with retry:
                    return int(attempt())
        except CommitFailedError as error:
            raise TableError(
                f"table {self.pipeline}.{table}: other writers won {_COMMIT_ATTEMPTS} times. "
                "Clear the task when they are done."
            ) from error
        raise AssertionError("unreachable: Retrying returns or raises")

    def _ensure(self, table: str, schema: pa.Schema, *, partitioned: bool = True) -> DeltaTable:
        if (held := self._held(table)) is not None:
            return held
        # Two tasks may make it at once: the one that comes second takes what is there.
        with suppress(CommitFailedError):
            DeltaTable.create(
                self._url(table),
                schema=schema,
                mode="ignore",
                partition_by=[PARTITION] if partitioned else None,
                storage_options=self.settings.storage_options(),
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        return self.open(table)

    def _held(self, table: str) -> DeltaTable | None:
        """Open a table as it is now; None if it was never written."""
        try:
            return DeltaTable(self._url(table), storage_options=self.settings.storage_options())
        except TableNotFoundError:
            return None

    def _check_schema(self, table: str, delta: DeltaTable, schema: pa.Schema) -> None:
        held = pa.schema(delta.schema().to_arrow())
        missing = [name for name in held.names if name not in schema.names]
        extra = [name for name in schema.names if name not in held.names]
        changed = [
            f"{name} {held.field(name).type} -> {schema.field(name).type}"
            for name in held.names
            if name in schema.names
            and not _same_type(held.field(name).type, schema.field(name).type)
        ]
        if missing or extra or changed:
            raise TableError(
                f"table {self.pipeline}.{table}: columns must stay as they are, got missing "
                f"{missing or 'none'}, new {extra or 'none'}, changed {changed or 'none'}. "
                "Undo the change, or give the pipeline a new name, which begins new tables."
            )

    def _properties(self, delta: DeltaTable, application: str, origin: Origin) -> CommitProperties:
        version = (delta.transaction_version(application) or 0) + 1
        return CommitProperties(
            custom_metadata=origin.metadata(),
            max_commit_retries=0,
            app_transactions=[Transaction(application, version)],
        )

    def _files(self, delta: DeltaTable) -> list[DataFile]:
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

    def _url(self, table: str) -> str:
        """Address of a table as the store knows it, for delta-rs."""
        return f"s3://{self.settings.path(self.uri(table))}"


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


def with_partition(rows: pa.Table, partition: str) -> pa.Table:
    """Set the ``partition`` column of all rows."""
    column = pa.array([partition], pa.string()).take(pa.array([0] * rows.num_rows, pa.int32()))
    if PARTITION in rows.column_names:
        rows = rows.drop_columns([PARTITION])
    return rows.append_column(PARTITION, column)


def empty(schema: Iterable[tuple[str, pa.DataType]]) -> pa.Table:
    """Make a table without rows."""
    return pa.schema(list(schema)).empty_table()


def _same_type(left: pa.DataType, right: pa.DataType) -> bool:
    strings = (pa.string(), pa.large_string(), pa.string_view())
    return bool(left == right) or (left in strings and right in strings)
