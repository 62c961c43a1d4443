"""The ``lake`` data source: Delta tables on the store as Spark frames, without extra jars.

Partitions are files, read by the Spark workers straight from the store with pyarrow. Credentials
come from the environment of the Spark server and its workers (``RELEVO_STORE_*``), never from
options, which Spark shows in plans and logs.

Writing is not part of it: Spark workers write files with
:func:`include.storage.data_files.write_files` inside ``mapInArrow`` and the task commits them
once (see docs/adr/0003).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from include.storage.data_files import open_data_file
from include.storage.lake_tables import PARTITION, Lake, with_partition
from include.storage.lineage import TableReference
from include.storage.parquet import open_parquet
from include.storage.settings import StoreSettings


class FilePartition(InputPartition):
    """One Parquet file of a table, and the table partition that it belongs to."""

    def __init__(self, path: str, partition: str) -> None:
        super().__init__(path)
        self.path = path
        self.partition = partition


class LakeDataSource(DataSource):
    """``spark.read.format("lake")``.

    Options:
        pipeline: Pipeline that owns the table.
        table: Name of the table.
        version: Delta version to read as of.
        partitions: JSON list of partitions to read; all of them if absent.
        columns: JSON list of columns to read; all of them if absent.
    """

    @classmethod
    def name(cls) -> str:
        """Name the format."""
        return "lake"

    def schema(self) -> StructType:
        """Take the schema from the table's log, cut down to the asked columns."""
        from pyspark.sql.pandas.types import from_arrow_schema

        return from_arrow_schema(_arrow_schema(self.options))

    def reader(self, schema: StructType) -> LakeReader:
        """Make the reader."""
        return LakeReader(dict(self.options))


class LakeReader(DataSourceReader):
    """Reads one table at one version; one Spark task per file."""

    def __init__(self, options: dict[str, str]) -> None:
        self.options = options

    def partitions(self) -> list[FilePartition]:
        """List the files as Spark partitions."""
        lake, table, version = _table(self.options)
        wanted = json.loads(self.options.get("partitions", "null"))
        whole = TableReference(lake.pipeline, table, version, None, 0)
        return [
            FilePartition(f"{lake.uri(table)}/{file.path}", file.partition)
            for file in lake.files(whole)
            if wanted is None or file.partition in wanted
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read one file as record batches in the table's column order."""
        if not isinstance(partition, FilePartition):
            return  # of no files Spark makes one partition of its own, without a value
        schema = _arrow_schema(self.options)
        stored = [name for name in schema.names if name != PARTITION]
        settings = StoreSettings.from_environment()
        with open_data_file(settings, partition.path) as source:
            rows = open_parquet(source).read(columns=stored)
        if PARTITION in schema.names:
            rows = with_partition(rows, partition.partition)
        for field in schema:
            if field.name not in rows.column_names:  # came to the table after this file
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        yield from rows.select(schema.names).cast(schema).to_batches()


def read(
    spark: Any,
    lake: Lake,
    table: str,
    *,
    version: int,
    partitions: list[str] | None = None,
    columns: list[str] | None = None,
) -> Any:
    """Open a table as of a version as a Spark frame.

    Args:
        spark: Session from :func:`include.spark.session.connect`.
        lake: The pipeline's tables.
        table: Name of the table.
        version: Delta version.
        partitions: Partitions to read; all of them if None.
        columns: Columns to read; all of them if None.
    """
    reader = spark.read.format("lake").option("pipeline", lake.pipeline).option("table", table)
    reader = reader.option("version", str(version))
    if partitions is not None:
        reader = reader.option("partitions", json.dumps(partitions))
    if columns is not None:
        reader = reader.option("columns", json.dumps(columns))
    return reader.load()


def _table(options: dict[str, str]) -> tuple[Lake, str, int]:
    lake = Lake(StoreSettings.from_environment(), options["pipeline"])
    return lake, options["table"], int(options["version"])


def _arrow_schema(options: dict[str, str]) -> pa.Schema:
    lake, table, version = _table(options)
    schema = pa.schema(lake.open(table, version).schema().to_arrow())
    plain = [field.with_type(_plain(field.type)) for field in schema]
    columns = json.loads(options.get("columns", "null"))
    return pa.schema([field for field in plain if columns is None or field.name in columns])


def _plain(dtype: pa.DataType) -> pa.DataType:
    return pa.string() if dtype in (pa.large_string(), pa.string_view()) else dtype
