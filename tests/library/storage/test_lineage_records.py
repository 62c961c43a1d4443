"""Who wrote which version from what, also when the log is gone or a record is missing."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from include.storage import lineage_records
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.lineage_records import uri, written
from include.storage.object_store import ObjectStore

SOURCE = TableReference("other", "raw", 4, "2005-Q1", 7)


def put(lake: Lake, origin: Origin, *names: str, number: int = 1) -> TableReference:
    parts = [with_partition(pa.table({"id": pa.array([number], pa.int64())}), n) for n in names]
    rows = pa.concat_tables(parts)
    return lake.write("loans", rows, partitions=names, origin=origin.reading(SOURCE))


def test_a_commit_has_one_record(lake: Lake, origin: Origin) -> None:
    put(lake, origin, "2005-Q1", "2005-Q2")
    store = ObjectStore(lake.settings)
    (record,) = store.list(f"s3://lake/{lake.pipeline}/lineage/")
    assert record.uri == uri(lake.pipeline, "loans", 1)
    document = json.loads(store.read(record.uri))
    assert document.pop("recorded_at") > "2026"
    assert document == {
        "table": "loans",
        "version": 1,
        "partitions": ["2005-Q1", "2005-Q2"],
        "dag_id": "p_score",
        "dag_run_id": "run_1",
        "task_id": "task_1",
        "commit": "abc1234",
        "inputs": [SOURCE.to_dict()],
        "details": {},
    }


def test_what_commits_nothing_has_none(lake: Lake, origin: Origin) -> None:
    nothing = with_partition(pa.table({"id": pa.array([], pa.int64())}), "2005-Q1")
    lake.write("loans", nothing, partitions=["2005-Q1"], origin=origin)
    assert ObjectStore(lake.settings).list(f"s3://lake/{lake.pipeline}/lineage/") == ()
    assert written(lake, "loans") == []


def test_the_log_tells_what_a_killed_writer_did_not_record(
    lake: Lake, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, origin, "2005-Q1")
    with monkeypatch.context() as killed:
        killed.setattr(lineage_records, "record", lambda *_: None)
        put(lake, origin, "2005-Q2", number=2)
    put(lake, origin, "2005-Q1", number=3)
    found = written(lake, "loans")
    assert [(item.version, item.partitions) for item in found] == [
        (1, ("2005-Q1",)),
        (2, ("2005-Q2",)),
        (3, ("2005-Q1",)),
    ]
    assert {item.inputs for item in found} == {(SOURCE,)}
    assert [item.version for item in written(lake, "loans", latest=2)] == [2, 3]


def test_records_tell_what_the_log_has_lost(lake: Lake, origin: Origin) -> None:
    for number in range(3):
        put(lake, origin, "2005-Q1", number=number)
    logged = written(lake, "loans")
    # As maintenance cleans it: a checkpoint, then the logs before it.
    lake.open("loans").create_checkpoint()
    store = ObjectStore(lake.settings)
    for version in range(3):
        store.delete(f"{lake.uri('loans')}/_delta_log/{version:020d}.json")
    assert [item.version for item in lake_history(lake)] == [3]
    recorded = written(lake, "loans")
    assert [item.version for item in recorded] == [1, 2, 3]
    assert [item.inputs for item in recorded] == [item.inputs for item in logged]
    assert [item.dag_run_id for item in recorded] == ["run_1"] * 3


def lake_history(lake: Lake) -> list[Any]:
    log = lake.open("loans").history()
    return [lineage_records._from_log("loans", item) for item in log]


def test_a_table_that_was_never_written(lake: Lake) -> None:
    assert written(lake, "loans") == []
