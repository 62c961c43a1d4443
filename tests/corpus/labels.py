"""Labels: twice, contradicting, too early, too late, of nobody, and no labels at all."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pyarrow as pa

from tests.corpus.case import Kept, Landed, Quarantined, parquet, refused, rows

MAY, JUNE, AFTER = datetime(2005, 5, 2), datetime(2005, 6, 2), datetime(2005, 7, 1)
LABELS = {"labels": {"column": "bad", "known_at": "known"}}
NUMBER = {**LABELS, "task": "regression"}
POSITIVE = {"labels": {"column": "bad", "known_at": "known", "positive": "yes"}}


def labels(*values: tuple[Any, Any, Any]) -> Any:
    """Land outcomes of (id, bad, known)."""
    ids, bad, known = zip(*values, strict=True)
    return parquet(id=list(ids), bad=list(bad), known=pa.array(known, pa.timestamp("us")))


def held(*values: tuple[Any, Any, Any]) -> list[Any]:
    """Keep outcomes of (id, bad, known)."""
    return list(rows("id bad known", *values))


def kept(what: str, counts: dict[int, Any], *values: tuple[Any, Any, Any], **how: Any) -> Landed:
    """Keep every row that lands."""
    source = how.pop("source", LABELS)
    return Landed(
        what, labels(*values), len(values), Kept(held(*values)), source, counts=counts, **how
    )


def contradicting(what: str, one: Any, other: Any, source: Any = LABELS) -> Landed:
    """Quarantine two labels of one row, and keep the two of others."""
    values = ((1, one, MAY), (2, one, MAY), (3, other, MAY), (1, other, MAY))
    reason = "bad: one id must have one label at a moment, got"
    return Landed(
        what,
        labels(*values),
        4,
        Quarantined(held(*values[1:3]), {0: reason, 3: reason}),
        source,
    )


CASES = (
    kept("a label twice, the same", {1: 1, 2: 0}, (1, 1, MAY), (1, 1, MAY), (2, 0, MAY)),
    contradicting("a label twice, contradicting, known at one moment", 0, 1),
    contradicting("two numbers for one row, known at one moment", 0.5, 0.25, NUMBER),
    kept("a label that is corrected later", {1: 0}, (1, 1, MAY), (1, 0, JUNE)),
    kept(
        "a label that is corrected in the next partition, known at the same moment",
        {1: 0, 2: 1},
        (1, 0, datetime(2005, 2, 1)),
        before=labels((1, 1, datetime(2005, 2, 1)), (2, 1, datetime(2005, 2, 1))),
    ),
    kept("labels of entities that nobody knows", {1: 1}, (1, 1, MAY), (999, 0, MAY)),
    kept("a label without a value", {2: 0}, (1, None, MAY), (2, 0, MAY)),
    kept("a label without known_at", {2: 0}, (1, 1, None), (2, 0, MAY)),
    kept("a label that is NaN", {2: 0.5}, (1, math.nan, MAY), (2, 0.5, MAY), source=NUMBER),
    kept("one class only", {1: 1, 2: 1}, (1, 1, MAY), (2, 1, MAY)),
    Landed(
        "a label that is infinite",
        labels((1, math.inf, MAY), (2, 0.5, MAY)),
        2,
        refused("validate", "labels must be finite numbers, got 1"),
        NUMBER,
    ),
    Landed(
        "a label known when the partition had closed",
        labels((1, 1, AFTER), (2, 0, MAY)),
        2,
        refused("validate", "known must lie before the partition closed (2005-07-01), got 1 rows"),
        LABELS,
    ),
    Landed(
        "a third value of a binary label",
        labels((1, 2, MAY), (2, 0, MAY)),
        2,
        refused("validate", "a binary label must be 0 and 1", "got 2"),
        LABELS,
    ),
    Landed(
        "three texts where labels.positive names one of two",
        labels((1, "yes", MAY), (2, "no", MAY), (3, "perhaps", MAY)),
        3,
        refused("validate", "bad must hold 'yes' and one other value, got 2 others: no, perhaps"),
        POSITIVE,
    ),
    Landed(
        "texts as the label of a regression",
        labels(
            (1, "high", MAY),
        ),
        1,
        refused("validate", "the label of a regression must be a number"),
        NUMBER,
    ),
    Landed(
        "a label without the entity",
        labels((None, 1, MAY), (2, 0, MAY)),
        2,
        Quarantined(held((2, 0, MAY)), {0: "null"}),
        LABELS,
    ),
    Landed(
        "no column of the label's name",
        parquet(id=[1], worse=[1], known=[MAY]),
        1,
        refused("ingest", "must have a column bad, which sources.outcomes.labels.column"),
        LABELS,
    ),
    Landed(
        "known_at as texts that are no times",
        parquet(id=[1], bad=[1], known=["yesterday"]),
        1,
        refused("validate", "column known", "ISO 8601"),
        LABELS,
    ),
)
