"""Versions stay, whatever cleans by delta's own rules; and a table is opened by few requests."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from include.errors import TableError
from include.storage.data_files import open_data_file
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.lineage_records import PartitionCommits, written
from include.storage.object_store import ObjectStore
from include.storage.table_properties import PROPERTIES

SCHEMA = pa.schema([("id", pa.int64()), ("partition", pa.string())])
_DAYS = 86_400


def aged(folder: Path, properties: dict[str, str], days: int) -> DeltaTable:
    """Overwrite a table 105 times, past a checkpoint; then make it so many days old."""
    DeltaTable.create(folder, SCHEMA, partition_by=["partition"], configuration=properties)
    for number in range(105):
        rows = pa.table({"id": [number], "partition": ["2005-Q1"]}, schema=SCHEMA)
        write_deltalake(folder, rows, mode="overwrite")
    then = time.time() - days * _DAYS
    for path in folder.rglob("*"):
        os.utime(path, (then, then))
    return DeltaTable(folder)


def ids(folder: Path, version: int) -> list[int]:
    rows: list[int] = DeltaTable(folder, version=version).to_pyarrow_table()["id"].to_pylist()
    return rows


def test_every_version_is_read_after_a_year_of_checkpoints_cleaning_and_vacuum(
    tmp_path: Path,
) -> None:
    table = aged(tmp_path, PROPERTIES, days=365)
    write_deltalake(table, pa.table({"id": [1], "partition": ["x"]}, schema=SCHEMA), mode="append")
    table.create_checkpoint()
    table.cleanup_metadata()
    assert table.vacuum(dry_run=False) == []
    assert table.vacuum(dry_run=False, full=True) == []
    assert [ids(tmp_path, version) for version in (1, 50, 105)] == [[0], [49], [104]]


def test_without_the_properties_they_are_lost(tmp_path: Path) -> None:
    table = aged(tmp_path, {}, days=31)
    table.create_checkpoint()
    table.cleanup_metadata()
    with pytest.raises(Exception, match="No files in log segment"):
        ids(tmp_path, 1)


class TestTables:
    def write(self, lake: Lake, origin: Origin, number: int) -> int:
        rows = with_partition(pa.table({"id": pa.array([number], pa.int64())}), "2005-Q1")
        written = lake.write("loans", rows, partitions=["2005-Q1"], origin=origin)
        return written.version

    def append(self, lake: Lake, origin: Origin) -> None:
        row = pa.table({"key": ["a"]})
        lake.append("ledger", row.schema, lambda held: row, origin=origin)

    def test_every_table_is_made_with_them(self, lake: Lake, origin: Origin) -> None:
        self.write(lake, origin, 1)
        self.append(lake, origin)
        for table in ("loans", "ledger"):
            assert lake.open(table).metadata().configuration == PROPERTIES
        assert self.write(lake, origin, 2) == 2  # nothing but the write

    def test_a_table_of_an_earlier_release_gets_them_once(self, lake: Lake, origin: Origin) -> None:
        for table, schema in (("loans", SCHEMA), ("ledger", pa.schema([("key", pa.string())]))):
            DeltaTable.create(
                f"s3://{lake.settings.path(lake.uri(table))}",
                schema,
                partition_by=["partition"] if table == "loans" else None,
                storage_options=lake.settings.storage_options(),
            )
        assert self.write(lake, origin, 1) == 2
        assert self.write(lake, origin, 2) == 3
        self.append(lake, origin)
        for table in ("loans", "ledger"):
            assert lake.open(table).metadata().configuration == PROPERTIES

    def test_whoever_opens_a_table_reads_few_commits(self, lake: Lake, origin: Origin) -> None:
        for number in range(25):
            self.write(lake, origin, number)
        checkpoints = take_inventory(lake).tables["loans"].checkpoints
        assert sorted(checkpoints) == [9, 19]
        assert lake.read("loans", version=15)["id"].to_pylist() == [14]
        assert len(PartitionCommits(written(lake, "loans")).of("2005-Q1")) == 25

    def test_a_file_that_is_gone_is_told_by_whoever_opens_it(
        self, lake: Lake, origin: Origin
    ) -> None:
        self.write(lake, origin, 1)
        (file,) = lake.files(TableReference(lake.pipeline, "loans", 1, "2005-Q1", 1))
        uri = f"{lake.uri('loans')}/{file.path}"
        with open_data_file(lake.settings, uri) as source:
            assert source.size() == file.size
        ObjectStore(lake.settings).delete(uri)
        told = "data files must still be there, got none. Maintenance removes"
        with (
            pytest.raises(TableError, match=told),
            open_data_file(lake.settings, uri) as source,
        ):
            source.read()
        with pytest.raises(TableError, match=f"loans at version 1: its {told}"):
            lake.read("loans", version=1)
