"""Files and folders: cut off, empty, misnamed, half written."""

from __future__ import annotations

import pyarrow as pa

from tests.corpus.case import (
    AT,
    Files,
    Kept,
    Landed,
    Quarantined,
    packed,
    parquet,
    parquet_bytes,
    raw,
    refused,
    rows,
    text,
)

CSV = {"format": "csv"}
LINES = "id,at,amount\n1,2005-04-03 06:30:00,10.5\n2,2005-04-03 06:30:00,20.5\n"
TWO = rows("id at amount", (1, AT, 10.5), (2, AT, 20.5))
TABLE = pa.Table.from_pylist([dict(row) for row in TWO]).cast(
    pa.schema([("id", pa.int64()), ("at", pa.timestamp("us")), ("amount", pa.float64())])
)
PARQUET = parquet_bytes(TABLE)
EARLIER = text("id,at,amount\n11,2005-01-10 06:30:00,1.5\n12,2005-01-10 06:30:00,2.5\n")


def two_files(second: bytes, name: str = "b.csv") -> Files:
    return {"a.csv": LINES.encode(), name: second}


def _without_row_groups() -> bytes:
    sink = pa.BufferOutputStream()
    with __import__("pyarrow.parquet").parquet.ParquetWriter(sink, TABLE.schema):
        pass
    return bytes(sink.getvalue())


CASES = (
    Landed("a folder without a file", dict, 0, refused("ingest", "at least one CSV file"), CSV),
    Landed("a file of 0 bytes", raw(a_csv=b""), 0, refused("ingest", "0 bytes in a.csv"), CSV),
    Landed(
        "a file of line ends only",
        text("\n\n"),
        0,
        refused("ingest", "a.csv", "names of its columns, got nothing"),
        CSV,
    ),
    Landed(
        "a header without rows",
        text("id,at,amount\n"),
        0,
        refused("ingest", "at least one row", "set allow_empty"),
        CSV,
    ),
    Landed(
        "a header without rows, where the file says allow_empty, as the first batch",
        text("id,at,amount\n"),
        0,
        refused("ingest", "first batch must have rows"),
        {**CSV, "allow_empty": True},
    ),
    Landed(
        "a header without rows, where the file says allow_empty, after a good batch",
        text("id,at,amount\n"),
        0,
        Kept([]),
        {**CSV, "allow_empty": True},
        before=EARLIER,
    ),
    Landed("one row", text("id,at,amount\n1,2005-04-03 06:30:00,10.5\n"), 1, Kept(TWO[:1]), CSV),
    Landed(
        "a spreadsheet (.xlsx) among CSV files",
        lambda: two_files(b"PK\x03\x04", "loans.xlsx"),
        2,
        refused("ingest", "end in .csv", "loans.xlsx"),
        CSV,
    ),
    Landed(
        "a spreadsheet (.xlsx) that was renamed to .csv",
        raw(a_csv=b"PK\x03\x04" + bytes(30)),
        0,
        refused("ingest", "a.csv", "must hold text, got a zip archive, as spreadsheets are"),
        CSV,
    ),
    Landed(
        "plain text named .csv.gz",
        text(LINES, "a.csv.gz"),
        2,
        refused("ingest", "a.csv.gz", "readable as CSV"),
        CSV,
    ),
    Landed(
        "gzip named .csv",
        raw(a_csv=packed(LINES.encode())),
        2,
        refused("ingest", "a.csv", "must hold text, got gzip"),
        CSV,
    ),
    Landed("gzip named .csv.gz", raw(a_csv_gz=packed(LINES.encode())), 2, Kept(TWO), CSV),
    Landed(
        "gzip that was cut off",
        raw(a_csv_gz=packed(LINES.encode() * 50)[:60]),
        2,
        refused("ingest", "a.csv.gz", "readable as CSV"),
        CSV,
    ),
    Landed(
        "Parquet that was cut off",
        raw(a_parquet=PARQUET[:-100]),
        2,
        refused("ingest", "a.parquet", "readable as Parquet"),
    ),
    Landed(
        "Parquet with a broken page in the middle",
        raw(a_parquet=PARQUET[:40] + bytes(60) + PARQUET[100:]),
        2,
        refused("ingest", "a.parquet", "readable as Parquet"),
    ),
    Landed(
        "CSV named .parquet",
        raw(a_parquet=LINES.encode()),
        2,
        refused("ingest", "a.parquet", "readable as Parquet"),
    ),
    Landed(
        "Parquet named .csv", raw(a_csv=PARQUET), 2, refused("ingest", "a.csv", "got Parquet"), CSV
    ),
    Landed(
        "Parquet without row groups",
        raw(a_parquet=_without_row_groups()),
        0,
        refused("ingest", "at least one row"),
    ),
    Landed(
        "Parquet without row groups beside one with rows",
        raw(a_parquet=PARQUET, b_parquet=_without_row_groups()),
        2,
        Kept(TWO),
    ),
    Landed(
        "Parquet without columns",
        raw(a_parquet=parquet_bytes(pa.table({}))),
        0,
        refused("ingest", "must have columns"),
    ),
    Landed(
        "a marker of a directory (an object of 0 bytes whose name ends in /) beside the data",
        lambda: {"": b"", "sub/": b"", "a.csv": LINES.encode()},
        2,
        Kept(TWO),
        CSV,
    ),
    Landed(
        "a batch half written by Spark: _temporary and .tmp files beside the data",
        lambda: {
            "a.parquet": PARQUET,
            "_temporary/0/part-1.parquet": PARQUET,
            "b.parquet.tmp": PARQUET[:50],
        },
        2,
        Kept(TWO, "left aside"),
    ),
    Landed(
        "a batch of two files, of which the second was cut off",
        raw(a_parquet=PARQUET, b_parquet=PARQUET[:-9]),
        4,
        refused("ingest", "b.parquet", "readable as Parquet"),
    ),
    Landed(
        "the same file twice, as a.csv and as a (1).csv",
        lambda: two_files(LINES.encode(), "a (1).csv"),
        4,
        refused("validate", "at most 50.00% of 4 rows may go to quarantine", "id"),
        CSV,
    ),
    Landed(
        "two files with other columns each",
        lambda: two_files(b"id,at,price\n3,2005-04-03 06:30:00,1\n"),
        3,
        refused("ingest", "same columns", "b.csv without amount and with price"),
        CSV,
    ),
    Landed(
        "two files with the same columns in another order",
        lambda: two_files(b"amount,id,at\n30,3,2005-04-03 06:30:00\n"),
        3,
        Kept([*TWO, *rows("id at amount", (3, AT, 30.0))]),
        CSV,
    ),
    Landed(
        "two Parquet files, one with whole numbers and one with fractions",
        lambda: {
            "a.parquet": PARQUET,
            **{"b.parquet": parquet(id=[3], at=[AT], amount=[30])()["a.parquet"]},
        },
        3,
        Kept([*TWO, *rows("id at amount", (3, AT, 30.0))]),
    ),
    Landed(
        "two Parquet files, one with numbers and one with texts in a column",
        lambda: {
            "a.parquet": PARQUET,
            **{"b.parquet": parquet(id=[3], at=[AT], amount=["30"])()["a.parquet"]},
        },
        3,
        refused("ingest", "column amount must have one type in all files", "b.parquet"),
    ),
    Landed(
        "folders such as country=DE, whose value is in no column",
        lambda: {"country=DE/a.csv": LINES.encode()},
        2,
        Kept(TWO, "country=DE"),
        CSV,
    ),
    Landed(
        "an object name of spaces, an emoji, quotes and a percent sign",
        lambda: {'it\'s 100% "new" 😀 + copy.csv': LINES.encode()},
        2,
        Kept(TWO),
        CSV,
    ),
    Landed(
        "the same key twice in a batch of four",
        text(LINES + "3,2005-04-03 06:30:00,1\n1,2005-04-03 06:30:00,2\n"),
        4,
        Quarantined(TWO[1:] + rows("id at amount", (3, AT, 1.0)), {0: "unique", 3: "unique"}),
        CSV,
    ),
)
