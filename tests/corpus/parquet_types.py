"""Parquet: types, values and names that few files have."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tests.corpus.case import (
    AT,
    Kept,
    Landed,
    Quarantined,
    parquet,
    parquet_bytes,
    raw,
    refused,
    rows,
)


def column(array: Any) -> Any:
    """Land rows with this column as the amount."""
    count = len(array)
    return parquet(id=list(range(1, count + 1)), at=[AT] * count, amount=array)


def held(*values: Any) -> Kept:
    """Keep rows with these values as the amount."""
    return Kept(rows("id at amount", *((n, AT, value) for n, value in enumerate(values, 1))))


def not_plain(what: str, array: Any) -> Landed:
    """Refuse a type that no table stores."""
    return Landed(
        what, column(array), len(array), refused("ingest", "a.parquet", "column amount must be a")
    )


NAMES = ("two\nlines", "a.b", "`tick`", "\U0001f600", "it's", "a b", "{partition}", "select")
WIDE = {f"c{n}": [n] for n in range(1000)}
CATEGORIES = [f"category {n}" for n in range(10_000)]

CASES = (
    Landed(
        "NaN and infinities",
        column([math.nan, math.inf, -math.inf, 1.5]),
        4,
        held(math.nan, math.inf, -math.inf, 1.5),
    ),
    Landed(
        "whole numbers above 2^53 beside a null",
        column(pa.array([2**53 + 1, None, 2**63 - 1])),
        3,
        held(2**53 + 1, None, 2**63 - 1),
    ),
    Landed(
        "unsigned whole numbers above 2^63",
        column(pa.array([1, 2**63], pa.uint64())),
        2,
        refused("ingest", "a.parquet", "column amount", "up to 2**63 - 1", "in row 2"),
    ),
    Landed("unsigned bytes", column(pa.array([0, 255], pa.uint8())), 2, held(0, 255)),
    Landed("half floats", column(pa.array([0.5, 1.5], pa.float16())), 2, held(0.5, 1.5)),
    Landed(
        "a dictionary (a pandas category) with a null",
        column(pa.array(["a", None, "b"]).dictionary_encode()),
        3,
        held("a", None, "b"),
    ),
    Landed(
        "decimals",
        column(
            pa.array([Decimal("0.10"), Decimal("12345678901234567890.12")], pa.decimal128(30, 2))
        ),
        2,
        held(Decimal("0.10"), Decimal("12345678901234567890.12")),
    ),
    Landed(
        "decimals of more than 38 digits",
        column(pa.array([Decimal(10**40)], pa.decimal256(50, 0))),
        1,
        refused("ingest", "a.parquet", "column amount must be a"),
    ),
    not_plain("durations", pa.array([timedelta(seconds=5)], pa.duration("us"))),
    not_plain("times of day", pa.array([time(10, 30)], pa.time64("us"))),
    not_plain("lists", pa.array([[1, 2]])),
    not_plain("structs", pa.array([{"a": 1}])),
    not_plain("maps", pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))),
    not_plain("binary data", pa.array([b"\x00\xff"])),
    Landed(
        "timestamps with a zone, an hour of which summer time repeats",
        column(
            pa.array(
                [datetime(2005, 10, 30, 0, 30), datetime(2005, 10, 30, 1, 30)],
                pa.timestamp("us", "UTC"),
            ).cast(pa.timestamp("us", "Europe/Paris"))
        ),
        2,
        held(datetime(2005, 10, 30, 0, 30), datetime(2005, 10, 30, 1, 30)),
    ),
    Landed(
        "nanoseconds",
        column(pa.array([1_112_486_400_000_000_123], pa.timestamp("ns"))),
        1,
        Kept(rows("id at amount", (1, AT, datetime(2005, 4, 3))), "microsecond"),
    ),
    Landed(
        "times outside the years 1 to 9999",
        column(pa.array([10**18], pa.timestamp("ms"))),
        1,
        refused("ingest", "a.parquet", "column amount", "years 1 to 9999", "row 1"),
    ),
    Landed(
        "days as Arrow's date64",
        column(pa.array([date(2005, 4, 3)], pa.date64())),
        1,
        held(date(2005, 4, 3)),
    ),
    Landed(
        "a column of type null in the first batch",
        column(pa.nulls(2)),
        2,
        refused("ingest", "a.parquet", "column amount must have a type"),
    ),
    Landed(
        "a column of type null, for which the pipeline file names a type",
        column(pa.nulls(2)),
        2,
        held(None, None),
        {"types": {"amount": "number"}},
    ),
    Landed(
        "a text that is no UTF-8",
        column(pa.array([b"caf\xe9"]).view(pa.string())),
        1,
        refused("ingest", "a.parquet", "column amount must hold text in UTF-8"),
    ),
    Landed(
        "two columns of one name",
        raw(
            a_parquet=parquet_bytes(
                pa.Table.from_arrays(
                    [pa.array([1]), pa.array([1]), pa.array([2])], ["id", "x", "x"]
                )
            )
        ),
        1,
        refused("ingest", "a.parquet", "each column once, got 'x' more than once"),
    ),
    Landed(
        "a column whose name is blank",
        raw(
            a_parquet=parquet_bytes(
                pa.Table.from_arrays([pa.array([1]), pa.array([1])], ["id", ""])
            )
        ),
        1,
        refused("ingest", "a.parquet", "must name every column, got none for column 2"),
    ),
    Landed(
        "names with a line end, a dot, backticks, an emoji, quotes, blanks, braces, a word of SQL",
        parquet(id=[1], at=[AT], **{name: [n] for n, name in enumerate(NAMES)}),
        1,
        Kept([{"id": 1, "at": AT, **{name: n for n, name in enumerate(NAMES)}}]),
    ),
    Landed(
        "a column name of 5,000 letters",
        parquet(id=[1], at=[AT], **{"x" * 5000: [1]}),
        1,
        Kept([{"id": 1, "at": AT, "x" * 5000: 1}]),
    ),
    Landed(
        "1,000 columns",
        parquet(id=[1], at=[AT], **WIDE),
        1,
        Kept([{"id": 1, "at": AT, **{name: values[0] for name, values in WIDE.items()}}]),
    ),
    Landed(
        "the index of a pandas frame (__index_level_0__)",
        parquet(id=[1], at=[AT], __index_level_0__=[7]),
        1,
        refused("ingest", "a.parquet", "begin with '_'", "__index_level_0__"),
    ),
    Landed("10,000 categories", column(CATEGORIES), 10_000, held(*CATEGORIES)),
    Landed("a constant column", column([7.0] * 3), 3, held(7.0, 7.0, 7.0)),
    Landed(
        "float keys that may stand for several whole numbers",
        parquet(id=[float(2**53), 1.0], at=[AT] * 2),
        2,
        refused("ingest", "column id names rows", "9007199254740992"),
    ),
    Landed(
        "keys that are NaN",
        parquet(id=[math.nan, math.nan, 1.0, 2.0], at=[AT] * 4),
        4,
        Quarantined(rows("id at", (1.0, AT), (2.0, AT)), {0: "null", 1: "null"}),
    ),
)
