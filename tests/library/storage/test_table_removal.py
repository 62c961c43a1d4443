"""A table that is removed leaves nothing, and never looks like an earlier version on the way."""

from __future__ import annotations

import contextlib
from typing import Any

import pyarrow as pa
import pytest

from include.errors import TableError
from include.storage import drafts
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.table_removal import list_table, remove_table

BIG = 2**53 + 1


@pytest.fixture
def filled(lake: Lake, origin: Origin) -> Lake:
    """Tables of three versions, a checkpoint between them, and a draft; one has a longer name."""
    for name in ("labels", "labels_2"):
        for number in range(3):
            write(lake, name, number, origin)
        lake.open(name).create_checkpoint()
        write(lake, name, 3, origin)
        drafted = pa.table({"id": [BIG], "partition": ["p9"]})
        drafts.write(lake, name, drafted, partitions=["p9"], origin=origin)
    return lake


def write(lake: Lake, table: str, number: int, origin: Origin) -> None:
    rows = pa.table({"id": [BIG + number], "partition": [f"p{number % 2}"]})
    lake.write(table, rows, partitions=[f"p{number % 2}"], origin=origin)


def objects(lake: Lake) -> list[str]:
    return [item.uri for item in ObjectStore(lake.settings).list(f"s3://lake/{lake.pipeline}")]


def test_nothing_is_left_of_it_and_another_one_stays(filled: Lake, origin: Origin) -> None:
    listed, before = list_table(filled, "labels"), objects(filled)
    assert any("/drafts/" in item.uri for item in listed)
    assert any("/lineage/" in item.uri for item in listed)
    expected = len(listed), sum(item.size for item in listed)
    assert remove_table(filled, "labels") == expected
    assert objects(filled) == [uri for uri in before if "/labels/" not in uri]
    assert not filled.exists("labels")
    assert filled.read("labels_2").num_rows == 2
    assert remove_table(filled, "labels") == (0, 0)
    write(filled, "labels", 0, origin)
    assert filled.read("labels")["id"].to_pylist() == [BIG]


def test_killed_at_any_object_it_is_no_earlier_version_and_is_finished(
    filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest, real = filled.open("labels").version(), ObjectStore.delete
    left = [0]

    def delete(store: ObjectStore, uri: str) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(store, uri)

    monkeypatch.setattr(ObjectStore, "delete", delete)
    while list_table(filled, "labels"):
        left[0] = 1
        with contextlib.suppress(KeyboardInterrupt):
            remove_table(filled, "labels")
        with contextlib.suppress(TableError):
            assert filled.open("labels").version() == latest
    left[0] = 1000
    assert remove_table(filled, "labels") == (0, 0)
    assert filled.read("labels_2").num_rows == 2
