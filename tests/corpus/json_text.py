"""JSON lines: what is no line of them, and values that JSON allows."""

from __future__ import annotations

from datetime import date

from tests.corpus.case import Kept, Landed, Quarantined, refused, rows, text

JSON = {"format": "json_lines"}
DAY = date(2005, 4, 3)


def lines(*amounts: str) -> str:
    """Write objects with these values as the amount."""
    return "".join(
        f'{{"id": {n}, "at": "2005-04-03", "amount": {value}}}\n'
        for n, value in enumerate(amounts, 1)
    )


CASES = (
    Landed(
        "nested values",
        text(lines('{"a": 1}'), "a.jsonl"),
        1,
        refused("ingest", "a.jsonl", "column amount", "a nested value in line 1"),
        JSON,
    ),
    Landed(
        "one array of objects in place of lines",
        text('[{"id": 1}]\n', "a.jsonl"),
        1,
        refused("ingest", "a.jsonl", "line 1 must be one JSON object"),
        JSON,
    ),
    Landed(
        "a line that was cut off",
        text(lines("1") + '{"id": 2, "at": "20', "a.jsonl"),
        2,
        refused("ingest", "a.jsonl", "line 2 must be one JSON object"),
        JSON,
    ),
    Landed(
        "a key twice in an object",
        text('{"id": 1, "at": "2005-04-03", "id": 2}\n', "a.jsonl"),
        1,
        refused("ingest", "a.jsonl", "line 1 must have each key once", "'id'"),
        JSON,
    ),
    Landed(
        "a key that some lines do not have",
        text(lines("1") + '{"id": 2, "at": "2005-04-03"}\n', "a.jsonl"),
        2,
        Kept(rows("id at amount", (1, DAY, 1), (2, DAY, None))),
        JSON,
    ),
    Landed(
        "NaN and infinities, which are no JSON",
        text(lines("NaN", "Infinity", "1.5"), "a.jsonl"),
        3,
        Quarantined(
            rows("id at amount", (1, DAY, None), (3, DAY, 1.5)),
            {1: "amount: must be a number, got 'Infinity'"},
        ),
        {**JSON, "types": {"amount": "number"}},
    ),
    Landed(
        "numbers and texts in one column",
        text(lines("1", '"n/a"', "2"), "a.jsonl"),
        3,
        Kept(rows("id at amount", (1, DAY, "1"), (2, DAY, "n/a"), (3, DAY, "2"))),
        JSON,
    ),
    Landed(
        "whole numbers above 2^53, and a number that is quoted",
        text(lines("9007199254740993", "1"), "a.jsonl"),
        2,
        Kept(rows("id at amount", (1, DAY, 2**53 + 1), (2, DAY, 1))),
        JSON,
    ),
    Landed(
        "half a character (\\ud800)",
        text(lines('"a\\ud800"'), "a.jsonl"),
        1,
        refused("ingest", "a.jsonl", "line 1 must hold whole characters"),
        JSON,
    ),
    Landed(
        "a line separator (U+2028) in a text",
        text(lines('"two\u2028lines"'), "a.jsonl"),
        1,
        Kept(rows("id at amount", (1, DAY, "two\u2028lines"))),
        JSON,
    ),
    Landed(
        "10,000 brackets, one in the other",
        text(lines("[" * 10_000 + "]" * 10_000), "a.jsonl"),
        1,
        refused("ingest", "a.jsonl", "line 1 must be one JSON object"),
        JSON,
    ),
    Landed(
        "invalid UTF-8",
        lambda: {"a.jsonl": lines('"caf\u00e9"').encode("latin-1")},
        1,
        refused("ingest", "a.jsonl", "readable as JSON lines"),
        JSON,
    ),
    Landed(
        "a byte order mark, and blank lines",
        text("\ufeff" + lines("1") + "\n\n", "a.jsonl"),
        1,
        Kept(rows("id at amount", (1, DAY, 1))),
        JSON,
    ),
    Landed(
        "objects without keys",
        text("{}\n{}\n", "a.jsonl"),
        2,
        refused("ingest", "a.jsonl", "objects must have keys"),
        JSON,
    ),
)
