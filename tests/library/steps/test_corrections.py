"""Places and queries that hold every partition: what is a correction there, and what is not."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.calendar.partitions import Frequency, parse
from include.specification.generations import raw_table
from include.specification.pipeline import Pipeline
from include.steps.corrections import look
from include.steps.preparation import ingest
from include.storage import drafts
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.lineage_records import PartitionCommits, written
from include.storage.object_store import ObjectStore
from include.storage.row_digests import digest_rows

Rows = Sequence[tuple[int, str, float | None]]
FIRST: Rows = ((1, "2005-01-03", 1.5), (2, "2005-02-03", None), (3, "2005-04-03", 2.0))
LATER: Rows = ((4, "2005-07-03", 4.0),)


class Place:
    """Loans of all quarters, ingested one by one, and corrected in their place."""

    def __init__(self, lake: Lake, pipeline: Pipeline, put: Callable[[Rows], None]) -> None:
        self.lake, self.pipeline, self.put = lake, pipeline, put

    def ingest(self, name: str) -> None:
        origin = Origin("p_score", name, "ingest_loans")
        partition = parse(name, Frequency.QUARTERLY)
        draft = ingest(
            *(self.lake, self.pipeline, "loans", [partition], origin), connections=self.url
        )
        held = drafts.load(self.lake, draft)
        self.lake.commit(
            *(draft.table, held.files, held.schema),
            partitions=[name],
            origin=origin,
            details=held.details,
        )

    url: Callable[[str], str] = staticmethod(lambda name: name)

    def corrections(self, **how: Any) -> list[tuple[str, str]]:
        commits = {"loans": PartitionCommits(written(self.lake, raw_table("loans")))}
        found = look(self.lake, self.pipeline, commits, connections=self.url, **how)
        return [(item.partition, item.what) for item in found.corrections]


@pytest.fixture(params=["files", "file", "query"])
def place(
    request: pytest.FixtureRequest,
    lake: Lake,
    make_pipeline: Callable[..., Pipeline],
    tmp_path: Path,
) -> Place:
    if request.param != "query":
        folder = f"s3://landing/{lake.pipeline}/loans/"
        uri = f"{folder}loans.parquet" if request.param == "file" else folder

        def land(rows: Rows) -> None:
            columns = {"id": [row[0] for row in rows], "x": [row[2] for row in rows]}
            at = pa.array([datetime.fromisoformat(row[1]) for row in rows], pa.timestamp("us"))
            buffer = io.BytesIO()
            pq.write_table(pa.table({**columns, "at": at}), buffer)
            ObjectStore(lake.settings).write(f"{folder}loans.parquet", buffer.getvalue())

        return Place(lake, make_pipeline(sources={"loans": _source(uri=uri)}), land)

    path = tmp_path / "loans.db"

    def insert(rows: Rows) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("drop table if exists loans")
            connection.execute("create table loans (id integer, at text, x real)")
            connection.executemany("insert into loans values (?, ?, ?)", rows)

    query = "select * from loans where at >= :start and at < :end order by random()"
    source = _source(connection="bank", query=query, types={"x": "number"})
    found = Place(lake, make_pipeline(sources={"loans": source}), insert)
    found.url = lambda name: f"sqlite:///{path}"
    return found


def _source(**values: Any) -> dict[str, Any]:
    return {"suite": "loans", "time": "at", "allow_empty": True, **values}


@pytest.fixture
def ingested(place: Place) -> Place:
    """Two quarters with rows, and one without."""
    place.put(FIRST)
    for name in ("2005-Q1", "2005-Q2", "2005-Q3"):
        place.ingest(name)
    assert place.corrections() == []
    return place


def test_a_row_that_changed_and_what_came_late(ingested: Place) -> None:
    changed = (FIRST[0], (2, "2005-02-03", 7.0), *FIRST[2:])
    ingested.put((*changed, *LATER))

    assert ingested.corrections() == [
        ("2005-Q1", "rows changed"),
        ("2005-Q3", "1 rows instead of 0"),
    ]
    # The web server reads no rows.
    assert ingested.corrections(brief=True) == []
    for name in ("2005-Q1", "2005-Q3"):
        ingested.ingest(name)
    assert ingested.corrections() == []


def test_a_place_that_only_grew_or_was_sorted(ingested: Place) -> None:
    ingested.put((*FIRST[::-1], (5, "2005-10-03", 5.0)))
    assert ingested.corrections() == []


def test_rows_that_were_taken_away(ingested: Place) -> None:
    ingested.put(FIRST[:2])
    assert ingested.corrections() == [("2005-Q2", "0 rows instead of 1")]


def test_a_digest_of_rows_knows_no_order() -> None:
    rows = pa.table({"a": [1, 2, None], "b": ["x", "", "="], "c": [0.5, None, 1.0]})
    rows = rows.append_column("row", pa.array([0, 1, 2]))
    same = rows.take([2, 0, 1]).set_column(3, "row", pa.array([7, 8, 9]))
    assert digest_rows(rows, ["row"]) == digest_rows(same, ["row"])
    for other in (
        rows.slice(0, 2),
        rows.set_column(1, "b", pa.array(["x", None, "="])),
        rows.set_column(0, "a", pa.array([1, 2, 0])),
        rows.set_column(0, "a", pa.array([2, 1, None])),  # values change their rows
        rows.set_column(2, "c", pa.array([None, 0.5, 1.0])),
    ):
        assert digest_rows(other) != digest_rows(rows)
