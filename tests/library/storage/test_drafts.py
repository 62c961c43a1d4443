"""Drafts: nobody sees them, they are read as the table would be, and they say what is gone."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from include.errors import TableError
from include.storage import drafts
from include.storage.data_files import write_files
from include.storage.drafts import Draft
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore


def loans(partition: str, *ids: str) -> pa.Table:
    return with_partition(pa.table({"id": pa.array(ids, pa.string())}), partition)


def test_a_draft_is_no_part_of_its_table(lake: Lake, origin: Origin) -> None:
    rows = pa.concat_tables([loans("2005-Q1", "a", "b"), loans("2005-Q2", "c")])
    names = ["2005-Q1", "2005-Q2"]
    draft = drafts.write(lake, "loans", rows, partitions=names, origin=origin)
    assert (draft.table, draft.partition, draft.rows) == ("loans", None, 3)
    assert Draft.from_dict(json.loads(json.dumps(draft.to_dict()))) == draft
    assert lake.partitions("loans") == ()
    manifest = drafts.load(lake, draft)
    assert drafts.read(lake, draft, manifest, "2005-Q1").to_pydict() == {"id": ["a", "b"]}
    assert drafts.read(lake, draft, manifest, "2005-Q3").to_pydict() == {"id": []}


def test_accepted_twice_it_is_committed_once(lake: Lake, origin: Origin) -> None:
    draft = drafts.write(
        lake, "loans", loans("2005-Q1", "a"), partitions=["2005-Q1"], origin=origin
    )
    made = drafts.load(lake, draft)
    first, second = (
        lake.commit("loans", made.files, made.schema, partitions=["2005-Q1"], origin=origin)
        for _ in range(2)
    )
    assert first == second == lake.reference("loans", "2005-Q1")
    assert lake.read("loans")["id"].to_pylist() == ["a"]


def test_it_is_read_in_the_types_and_the_order_of_the_table(lake: Lake, origin: Origin) -> None:
    lake.write("loans", loans("2005-Q1", "a"), partitions=["2005-Q1"], origin=origin)
    wider = pa.table({"id": pa.array(["b"], pa.large_string())})
    rows = with_partition(wider, "2005-Q2")
    draft = drafts.write(lake, "loans", rows, partitions=["2005-Q2"], origin=origin)
    read = drafts.read(lake, draft, drafts.load(lake, draft), "2005-Q2")
    assert read.schema == pa.schema([("id", lake.read("loans").schema.field("id").type)])


def test_it_keeps_from_what_it_was_made(lake: Lake, origin: Origin) -> None:
    source = TableReference("p", "raw_loans", 4, "2005-Q1", 7)
    files = write_files(lake.settings, lake.uri("loans"), loans("2005-Q1", "a"))
    draft = drafts.put(
        lake,
        "loans",
        files,
        loans("2005-Q1").schema,
        partitions=["2005-Q1"],
        origin=origin.reading(source),
    )
    assert drafts.load(lake, draft).inputs == (source,)


def test_other_columns_than_the_table_has_are_refused(lake: Lake, origin: Origin) -> None:
    lake.write("loans", loans("2005-Q1", "a"), partitions=["2005-Q1"], origin=origin)
    rows = loans("2005-Q2", "b").append_column("bank", pa.array(["B"]))
    with pytest.raises(TableError, match=r"new \['bank'\]"):
        drafts.write(lake, "loans", rows, partitions=["2005-Q2"], origin=origin)


@pytest.mark.parametrize("lost", ["manifest", "file"])
def test_one_that_was_cleaned_up(lake: Lake, origin: Origin, lost: str) -> None:
    draft = drafts.write(
        lake, "loans", loans("2005-Q1", "a"), partitions=["2005-Q1"], origin=origin
    )
    (file,) = drafts.load(lake, draft).files
    uri = draft.uri if lost == "manifest" else f"{lake.uri('loans')}/{file.path}"
    ObjectStore(lake.settings).delete(uri)
    with pytest.raises(TableError) as caught:
        drafts.read(lake, draft, drafts.load(lake, draft), "2005-Q1")
    assert str(caught.value) == (
        f"table {lake.pipeline}.loans: the draft of 2005-Q1 must still be on the store, got none. "
        "Clear the task that ingested or computed it."
    )


def test_what_an_earlier_release_handed_on() -> None:
    with pytest.raises(TableError, match=r"got one that an earlier release wrote. Clear the task"):
        Draft.from_dict(TableReference("p", "raw_loans", 4, "2005-Q1", 7).to_dict())
