"""Compaction and checkpoints beside writers: the writer wins, and no row is lost or doubled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from include.storage import ledger
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin, TableReference
from include.storage.table_upkeep import FEW_FILES, compact, scattered


@pytest.fixture
def filled(lake: Lake, origin: Origin) -> Lake:
    """A ledger of a few entries more than it may be left with."""
    for number in range(FEW_FILES + 1):
        decide(lake, origin, number)
    return lake


def add(lake: Lake, row: pa.Table, origin: Origin) -> None:
    lake.append("ledger", row.schema, lambda held: row, origin=origin)


def decide(lake: Lake, origin: Origin, number: int) -> None:
    by = replace(origin, dag_run_id=f"run {number}")
    ledger.record(lake, "retraining", f"p{number:04}", "no", "nothing moved", origin=by)


def decided(lake: Lake) -> list[str]:
    return [entry.partition for entry in ledger.entries(lake)]


def stale(lake: Lake, patch: pytest.MonkeyPatch) -> None:
    """Let the next compaction begin from the version of now, whatever is committed meanwhile."""
    delta = lake.open("ledger")
    listed = lake.files(TableReference(lake.pipeline, "ledger", delta.version(), None, 0))
    patch.setattr(Lake, "open", lambda *_: delta)
    patch.setattr(Lake, "files", lambda *_: listed)


def test_who_appends_first_wins(
    filled: Lake, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stale(filled, patch)
        decide(filled, origin, 100)
        assert not compact(filled, "ledger", "run")
    assert len(filled.open("ledger").file_uris()) == FEW_FILES + 2
    assert len(set(decided(filled))) == len(decided(filled)) == FEW_FILES + 2


def test_of_two_compactions_the_second_is_left(
    filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With delta-rs's own, every row would be there twice."""
    with monkeypatch.context() as patch:
        before = filled.open("ledger").version()
        stale(filled, patch)
        assert compact(filled, "ledger", "first")
        filled.open("ledger").load_as_version(before)
        assert not compact(filled, "ledger", "second")
    assert len(filled.open("ledger").file_uris()) == 1
    assert len(decided(filled)) == FEW_FILES + 1


def test_an_append_that_meets_a_compaction_goes_through(
    filled: Lake, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Lake._rows
    met: list[bool] = []

    def compacted_meanwhile(self: Lake, table: str, *args: Any) -> pa.Table:
        rows = genuine(self, table, *args)
        if not met:
            met.append(compact(filled, "ledger", "run"))
        return rows

    monkeypatch.setattr(Lake, "_rows", compacted_meanwhile)
    decide(filled, origin, 100)
    assert met == [True]
    assert decided(filled)[-1] == "p0100"
    assert len(set(decided(filled))) == len(decided(filled)) == FEW_FILES + 2


def test_many_at_once(filled: Lake, origin: Origin) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 8):
            decide(filled, origin, number)

    def keep_up(_: int) -> None:
        for _ in range(4):
            compact(filled, "ledger", "run")
            filled.open("ledger").create_checkpoint()

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(write, 100), pool.submit(write, 200), pool.submit(keep_up, 0)]
        for job in jobs:
            job.result()
    assert len(set(decided(filled))) == len(decided(filled)) == FEW_FILES + 17
    numbers = [event["sequence"] for event in filled.read("ledger").to_pylist()]
    assert sorted(numbers) == list(range(1, FEW_FILES + 18))


def test_only_tables_of_events_are_put_together(filled: Lake, origin: Origin) -> None:
    for number in range(FEW_FILES + 2):
        name = f"{2000 + number}"
        rows = pa.table({"x": [number], "partition": [name]})
        filled.write("drift", rows, partitions=[name], origin=origin)
    tables = take_inventory(filled).tables
    assert scattered(filled, tables.values()) == [("ledger", FEW_FILES + 1)]
    assert compact(filled, "ledger", "run")
    assert scattered(filled, take_inventory(filled).tables.values()) == []
    assert compact(filled, "ledger", "run")  # there is nothing left to do
    assert len(filled.open("ledger").history()) == FEW_FILES + 3


def test_rows_of_an_earlier_release_lack_what_came_later(lake: Lake, origin: Origin) -> None:
    for number in range(FEW_FILES):
        row = pa.table({"key": [f"k{number}"]})
        add(lake, row, origin)
    add(lake, pa.table({"key": ["new"], "sequence": pa.array([1], pa.int64())}), origin)
    before = sorted(lake.read("ledger").to_pylist(), key=lambda item: str(item["key"]))
    schema = lake.open("ledger").schema()
    assert compact(lake, "ledger", "run")
    assert lake.open("ledger").schema() == schema
    assert sorted(lake.read("ledger").to_pylist(), key=lambda item: str(item["key"])) == before
    assert len(lake.open("ledger").file_uris()) == 1
