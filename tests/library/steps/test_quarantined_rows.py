"""Rows in quarantine as a file that people correct."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError
from include.steps.quarantined_rows import QuarantinedRow, as_file, corrected

VALUES = (
    {"id": 2**53 + 1, "amount": -1.5, "name": None},
    {"id": 7, "amount": "1,5", "name": 'a, "b"\nc'},
    {"id": 8, "amount": None, "name": ""},
)
ROWS = [
    QuarantinedRow("2005-Q1", "a.csv", at, "amount: must be 0", json.dumps(row))
    for at, row in enumerate(VALUES)
]
IDS = [row.id for row in ROWS]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_that_nobody_touched_repairs_nothing(suffix: str) -> None:
    found = corrected(as_file(ROWS, suffix), f"rows{suffix}", ROWS)
    assert found == {row_id: {} for row_id in IDS}


def test_cells_that_were_repaired() -> None:
    text = as_file(ROWS, ".csv").decode()
    text = text.replace("-1.5", "1.5").replace('"1,5"', "")
    assert corrected(b"\xef\xbb\xbf" + text.encode(), "rows.csv", ROWS) == {
        IDS[0]: {"amount": "1.5"},
        IDS[1]: {"amount": None},
        IDS[2]: {},
    }
    packed = io.BytesIO()
    pq.write_table(pa.table({"_id": IDS[:1], "amount": [2.5], "more": [True]}), packed)
    assert corrected(packed.getvalue(), "rows.parquet", ROWS) == {
        IDS[0]: {"amount": "2.5", "more": "true"}
    }


def test_a_row_is_named_by_where_it_landed_and_what_it_holds() -> None:
    row = ROWS[0]
    others = [
        QuarantinedRow("2005-Q2", row.file, row.position, "", row.row),
        QuarantinedRow(row.partition, "b.csv", row.position, "", row.row),
        QuarantinedRow(row.partition, row.file, 9, "", row.row),
        QuarantinedRow(row.partition, row.file, row.position, "", ROWS[1].row),
    ]
    assert len({row.id, *(other.id for other in others)}) == 5
    assert QuarantinedRow(row.partition, row.file, row.position, "other", row.row).id == row.id


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"_id,a\n", "rows.csv", "must hold at least one row"),
        (b"id,a\nx,1\n", "rows.csv", "must have column _id and each column once, got id, a"),
        (b"_id,a,a\nx,1,2\n", "rows.csv", "must have column _id and each column once"),
        (b"_id,a\nx,1\nx,2\n", "rows.csv", "row 2 must name one row of quarantine .* 'x' again"),
        (b"_id,a\n,1\n", "rows.csv", "row 1 must name one row .*, got nothing"),
        (b"_id,a\nx,1,5\n", "rows.csv", "row 1 must have 2 cells, got 3"),
        (b"_id\n\xff\n", "rows.csv", "must be CSV in UTF-8"),
        (b"", "rows.csv", "must have column _id"),
        (b"x", "rows.parquet", "must be Parquet"),
        (b"x", "rows.xlsx", "must end in .csv or .parquet, got '.xlsx'"),
    ],
)
def test_files_that_cannot_be_read(data: bytes, name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        corrected(data, name, ROWS)
