"""Rows of quarantine as texts, and back in the types of their table."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from include.ingestion.landed_batch import FILE, ROW, UNPARSED
from include.quality.quarantine import as_json
from include.quality.row_texts import text_of_cell, typed_rows

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("amount", pa.float64()),
        ("price", pa.decimal128(9, 2)),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
        ("is_new", pa.bool_()),
        ("name", pa.string()),
        (FILE, pa.string()),
        (ROW, pa.int64()),
    ]
)
ROWS: list[dict[str, Any]] = [
    {
        "number": 2**53 + 1,
        "amount": 0.1,
        "price": Decimal("1.10"),
        "day": date(2005, 7, 14),
        "at": datetime(2005, 7, 14, 1, 2, 3, 4),
        "is_new": False,
        "name": "",
    },
    {"number": -(2**63), "amount": float("inf"), "name": "7"},
    {"number": 7, "amount": 1e22, "is_new": True, "name": "ä, \n"},
]


def test_what_is_not_repaired_comes_back_as_it_landed() -> None:
    rows = pa.Table.from_pylist(ROWS, schema=SCHEMA)
    typed = typed_rows(as_json(rows), [{}] * len(ROWS), SCHEMA)
    own = SCHEMA.names[:-2]
    assert typed.column_names == [*own, UNPARSED]
    assert typed.select(own).equals(rows.select(own))
    assert typed[UNPARSED].null_count == len(ROWS)


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("number", "9007199254740993", 2**53 + 1),
        ("number", "7.0", 7),
        ("number", "9223372036854775808", None),
        ("number", "1.5", None),
        ("amount", "1e3", 1000.0),
        ("amount", "1,5", None),
        ("price", "1.25", Decimal("1.25")),
        ("price", "1.255", None),
        ("day", "2005-02-28", date(2005, 2, 28)),
        ("day", "2005-02-30", None),
        ("at", "2005-02-28T10:00:00", datetime(2005, 2, 28, 10)),
        ("is_new", "true", True),
        ("is_new", "maybe", None),
        ("name", "1,5", "1,5"),
    ],
)
def test_a_repaired_cell_is_read_as_its_column(column: str, text: str, value: Any) -> None:
    typed = typed_rows(["{}"], [{column: text}], SCHEMA)
    assert typed[column].to_pylist() == [value]
    unread = json.loads(typed[UNPARSED][0].as_py() or "{}")
    assert unread == ({column: text} if value is None else {})


def test_what_a_text_file_could_not_say_stays_unread_though_it_looks_like_a_number() -> None:
    landed = json.dumps({"number": "12", "amount": "1.234", "is_new": "true", "name": "12"})
    typed = typed_rows([landed], [{}], SCHEMA)
    assert json.loads(typed[UNPARSED][0].as_py()) == {
        "number": "12",
        "amount": "1.234",
        "is_new": "true",
    }
    text = SCHEMA.append(pa.field(UNPARSED, pa.string()))
    typed = typed_rows(['{"amount": "inf"}'], [{}], text)
    assert json.loads(typed[UNPARSED][0].as_py()) == {"amount": "inf"}


def test_cells_are_spelled_so_that_they_can_be_read() -> None:
    assert [text_of_cell(value) for value in (None, True, 2**53 + 1, 0.1, "x")] == [
        *(None, "true", "9007199254740993", "0.1", "x")
    ]
