"""Batches that differ from the good one before them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pyarrow as pa

from tests.corpus.case import AT, Kept, Landed, Quarantined, parquet, refused, rows, text
from tests.corpus.csv_text import DAY, cells
from tests.corpus.files import CSV, EARLIER, LINES, TWO

JANUARY = datetime(2005, 1, 10, 6, 30)
LINE = "1,2005-04-03 06:30:00"


NUMBERS = parquet(id=[11], at=[JANUARY], amount=[1.5])
WHOLE = parquet(id=[11], at=[JANUARY], amount=[1])
TEXTS = parquet(id=[11], at=[JANUARY], amount=["1"])

CASES = (
    Landed(
        "columns in another order",
        text("amount,id,at\n10.5,1,2005-04-03 06:30:00\n"),
        1,
        Kept(TWO[:1]),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "a column renamed",
        text(LINES.replace("amount", "amounts")),
        2,
        refused(
            "ingest", "a.csv", "every column of the table so far", "amount (perhaps now 'amounts')"
        ),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "a column renamed in its case only",
        text(LINES.replace("amount", "Amount")),
        2,
        refused(
            "ingest", "a.csv", "every column of the table so far", "amount (perhaps now 'Amount')"
        ),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "a column left out",
        text(f"id,at\n{LINE}\n"),
        1,
        refused("ingest", "a.csv", "every column of the table so far", "1 missing: amount"),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "a column more",
        text(f"id,at,amount,colour\n{LINE},10.5,red\n"),
        1,
        Kept(TWO[:1], "column colour (string) is not in the table and is left out"),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "another schema altogether",
        text("a,b\n1,2\n"),
        1,
        refused("ingest", "a.csv", "3 missing: id, at"),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "semicolons from now on",
        text(LINES.replace(",", ";")),
        2,
        refused("ingest", "a.csv", "every column of the table so far"),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "thousands signs from now on",
        text(f'id,at,amount\n{LINE},10.5\n2,2005-04-03 06:30:00,"1,000.50"\n'),
        2,
        Quarantined(TWO[:1], {1: "amount: must be a number, got '1,000.50'"}),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "thousands signs in every row from now on",
        text(f'id,at,amount\n{LINE},"1,000.50"\n'),
        1,
        refused("validate", "amount", "a.csv"),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "infinity from now on",
        text(f"id,at,amount\n{LINE},10.5\n2,2005-04-03 06:30:00,-Infinity\n"),
        2,
        Quarantined(TWO[:1], {1: "amount: must be a number, got '-Infinity'"}),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "fractions where there were whole numbers (CSV)",
        text(cells("1", "2.5")),
        2,
        Quarantined(rows("id at amount", (1, DAY, 1)), {1: "must be an integer, got '2.5'"}),
        CSV,
        before=text("id,at,amount\n11,2005-01-10,1\n"),
    ),
    Landed(
        "fractions where there were whole numbers (Parquet)",
        parquet(id=[1], at=[AT], amount=[2.5]),
        1,
        refused("ingest", "a.parquet", "column amount must be int64 as in the table, got double"),
        before=WHOLE,
    ),
    Landed(
        "whole numbers that became floats because of a null",
        parquet(id=[1, 2], at=[AT, AT], amount=[2.0, None]),
        2,
        Kept(rows("id at amount", (1, AT, 2), (2, AT, None))),
        before=WHOLE,
    ),
    Landed(
        "whole numbers as floats above 2^53",
        parquet(id=[1], at=[AT], amount=[float(2**53 + 2)]),
        1,
        refused("ingest", "a.parquet", "column amount must be int64 as in the table, got double"),
        before=WHOLE,
    ),
    Landed(
        "texts where there were numbers",
        parquet(id=[1], at=[AT], amount=["2.5"]),
        1,
        refused("ingest", "a.parquet", "column amount must be double as in the table, got string"),
        before=NUMBERS,
    ),
    Landed(
        "numbers where there were texts",
        parquet(id=[1], at=[AT], amount=[7]),
        1,
        refused("ingest", "a.parquet", "column amount must be string as in the table, got int64"),
        before=TEXTS,
    ),
    Landed(
        "booleans where there were numbers",
        parquet(id=[1], at=[AT], amount=[True]),
        1,
        refused("ingest", "a.parquet", "column amount must be double as in the table, got bool"),
        before=NUMBERS,
    ),
    Landed(
        "a column of nulls only",
        parquet(id=[1], at=[AT], amount=pa.nulls(1)),
        1,
        Kept(rows("id at amount", (1, AT, None))),
        before=TEXTS,
    ),
    Landed(
        "lists where there were numbers",
        parquet(id=[1], at=[AT], amount=[[1.5]]),
        1,
        refused("ingest", "a.parquet", "column amount must be a"),
        before=NUMBERS,
    ),
    Landed(
        "decimals of another scale, whose values fit",
        parquet(id=[1], at=[AT], amount=pa.array([Decimal("2.500")], pa.decimal128(10, 3))),
        1,
        Kept(rows("id at amount", (1, AT, Decimal("2.50")))),
        before=parquet(
            id=[11], at=[JANUARY], amount=pa.array([Decimal("1.50")], pa.decimal128(10, 2))
        ),
    ),
    Landed(
        "decimals of another scale, whose values do not fit",
        parquet(id=[1], at=[AT], amount=pa.array([Decimal("2.505")], pa.decimal128(10, 3))),
        1,
        refused("ingest", "a.parquet", "column amount must be decimal128(10, 2) as in the table"),
        before=parquet(
            id=[11], at=[JANUARY], amount=pa.array([Decimal("1.50")], pa.decimal128(10, 2))
        ),
    ),
    Landed(
        "timestamps of a zone where there were naive ones",
        parquet(
            id=[1],
            at=pa.array([datetime(2005, 4, 3, 12)], pa.timestamp("us", "America/New_York")),
            amount=[1.5],
        ),
        1,
        Kept(rows("id at amount", (1, datetime(2005, 4, 3, 12), 1.5))),
        before=NUMBERS,
    ),
    Landed(
        "keys that were in the partition before",
        text("id,at,amount\n11,2005-04-03 06:30:00,10.5\n"),
        1,
        Kept(rows("id at amount", (11, AT, 10.5))),
        CSV,
        before=EARLIER,
    ),
    Landed(
        "keys as texts where there were numbers",
        parquet(id=["1"], at=[AT], amount=[1.5]),
        1,
        refused("ingest", "a.parquet", "column id must be int64 as in the table, got string"),
        before=NUMBERS,
    ),
    Landed(
        "categories that were never seen",
        parquet(id=[1], at=[AT], amount=["new"]),
        1,
        Kept(rows("id at amount", (1, AT, "new"))),
        before=TEXTS,
    ),
    Landed(
        "a suite that names a column that is gone",
        text(LINES),
        2,
        refused("validate", "colour", "clear this task"),
        {**CSV, "suite": "gone"},
    ),
)
