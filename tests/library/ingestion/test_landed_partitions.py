"""Which partitions of a source have landed, wherever its rows are."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.calendar.partitions import Frequency, Partition, parse, snapshot
from include.errors import SourceError
from include.ingestion.landed_partitions import landed_partitions
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import Source
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore

MakePipeline = Callable[..., Pipeline]
TIMES = ("2004-11-30 23:59:59", "2005-01-01 00:00:00", "2005-01-31 12:00:00", "2005-07-01 00:00:00")


def month(name: str) -> Partition:
    return parse(name, Frequency.MONTHLY)


def nowhere(connection: str) -> str:
    raise AssertionError(f"connection {connection} is not needed")


@pytest.fixture
def landed(lake: Lake, make_pipeline: MakePipeline) -> Callable[..., list[str]]:
    """List the partitions of a source called ``rows`` of a monthly pipeline."""

    def names(
        until: Partition, *, connections: Any = nowhere, frequency: str = "monthly", **source: Any
    ) -> list[str]:
        changed = Source(**{"suite": "rows", **source})
        pipeline = make_pipeline(partition=frequency)
        pipeline = pipeline.model_copy(update={"sources": {"rows": changed}})
        found = landed_partitions(lake.settings, pipeline, "rows", until, connections)
        return [str(partition) for partition in found]

    return names


def land(lake: Lake, *paths: str, times: tuple[datetime | None, ...] = (None,)) -> str:
    """Land the same small Parquet file at places below the pipeline's folder."""
    buffer = io.BytesIO()
    moments = pa.array(times, pa.timestamp("us"))
    pq.write_table(pa.table({"id": list(range(len(times))), "at": moments}), buffer)
    for path in paths:
        ObjectStore(lake.settings).write(f"s3://landing/{lake.pipeline}/{path}", buffer.getvalue())
    return f"s3://landing/{lake.pipeline}"


def put(lake: Lake, *paths: str, data: bytes = b"x") -> None:
    """Write objects under any key that a store takes."""
    store = ObjectStore(lake.settings)
    for path in paths:
        store.client.put_object(
            Bucket=lake.settings.bucket("landing"), Key=f"{lake.pipeline}/{path}", Body=data
        )


class TestFolders:
    def test_in_time_order_and_up_to_one(self, lake: Lake, landed: Any) -> None:
        root = land(lake, *(f"rows/{name}/a.parquet" for name in ("2005-03", "2004-12", "2005-01")))
        uri = f"{root}/rows/{{partition}}/"
        assert landed(month("2005-03"), uri=uri) == ["2004-12", "2005-01", "2005-03"]
        assert landed(month("2005-02"), uri=uri) == ["2004-12", "2005-01"]
        assert landed(month("2004-11"), uri=uri) == []

    def test_other_sources_in_the_same_folder_do_not_count(self, lake: Lake, landed: Any) -> None:
        root = land(
            lake, "2005-01/rows/a.parquet", "2005-02/rows_old/a.parquet", "2005-03/other/a.parquet"
        )
        assert landed(month("2005-12"), uri=f"{root}/{{partition}}/rows") == ["2005-01"]

    def test_one_file_a_partition(self, lake: Lake, landed: Any) -> None:
        root = land(lake, "rows-2005-01.parquet", "rows-2005-02.parquet", "rows.parquet")
        found = landed(month("2005-12"), uri=f"{root}/rows-{{partition}}.parquet")
        assert found == ["2005-01", "2005-02"]

    def test_snapshots(self, lake: Lake, landed: Any) -> None:
        names = ("snapshot-0002", "snapshot-0010", "snapshot-0001")
        root = land(lake, *(f"rows/{name}/a.parquet" for name in names))
        found = landed(snapshot(9999), uri=f"{root}/rows/{{partition}}/", frequency="none")
        assert found == ["snapshot-0001", "snapshot-0002", "snapshot-0010"]

    def test_no_folder_that_is_a_partition(self, lake: Lake, landed: Any) -> None:
        root = land(lake, "rows/2005-Q1/a.parquet")
        with pytest.raises(
            SourceError, match=r"such as '2005-07', got s3://.*/rows/2005-Q1 and no"
        ):
            landed(month("2005-12"), uri=f"{root}/rows/{{partition}}/")

    def test_strays_among_partitions_are_left_aside_and_told(
        self, lake: Lake, landed: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        strays = ["2005-01 copy", " 2005-01", "2005-1", "２００５-01", "0001-01", "_old"]
        root = land(lake, "rows/2005-01/a.parquet")
        put(lake, *(f"rows/{name}/a.parquet" for name in strays))
        put(lake, "rows/2005-02/_temporary/0/a.parquet", "rows/2005-03/.a.parquet.crc")
        put(lake, "rows/_SUCCESS", "rows/2005-04/READY", "rows/2005-05/", data=b"")
        found = landed(month("2005-12"), uri=f"{root}/rows/{{partition}}/")
        assert found == ["2005-01"]
        (told,) = caplog.messages
        first = [f"{root}/rows/{name}" for name in (" 2005-01", "0001-01", "2005-01 copy")]
        assert f"source rows: left aside {', '.join(first)}, " in told
        assert "and 1 more: partitions of the source are named like '2005-07'. Rename" in told

    def test_a_file_beside_the_folders_is_no_partition(self, lake: Lake, landed: Any) -> None:
        root = land(lake, "rows/2005-01/a.parquet", "rows/2005-02")
        assert landed(month("2005-12"), uri=f"{root}/rows/{{partition}}/") == ["2005-01"]

    def test_nothing_landed(self, lake: Lake, landed: Any) -> None:
        assert landed(month("2005-12"), uri=f"s3://landing/{lake.pipeline}/{{partition}}/") == []


class TestOneObject:
    def test_partitions_come_from_the_times_of_the_rows(self, lake: Lake, landed: Any) -> None:
        times = tuple(datetime.fromisoformat(text) for text in TIMES)
        uri = land(lake, "rows.parquet", times=times) + "/rows.parquet"
        # Nothing happened between February and June: there is no partition to prepare.
        assert landed(month("2005-07"), uri=uri, time="at") == ["2004-11", "2005-01", "2005-07"]
        assert landed(month("2005-06"), uri=uri, time="at") == ["2004-11", "2005-01"]

    def test_a_row_without_a_time_is_told(self, lake: Lake, landed: Any) -> None:
        uri = land(lake, "rows.parquet", times=(None, datetime(2005, 1, 1))) + "/rows.parquet"
        with pytest.raises(SourceError, match="source rows: column at: must hold a time in every"):
            landed(month("2005-07"), uri=uri, time="at")

    def test_rows_in_no_partition_are_left_aside_and_told(
        self, lake: Lake, landed: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        times = (datetime(1, 1, 1), datetime(2005, 1, 1), datetime(9999, 12, 31))
        uri = land(lake, "rows.parquet", times=times) + "/rows.parquet"
        assert landed(month("2005-07"), uri=uri, time="at") == ["2005-01"]
        assert caplog.messages == [
            "source rows: column at: 2 of 3 rows are in no partition, such as 0001-01-01 00:00:00: "
            "partitions have the years 1000 to 9998. They stay where they landed."
        ]

    def test_without_a_time_it_is_there_for_every_partition(self, lake: Lake, landed: Any) -> None:
        uri = f"s3://landing/{lake.pipeline}/rows.parquet"
        assert landed(month("2005-07"), uri=uri) == ["2005-07"]
        assert landed(snapshot(3), uri=uri, frequency="none") == ["snapshot-0003"]


class TestQuery:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Callable[..., dict[str, Any]]:
        """Make a SQLite file with a table of times, and describe a source that asks it."""

        def make(*times: str, query: str = "select id, at from trips") -> dict[str, Any]:
            file = tmp_path / "trips.db"
            with sqlite3.connect(file) as connection:
                connection.execute("create table trips (id integer, at text)")
                connection.executemany("insert into trips values (?, ?)", list(enumerate(times)))
            connection.close()
            return {
                "connection": "trips",
                "query": query,
                "time": "at",
                "connections": {"trips": f"sqlite:///{file}"}.__getitem__,
            }

        return make

    def test_every_partition_between_the_first_time_and_the_last(
        self, database: Any, landed: Any
    ) -> None:
        # 2004-12 is there as well: that it has no rows is for ingesting to tell.
        found = landed(month("2005-07"), **database(*TIMES[:2], "2005-02-03", "2005-08-01"))
        assert found == [f"2004-{n}" for n in (11, 12)] + [f"2005-{n:02}" for n in range(1, 8)]

    def test_with_bounds_in_the_query(self, database: Any, landed: Any) -> None:
        query = "select id, at from trips where at >= :start and at < :end"
        found = landed(month("2005-02"), **database(*TIMES, query=query))
        assert found == ["2004-11", "2004-12", "2005-01"]

    def test_a_last_time_that_stands_for_never_ends_with_the_asked_partition(
        self, database: Any, landed: Any
    ) -> None:
        assert landed(month("2005-01"), **database(TIMES[0], "9999-12-31")) == [
            "2004-11",
            "2004-12",
            "2005-01",
        ]

    def test_a_first_time_that_stands_for_always_is_refused(
        self, database: Any, landed: Any
    ) -> None:
        with pytest.raises(SourceError, match=r"must begin in the years 1000 to 9998, got 0001"):
            landed(month("2005-01"), **database("0001-01-01", TIMES[0]))

    def test_no_rows_at_all(self, database: Any, landed: Any) -> None:
        assert landed(month("2005-06"), **database()) == []

    def test_rows_that_are_all_later(self, database: Any, landed: Any) -> None:
        assert landed(month("2004-10"), **database(*TIMES)) == []
