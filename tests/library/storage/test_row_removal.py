"""Rows leave all versions of a table, with what log, checkpoints and drafts say of its files."""

from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from include.storage import drafts
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.row_removal import (
    Picked,
    find_rows,
    mend_log,
    redact_rows,
    remove_rows,
)
from include.storage.text_redaction import Redaction

ORIGIN = Origin("p_score", "run_1", "validate")
PICKED = Picked(("id",), lambda rows: pa.compute.equal(rows["id"], "gone").combine_chunks())


def rows(partition: str, *ids: str | None) -> pa.Table:
    return with_partition(pa.table({"id": pa.array(ids, pa.string())}), partition)


@pytest.fixture
def table(lake: Lake) -> str:
    """A table of 12 versions with a checkpoint in between."""
    for at in range(6):
        for name in ("2005-Q1", "2005-Q2"):
            held = rows(name, "gone", f"kept {at}", None)
            lake.write("raw", held, partitions=[name], origin=ORIGIN, details={"at": str(at)})
        if at == 3:
            lake.open("raw").create_checkpoint()
    return "raw"


def ids(lake: Lake, table: str, version: int) -> list[str | None]:
    held = lake.read(table, version=version)["id"].to_pylist()
    assert DeltaTable(lake._url(table), version, lake.settings.storage_options()).count() == len(
        held
    )
    return sorted(held, key=str)


def test_every_version(lake: Lake, table: str) -> None:
    last = lake.open(table).version()
    before = [ids(lake, table, version) for version in range(last + 1)]
    history = lake.open(table).history()

    found = find_rows(lake, table, PICKED)
    remove_rows(lake, table, PICKED, found)
    assert set(found.values()) == {1}
    assert len(found) == 12

    after = [ids(lake, table, version) for version in range(last + 1)]
    assert after == [[one for one in held if one != "gone"] for held in before]
    assert lake.open(table).history() == history
    assert lake.row_counts(table) == {"2005-Q1": 2, "2005-Q2": 2}
    # What comes later goes on from it.
    lake.write(table, rows("2005-Q1", "new"), partitions=["2005-Q1"], origin=ORIGIN)
    assert ids(lake, table, last + 1) == [None, "kept 5", "new"]
    assert find_rows(lake, table, PICKED) == {}


def test_whatever_was_written_before_it_was_killed_is_mended_later(lake: Lake, table: str) -> None:
    expected = [ids(lake, table, version) for version in range(lake.open(table).version() + 1)]
    store = ObjectStore(lake.settings)
    kept = {item.uri: store.read(item.uri) for item in store.list(f"{lake.uri(table)}/_delta_log")}
    remove_rows(lake, table, PICKED, find_rows(lake, table, PICKED))
    for uri, data in kept.items():
        store.write(uri, data)
    remove_rows(lake, table, PICKED, find_rows(lake, table, PICKED))
    after = [ids(lake, table, version) for version in range(lake.open(table).version() + 1)]
    assert after == [[one for one in held if one != "gone"] for held in expected]


def test_smallest_and_largest_values_leave_the_log(lake: Lake) -> None:
    options = lake.settings.storage_options()
    for name in ("gone", "kept"):
        write_deltalake(
            lake._url("other"),
            pa.table({"id": [name, "x"]}),
            mode="append",
            storage_options=options,
        )
    lake.open("other").create_checkpoint()
    remove_rows(lake, "other", PICKED, find_rows(lake, "other", PICKED))
    store = ObjectStore(lake.settings)
    for item in store.list(lake.uri("other")):
        assert b"gone" not in store.read(item.uri), item.uri
    assert ids(lake, "other", 1) == ["kept", "x", "x"]


def test_a_draft_is_committed_without_them(lake: Lake, table: str) -> None:
    draft = drafts.write(
        lake, table, rows("2005-Q3", "gone", "kept"), partitions=["2005-Q3"], origin=ORIGIN
    )
    remove_rows(lake, table, PICKED, find_rows(lake, table, PICKED))
    manifest = drafts.load(lake, draft)
    assert [file.rows for file in manifest.files] == [1]
    lake.commit(table, manifest.files, manifest.schema, partitions=["2005-Q3"], origin=ORIGIN)
    assert lake.row_counts(table)["2005-Q3"] == 1
    assert "gone" not in ids(lake, table, lake.open(table).version())


def test_details_change_in_log_and_lineage(lake: Lake, table: str) -> None:
    mend_log(lake, table, lambda details: {**details, "at": "now"})
    told = [item["details"] for item in lake.open(table).history() if "details" in item]
    assert set(told) == {'{"at": "now"}'}
    store = ObjectStore(lake.settings)
    records = store.list(f"s3://lake/{lake.pipeline}/lineage/{table}")
    assert len(records) == 12
    assert all(b'"at": "now"' in store.read(item.uri) for item in records)


def test_tables_of_a_pipeline(lake: Lake, table: str) -> None:
    drafts.write(lake, "next", rows("2005-Q1", "a"), partitions=["2005-Q1"], origin=ORIGIN)
    assert tuple(take_inventory(lake).tables) == ("next", table)


def test_words_leave_the_texts_of_every_version(lake: Lake, table: str) -> None:
    last = lake.open(table).version()
    before = [ids(lake, table, version) for version in range(last + 1)]
    redact_rows(lake, table, ["id", "other"], Redaction(["kept 3", "gone 1"]))
    after = [ids(lake, table, version) for version in range(last + 1)]
    assert after == [
        sorted(("[erased]" if one == "kept 3" else one for one in held), key=str) for held in before
    ]


def test_statistics_stay_where_no_word_is_in_them(lake: Lake) -> None:
    for name in ("kept 1", "kept 2"):
        held = pa.table({"id": [name], "kind": ["a"]})
        write_deltalake(
            *(lake._url("told"), held),
            mode="append",
            storage_options=lake.settings.storage_options(),
        )
    redact_rows(lake, "told", ["id"], Redaction(["kept 2"]))
    store = ObjectStore(lake.settings)
    log = b"".join(store.read(item.uri) for item in store.list(f"{lake.uri('told')}/_delta_log"))
    assert b"kept 1" in log
    assert b"kept 2" not in log
    assert sorted(lake.read("told")["id"].to_pylist()) == ["[erased]", "kept 1"]
