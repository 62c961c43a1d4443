"""Delta tables on the store: read as of a version, write a partition once.

Every table has a string column ``partition``. A write replaces whole partitions in one atomic
commit that carries its origin and an application transaction, so two writers of the same
partition conflict instead of doubling rows, and a retry ends in the same rows. Tables of events
(``include.storage.event_tables``) are only added to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow.fs import SubTreeFileSystem

from include.errors import TableError
from include.storage import lineage_records
from include.storage.concurrent_commits import commit
from include.storage.data_files import PARTITION as PARTITION
from include.storage.data_files import DataFile, committed_files, told_if_removed, write_files
from include.storage.lineage import Origin, TableReference
from include.storage.settings import LAKE, StoreSettings
from include.storage.table_properties import PROPERTIES, set_properties
from include.storage.table_schema import check_schema, widened


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
        for file in () if delta is None else committed_files(delta):
            counts[file.partition] = counts.get(file.partition, 0) + file.rows
        return counts

    def paths(self, table: str, *partitions: str) -> frozenset[str]:
        """Name the files that partitions consist of now; none if they were never written."""
        delta = self._held(table)
        files = () if delta is None else committed_files(delta)
        return frozenset(file.path for file in files if file.partition in partitions)

    def files(self, reference: TableReference) -> tuple[DataFile, ...]:
        """List the files of a partition (of the whole table if it names none), sorted by path."""
        files = committed_files(self.open(reference.table, reference.version))
        wanted = [f for f in files if reference.partition in (None, f.partition)]
        return tuple(sorted(wanted, key=lambda file: file.path))

    def reference(self, table: str, partition: str | None = None) -> TableReference:
        """Refer to a partition at the latest version.

        Raises:
            TableError: If the table or the partition does not exist.
        """
        reference = self.latest(TableReference(self.pipeline, table, 0, partition, 0))
        if partition is not None and reference.rows == 0:
            raise TableError(
                f"table {self.pipeline}.{table}: partition {partition} must have rows, got none. "
                "Run the task that writes it."
            )
        return reference

    def latest(self, reference: TableReference) -> TableReference:
        """Refer to the same partition at the latest version; it may be empty."""
        delta = self.open(reference.table)
        files = committed_files(delta)
        rows = sum(f.rows for f in files if reference.partition in (None, f.partition))
        return replace(reference, version=delta.version(), rows=rows)

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
        where = None
        if partitions is not None:
            where = pc.field(PARTITION).isin(pa.array(list(partitions), pa.string()))
        return self._rows(table, self.open(table, version), where, columns)

    def read_held(self, table: str, where: pc.Expression | None = None) -> pa.Table:
        """Read the latest version, or what a condition picks; nothing if it was never written."""
        delta = self._held(table)
        return pa.table({}) if delta is None else self._rows(table, delta, where)

    def _rows(
        self,
        table: str,
        delta: DeltaTable,
        where: pc.Expression | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        root = self.settings.path(self.uri(table))
        with told_if_removed(f"table {self.pipeline}.{table} at version {delta.version()}"):
            return delta.to_pyarrow_table(
                filters=where,
                columns=None if columns is None else list(columns),
                filesystem=SubTreeFileSystem(root, self.settings.filesystem()),
            )

    def write(
        self,
        table: str,
        rows: pa.Table,
        *,
        partitions: Sequence[str],
        origin: Origin,
        details: Mapping[str, str] | None = None,
    ) -> TableReference:
        """Replace partitions in one atomic commit.

        Args:
            table: Name of the table; made if it does not exist.
            rows: New rows, with a ``partition`` column whose values are all in ``partitions``.
            partitions: Partitions to replace; one without new rows ends up empty.
            origin: Who writes, from what.
            details: What the log and the lineage say besides.

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
        return self.commit(
            table, files, rows.schema, partitions=partitions, origin=origin, details=details
        )

    def commit(
        self,
        table: str,
        files: Sequence[DataFile],
        schema: pa.Schema,
        *,
        partitions: Sequence[str],
        origin: Origin,
        details: Mapping[str, str] | None = None,
        replacing: Collection[str] | None = None,
        optional: Collection[str] = (),
    ) -> TableReference:
        """Replace partitions by files that are already below the table, in one atomic commit.

        If the partitions consist of just these files, nothing is committed; an empty partition
        that has details is, so that they are on record.

        Args:
            table: Name of the table; made if it does not exist.
            files: New files of the partitions.
            schema: Their columns, and ``partition``.
            partitions: Partitions to replace; one without new files ends up empty.
            origin: Who writes, from what.
            details: What the log and the lineage say besides.
            replacing: Paths that the partitions must still consist of, else nothing is committed:
                another writer came first; by default whatever they hold is replaced.
            optional: Columns that files may have or lack, which a table gets with the first files
                that have them; rows of files that lack one are null there.

        Raises:
            TableError: If the columns do not fit the table, or other writers win ten times.
        """
        delta = self.prepare(table, schema, optional)
        application = f"{table}/{','.join(partitions)}"
        quoted = [(PARTITION, "in", list(partitions))]
        said = lineage_records.metadata(origin, partitions, details or {})
        new = {file.path for file in files}
        committed: list[int] = []

        def attempt() -> int:
            delta.update_incremental()
            version = int(delta.version())
            now = {file.path for file in committed_files(delta) if file.partition in partitions}
            # The same files again are those of a commit whose answer was lost, or of a clear; that
            # there are none says nothing by itself.
            is_known = now == new and (
                new or lineage_records.is_told(self, table, partitions, details or {})
            )
            if is_known or (replacing is not None and now not in (new, set(replacing))):
                return version
            delta.create_write_transaction(
                [file.to_action() for file in files],
                mode="overwrite",
                schema=widened(pa.schema(delta.schema().to_arrow()), schema),
                partition_by=[PARTITION],
                partition_filters=quoted,
                commit_properties=self._properties(delta, application, said),
            )
            # Without retries of its own a commit is the next version or a conflict; the latest
            # version may be another writer's already.
            committed.append(version + 1)
            return version + 1

        version = commit(f"{self.pipeline}.{table}", attempt)
        partition = partitions[0] if len(partitions) == 1 else None
        rows = sum(file.rows for file in files)
        reference = TableReference(self.pipeline, table, version, partition, rows)
        if committed:
            lineage_records.record(self.settings, reference, origin, partitions, details or {})
        return reference

    def prepare(self, table: str, schema: pa.Schema, optional: Collection[str] = ()) -> DeltaTable:
        """Open a table for writing, made if it does not exist; one without rows takes the columns.

        Raises:
            TableError: If the columns do not fit the table.
        """
        delta = self._ensure(table, schema)
        try:
            held = pa.schema(delta.schema().to_arrow())
            check_schema(f"table {self.pipeline}.{table}", held, schema, optional)
        except TableError:
            if committed_files(delta):
                raise
            # What was drafted first was refused.
            delta = self._create(table, schema, mode="overwrite")
        return delta

    def append(
        self, table: str, schema: pa.Schema, make: Callable[[pa.Table], pa.Table], *, origin: Origin
    ) -> int:
        """Append what ``make`` makes of the rows that are held; returns how many rows that is.

        It is asked again when another writer came first. Columns that the table lacks are added.
        """
        delta = self._ensure(table, schema, partitioned=False)

        def attempt() -> int:
            delta.update_incremental()
            rows = make(self._rows(table, delta))
            if rows.num_rows:
                write_deltalake(
                    delta,
                    rows,
                    mode="append",
                    schema_mode="merge",
                    commit_properties=self._properties(delta, table, origin.metadata()),
                )
            return int(rows.num_rows)

        return commit(f"{self.pipeline}.{table}", attempt)

    def remove(self, table: str, where: str, *, origin: Origin) -> None:
        """Remove rows in one atomic commit; other rows of their partitions stay as they are.

        Args:
            table: Name of the table; one that was never written has none.
            where: SQL condition over its columns.
            origin: Who removes.
        """
        delta = self._held(table)
        if delta is None:
            return

        def attempt() -> int:
            delta.update_incremental()
            delta.delete(where, commit_properties=self._properties(delta, table, origin.metadata()))
            return int(delta.version())

        commit(f"{self.pipeline}.{table}", attempt)

    def _ensure(self, table: str, schema: pa.Schema, *, partitioned: bool = True) -> DeltaTable:
        if (held := self._held(table)) is not None:
            set_properties(held)
            return held
        return self._create(table, schema, mode="ignore", partitioned=partitioned)

    def _create(
        self,
        table: str,
        schema: pa.Schema,
        *,
        mode: Literal["ignore", "overwrite"],
        partitioned: bool = True,
    ) -> DeltaTable:
        # Two tasks may make it at once: the one that comes second takes what is there.
        with suppress(CommitFailedError):
            DeltaTable.create(
                self._url(table),
                schema=schema,
                mode=mode,
                partition_by=[PARTITION] if partitioned else None,
                configuration=PROPERTIES,
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

    def _properties(
        self, delta: DeltaTable, application: str, said: dict[str, str]
    ) -> CommitProperties:
        version = (delta.transaction_version(application) or 0) + 1
        return CommitProperties(
            custom_metadata=said,
            max_commit_retries=0,
            app_transactions=[Transaction(application, version)],
        )

    def _url(self, table: str) -> str:
        """Address of a table as the store knows it, for delta-rs."""
        return f"s3://{self.settings.path(self.uri(table))}"


def with_partition(rows: pa.Table, partition: str) -> pa.Table:
    """Set the ``partition`` column of all rows."""
    column = pa.array([partition], pa.string()).take(pa.array([0] * rows.num_rows, pa.int32()))
    if PARTITION in rows.column_names:
        rows = rows.drop_columns([PARTITION])
    return rows.append_column(PARTITION, column)
