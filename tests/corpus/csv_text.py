"""CSV: its bytes, its quotes and lines, and what its cells mean."""

from __future__ import annotations

from datetime import date, datetime

from tests.corpus.case import Kept, Landed, Quarantined, raw, refused, rows, text
from tests.corpus.files import CSV, LINES, TWO

HEAD = "id,at,amount\n"


def cells(*amounts: str, head: str = HEAD) -> str:
    """Write rows with these cells as the amount."""
    return head + "".join(f"{n},2005-04-03,{cell}\n" for n, cell in enumerate(amounts, 1))


DAY = date(2005, 4, 3)

CASES = (
    Landed("a byte order mark", text("\ufeff" + LINES), 2, Kept(TWO), CSV),
    Landed("line ends of Windows", text(LINES.replace("\n", "\r\n")), 2, Kept(TWO), CSV),
    Landed(
        "mixed line ends, and none at the end of the file",
        text("id,at,amount\r\n1,2005-04-03 06:30:00,10.5\r2,2005-04-03 06:30:00,20.5"),
        2,
        Kept(TWO),
        CSV,
    ),
    Landed("blank lines between rows", text(LINES.replace("\n", "\n\n")), 2, Kept(TWO), CSV),
    Landed(
        "UTF-16 with its mark, where the pipeline file says nothing",
        text(LINES, encoding="utf-16"),
        2,
        refused("ingest", "a.csv", "byte order mark of utf-16", "csv: {encoding: utf-16}"),
        CSV,
    ),
    Landed(
        "UTF-16, where the pipeline file says so",
        text(LINES, encoding="utf-16"),
        2,
        Kept(TWO),
        {**CSV, "csv": {"encoding": "utf-16"}},
    ),
    Landed(
        "invalid UTF-8 (Latin-1), where the pipeline file says nothing",
        text(cells("caf\u00e9"), encoding="latin-1"),
        1,
        refused("ingest", "a.csv", "readable as CSV", "Correct its encoding"),
        CSV,
    ),
    Landed(
        "Latin-1, where the pipeline file says so",
        text(cells("caf\u00e9"), encoding="latin-1"),
        1,
        Kept(rows("id at amount", (1, DAY, "caf\u00e9"))),
        {**CSV, "csv": {"encoding": "latin-1"}},
    ),
    Landed(
        "UTF-8, where the pipeline file says Latin-1",
        text(cells("caf\u00e9")),
        1,
        refused("ingest", "a.csv", "must be latin-1, got UTF-8"),
        {**CSV, "csv": {"encoding": "latin-1"}},
    ),
    Landed(
        "a NUL character in a cell",
        text(cells("a\0b")),
        1,
        refused("ingest", "a.csv", "NUL"),
        CSV,
    ),
    Landed(
        "a line end, a delimiter and a quote within quotes",
        text(cells('"two\nlines"', '"a,b"', '"say ""hi"""')),
        3,
        Kept(rows("id at amount", (1, DAY, "two\nlines"), (2, DAY, "a,b"), (3, DAY, 'say "hi"'))),
        CSV,
    ),
    Landed(
        "a quote that is never closed",
        text(cells('"open', "b", "c")),
        3,
        refused("ingest", "a.csv", "every quote must be closed", "line 2"),
        CSV,
    ),
    Landed(
        "a line with more cells than the header",
        text(cells("1", "2,surprise", "3")),
        3,
        refused("ingest", "a.csv", "every line must have 3 cells", "4 in line 3"),
        CSV,
    ),
    Landed(
        "a line with fewer cells than the header",
        text(cells("1") + "2,2005-04-03\n"),
        2,
        refused("ingest", "a.csv", "every line must have 3 cells", "2 in line 3"),
        CSV,
    ),
    Landed(
        "a header with the same name twice",
        text("id,at,amount,amount\n1,2005-04-03,1,2\n"),
        1,
        refused("ingest", "a.csv", "each column once, got 'amount' more than once"),
        CSV,
    ),
    Landed(
        "a header with an empty cell",
        text(",id,at,amount\n0,1,2005-04-03,1\n"),
        1,
        refused("ingest", "a.csv", "must name every column, got none for column 1"),
        CSV,
    ),
    Landed(
        "names that are equal but for case",
        text("id,at,amount,Amount\n1,2005-04-03,1,2\n"),
        1,
        refused("ingest", "a.csv", "differ by more than case", "'amount' and 'Amount'"),
        CSV,
    ),
    Landed(
        "names that are equal but for the way an accent is stored",
        text("id,at,caf\u00e9,cafe\u0301\n1,2005-04-03,1,2\n"),
        1,
        refused("ingest", "a.csv", "the way an accent is stored"),
        CSV,
    ),
    Landed(
        "columns named as Relevo's own: partition",
        text("id,at,Partition\n1,2005-04-03,x\n"),
        1,
        refused("ingest", "a.csv", "must not use 'partition'", "'Partition'"),
        CSV,
    ),
    Landed(
        "columns named as Relevo's own: _file",
        text("id,at,_file\n1,2005-04-03,x\n"),
        1,
        refused("ingest", "a.csv", "begin with '_'", "'_file'"),
        CSV,
    ),
    Landed(
        "columns named label, known_at, score, key and held_out",
        text("id,at,label,known_at,score,key,held_out\n1,2005-04-03,a,b,c,d,e\n"),
        1,
        Kept(rows("id at label known_at score key held_out", (1, DAY, "a", "b", "c", "d", "e"))),
        CSV,
    ),
    Landed(
        "no header: the first row is one of data",
        text("1,2005-04-03,10\n2,2005-04-03,20\n"),
        1,
        refused("validate", 'The column "id"', "does not exist"),
        CSV,
    ),
    Landed(
        "semicolons, where the pipeline file says nothing",
        text(LINES.replace(",", ";")),
        2,
        refused("validate", 'The column "id"', "does not exist"),
        CSV,
    ),
    Landed(
        "a first line sep=; as Excel writes it",
        text("sep=;\n" + LINES.replace(",", ";")),
        2,
        refused("ingest", "a.csv", "'sep=;'", "csv.delimiter"),
        CSV,
    ),
    Landed(
        "cells of spaces, NA, NULL and NaN",
        text(cells("  ", "NA", "null", "NaN", "1")),
        5,
        Kept(rows("id at amount", *((n, DAY, None) for n in (1, 2, 3, 4)), (5, DAY, 1))),
        CSV,
    ),
    Landed(
        "whole numbers above 2^53",
        text(cells("9007199254740993", "9223372036854775807", "-9223372036854775808")),
        3,
        Kept(
            rows(
                "id at amount",
                (1, DAY, 2**53 + 1),
                (2, DAY, 2**63 - 1),
                (3, DAY, -(2**63)),
            )
        ),
        CSV,
    ),
    Landed(
        "whole numbers above 2^53 beside an empty cell",
        text(cells("9007199254740993", "")),
        2,
        Kept(rows("id at amount", (1, DAY, 2**53 + 1), (2, DAY, None))),
        CSV,
    ),
    Landed(
        "whole numbers above 2^53 beside a fraction",
        text(cells("9007199254740993", "0.5")),
        2,
        Kept(rows("id at amount", (1, DAY, "9007199254740993"), (2, DAY, "0.5"))),
        CSV,
    ),
    Landed(
        "whole numbers of 20 digits",
        text(cells("12345678901234567890", "12345678901234567891")),
        2,
        Kept(
            rows("id at amount", (1, DAY, "12345678901234567890"), (2, DAY, "12345678901234567891"))
        ),
        CSV,
    ),
    Landed(
        "codes with leading zeros",
        text(cells("01014", "10014")),
        2,
        Kept(rows("id at amount", (1, DAY, "01014"), (2, DAY, "10014"))),
        CSV,
    ),
    Landed(
        "infinity in a column of numbers",
        text(cells("1.5", "inf", "2.5")),
        3,
        Quarantined(
            rows("id at amount", (1, DAY, 1.5), (3, DAY, 2.5)),
            {1: "amount: must be a number, got 'inf'"},
        ),
        {**CSV, "types": {"amount": "number"}},
    ),
    Landed(
        "a number that no float holds (1e400)",
        text(cells("1.5", "1e400")),
        2,
        Quarantined(rows("id at amount", (1, DAY, 1.5)), {1: "must be a number, got '1e400'"}),
        {**CSV, "types": {"amount": "number"}},
    ),
    Landed(
        "numbers with thousands signs, where the pipeline file says so",
        text(cells('"1,000.50"', '"1,00"', "7")),
        3,
        Quarantined(
            rows("id at amount", (1, DAY, 1000.5), (3, DAY, 7.0)),
            {1: "must be a number, got '1,00'"},
        ),
        {**CSV, "csv": {"thousands": ","}, "types": {"amount": "number"}},
    ),
    Landed(
        "a decimal comma, where the pipeline file says so",
        text('id,at,amount\n1,2005-04-03,"10,5"\n2,2005-04-03,"1.000"\n'),
        2,
        Quarantined(rows("id at amount", (1, DAY, 10.5)), {1: "got '1.000'"}),
        {**CSV, "csv": {"decimal": ","}, "types": {"amount": "number"}},
    ),
    Landed(
        "a cell of 200,000 letters",
        text(cells("w" * 200_000)),
        1,
        Kept(rows("id at amount", (1, DAY, "w" * 200_000))),
        CSV,
    ),
    Landed(
        "times with offsets on both sides of the hour that summer time skips",
        text("id,at,amount\n1,2005-03-27T01:59:59+01:00,1\n2,2005-03-27T03:00:00+02:00,2\n"),
        2,
        Kept(
            rows(
                "id at amount",
                (1, datetime(2005, 3, 27, 0, 59, 59), 1),
                (2, datetime(2005, 3, 27, 1), 2),
            )
        ),
        CSV,
    ),
    Landed(
        "mixed time zones: Z, an offset and none (which is UTC)",
        text(
            "id,at,amount\n1,2005-04-03T12:00:00Z,1\n2,2005-04-03T12:00:00-05:00,2\n3,2005-04-03T12:00:00,3\n"
        ),
        3,
        Kept(
            rows(
                "id at amount",
                (1, datetime(2005, 4, 3, 12), 1),
                (2, datetime(2005, 4, 3, 17), 2),
                (3, datetime(2005, 4, 3, 12), 3),
            )
        ),
        CSV,
    ),
    Landed(
        "times that name a zone (10:00 Europe/Paris)",
        text("id,at,amount\n1,2005-04-03 10:00 Europe/Paris,1\n2,2005-04-03 10:00,2\n"),
        2,
        Quarantined(
            rows("id at amount", (2, datetime(2005, 4, 3, 10), 2)),
            {0: "at: must be a timestamp, got '2005-04-03 10:00 Europe/Paris'"},
        ),
        {**CSV, "types": {"at": "timestamp"}},
    ),
    Landed(
        "dates that two countries read differently (03/04/2005)",
        text("id,at,amount\n1,03/04/2005,1\n2,2005-04-03,2\n"),
        2,
        Quarantined(rows("id at amount", (2, DAY, 2)), {0: "at: must be a date, got '03/04/2005'"}),
        {**CSV, "types": {"at": "date"}},
    ),
    Landed(
        "a day that no calendar has (2005-02-30)",
        text("id,at,amount\n1,2005-02-30,1\n2,2005-04-03,2\n"),
        2,
        Quarantined(rows("id at amount", (2, DAY, 2)), {0: "must be a date, got '2005-02-30'"}),
        {**CSV, "types": {"at": "date"}},
    ),
    Landed(
        "times finer than a microsecond",
        text("id,at,amount\n1,2005-04-03T00:00:00.123456789,1\n"),
        1,
        Kept(rows("id at amount", (1, datetime(2005, 4, 3, 0, 0, 0, 123456), 1)), "microsecond"),
        CSV,
    ),
    Landed(
        "a column without a value in the first batch",
        text(cells("", "")),
        2,
        refused("ingest", "a.csv", "column amount must have a type", "types"),
        CSV,
    ),
    Landed(
        "a type for a column that is not there",
        text(LINES),
        2,
        refused("ingest", "a.csv", "every column that types names", "amuont"),
        {**CSV, "types": {"amuont": "number"}},
    ),
    Landed(
        "formulas (=1+1), markup and control characters in texts",
        text(cells("=1+1", "<script>alert(1)</script>", "bell\x07")),
        3,
        Kept(
            rows(
                "id at amount",
                (1, DAY, "=1+1"),
                (2, DAY, "<script>alert(1)</script>"),
                (3, DAY, "bell\x07"),
            )
        ),
        CSV,
    ),
    Landed(
        "a key that is missing in one row",
        text("id,at,amount\n,2005-04-03,1\n2,2005-04-03,2\n"),
        2,
        Quarantined(rows("id at amount", (2, DAY, 2)), {0: "null"}),
        CSV,
    ),
    Landed(
        "binary data named .csv",
        raw(a_csv=bytes(range(256))),
        0,
        refused("ingest", "a.csv", "NUL bytes"),
        CSV,
    ),
)
