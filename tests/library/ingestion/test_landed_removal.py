"""Rows leave landed files of every format, and the others stay as they stand there."""

from __future__ import annotations

import gzip
import hashlib
import io
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError
from include.ingestion.entity_ids import EntityIds, read_ids
from include.ingestion.landed_removal import LandedRemoval
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.parquet import open_parquet

TEXTS = EntityIds(["b 1", "ü"], are_numbers=False)
NUMBERS = EntityIds(["7", "-12"], are_numbers=True)
CSV = 'id,"note",at\na,"x ""y""\n z",1\n b 1 ,gone,2\n"ü",gone,3\nB 1,"b 1",4\n'
CSV_LEFT = 'id,note,at\na,"x ""y""\n z",1\nB 1,b 1,4\n'
LINES = '{"id": 7, "a": 1}\n\n{"id": "007", "a": "é"}\n{"a": 2}\n{"id":70}\n{"id": -12.0}\n'
LINES_LEFT = '{"a": 2}\n{"id":70}\n'


def parquet(rows: pa.Table) -> bytes:
    data = io.BytesIO()
    pq.write_table(rows, data)
    return data.getvalue()


@pytest.fixture
def land(lake: Lake, make_pipeline: Any) -> Any:
    """Land a file, and say how to remove rows from its source."""

    def to(
        name: str, data: bytes, ids: EntityIds, address: str = "{partition}/loans/", **source: Any
    ) -> tuple[LandedRemoval, str]:
        store, folder = ObjectStore(lake.settings), f"s3://landing/{lake.pipeline}"
        uri = f"{folder}/2005-Q1/loans/{name}"
        store.write(uri, data)
        # What other sources, and others in the folder of this one, have is none of its business.
        store.write(f"{folder}/2005-Q1/others/{name}", data)
        store.write(f"{folder}/2005-Q1/loans/notes.md", data)
        store.write(f"{folder}/other_pipeline/loans/{name}", data)
        uri_of_source = f"{folder}/{address}"
        loans = {"uri": uri_of_source, "suite": "loans", "time": "at", **source}
        pipeline = make_pipeline(sources={"loans": loans})
        return LandedRemoval(store, pipeline, "loans", ids), uri

    return to


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.csv", {"format": "csv"}),
        ("a.csv.gz", {"format": "csv"}),
        ("a.csv", {"format": "csv", "csv": {"encoding": "cp1252"}}),
    ],
)
def test_csv(land: Any, name: str, source: dict[str, Any]) -> None:
    encoding = source.get("csv", {}).get("encoding", "utf-8")
    pack, unpack = (gzip.compress, gzip.decompress) if name.endswith("gz") else (bytes, bytes)
    removal, uri = land(name, pack(CSV.encode(encoding)), TEXTS, **source)
    assert removal.find() == {uri: 2}
    removal.remove(uri)
    assert unpack(removal.store.read(uri)).decode(encoding) == CSV_LEFT
    assert removal.find() == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_json_lines(land: Any, encoding: str) -> None:
    removal, uri = land("a.jsonl", LINES.encode(encoding), NUMBERS, format="json_lines")
    assert removal.find() == {uri: 3}
    removal.remove(uri)
    assert removal.store.read(uri).decode(encoding) == LINES_LEFT


@pytest.mark.parametrize("kind", [pa.int64(), pa.int16(), pa.float64(), pa.decimal128(9, 2)])
def test_parquet(land: Any, kind: pa.DataType) -> None:
    ids = pa.array([7, None, -12, 70, 12], pa.float64()).cast(kind)
    rows = pa.table({"id": ids, "x": [[1], [2], [3], [4], [5]]})
    removal, uri = land("a.parquet", parquet(rows), NUMBERS, format="parquet")
    assert removal.find() == {uri: 2}
    removal.remove(uri)
    assert pq.read_table(io.BytesIO(removal.store.read(uri))).equals(rows.take([1, 3, 4]))


def test_a_place_without_partitions(land: Any) -> None:
    for address in ("2005-Q1/loans/", "2005-Q1/loans", "2005-Q1/loans/a.csv"):
        removal, uri = land("a.csv", b"id\nb 1\nc\n", TEXTS, address, format="csv")
        assert removal.find() == {uri: 1}, address


def test_numbers_are_read_as_ingestion_reads_them(land: Any) -> None:
    ids = EntityIds(["1234567"], are_numbers=True)
    german = {"delimiter": ";", "decimal": ",", "thousands": "."}
    written = b"id;x\n1.234.567;1\n1234567,0;2\n1.2345678E7;3\n01234567;4\n7.0;5\n"
    removal, uri = land("a.csv", written, ids, format="csv", csv=german)
    assert removal.find() == {uri: 3}
    written = b'{"id": 1.234567e6}\n{"id": "1234567"}\n{"id": 1234567.0}\n{"id": 12345678}\n'
    removal, uri = land("a.jsonl", written, ids, format="json_lines")
    assert removal.find() == {uri: 3}


@pytest.mark.parametrize("number", [12345678907, 2**53])
def test_large_floats(land: Any, number: int) -> None:
    rows = pa.table({"id": pa.array([float(number), None, float("nan"), float("inf"), 1.5])})
    ids = EntityIds([str(number)], are_numbers=True)
    removal, uri = land("a.parquet", parquet(rows), ids, format="parquet")
    assert removal.find() == {uri: 1}
    assert ids.mask(rows["id"]).to_pylist() == [True, False, False, False, False]


def test_times_of_old_writers_stay(land: Any) -> None:
    far = pa.array([datetime(9999, 12, 31), datetime(1, 1, 1)], pa.timestamp("us"))
    rows, data = pa.table({"id": ["ü", "kept"], "until": far}), io.BytesIO()
    pq.write_table(rows, data, use_deprecated_int96_timestamps=True)
    removal, uri = land("a.parquet", data.getvalue(), TEXTS, format="parquet")
    removal.remove(uri)
    left = open_parquet(io.BytesIO(removal.store.read(uri))).read()
    assert left.to_pylist() == [{"id": "kept", "until": datetime(1, 1, 1)}]


def test_what_is_left_is_known_before_it_is_written(land: Any) -> None:
    removal, uri = land("a.csv.gz", gzip.compress(b"id\nb 1\nc\n"), TEXTS, format="csv")
    expected = removal.digest_rest(uri)
    removal.remove(uri)
    assert hashlib.sha256(removal.store.read(uri)).hexdigest() == expected
    removal.store.delete(uri)
    removal.remove(uri)  # another source of the same file came first


def test_leftovers_are_looked_through_and_named_if_they_cannot_be_read(land: Any) -> None:
    removal, uri = land("._a.csv", b"\x00\x05\x16\x07", TEXTS, format="csv")
    assert removal.find() == {}
    assert removal.unread == [uri]
    removal, uri = land(".a.csv", b"id\nb 1\nc\n", TEXTS, format="csv")
    assert uri in removal.find()


def test_a_file_without_other_rows_is_deleted(land: Any) -> None:
    removal, uri = land("a.parquet", parquet(pa.table({"id": ["ü"]})), TEXTS, format="parquet")
    removal.remove(uri)
    assert not removal.store.exists(uri)
    assert removal.find() == {}


def test_a_file_without_the_column_holds_nobody(land: Any) -> None:
    removal, _ = land("a.csv", b"other\nb 1\n", TEXTS, format="csv")
    assert removal.find() == {}


def test_a_file_that_cannot_be_read(land: Any) -> None:
    removal, uri = land("a.csv.gz", b"id\nb 1\n", TEXTS, format="csv")
    with pytest.raises(SourceError, match=f"file {uri}: must be gzip"):
        removal.find()


def test_ids_are_read_as_they_are_written() -> None:
    assert read_ids("\ufeff b 1 \r\nü\n\nü".encode(), "file") == ["b 1", "ü"]
    with pytest.raises(SourceError, match="must be UTF-8"):
        read_ids(b"\xff\xfeb", "file")
    with pytest.raises(SourceError, match="must hold one id a line, got none"):
        read_ids(b"\n \n", "file")


def test_large_numbers_are_told_apart() -> None:
    ids = EntityIds(["9007199254740993"], are_numbers=True)
    column = pa.chunked_array([pa.array([9007199254740992, 9007199254740993], pa.int64())])
    assert ids.mask(column).to_pylist() == [False, True]
