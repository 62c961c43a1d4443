"""The data of a world: the same in every one, drawn once."""

from __future__ import annotations

import io
from datetime import timedelta

import numpy as np
import pandas as pd

from include.calendar.partitions import Partition
from include.storage.object_store import ObjectStore
from stack.torture.project import HISTORY

ROWS = 160
BAD_ROWS = 4
_COLOURS = ("red", "green", "blue")
# From the second scored partition on: rows move, and another column says what is bad.
DRIFTED_FROM = HISTORY + 1
LABEL_DELAY = timedelta(days=20)


def rows_of(partition: Partition, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the loans of a partition, some of them bad, and their outcomes.

    Args:
        partition: Their partition.
        number: How many were landed before it.

    Returns:
        (loans, outcomes): ``loan_id``, ``made_at``, ``x``, ``y``, ``colour``; ``loan_id``, ``bad``,
        ``known_at`` in the partition after.
    """
    generator = np.random.default_rng([2020, number])
    drifted = number >= DRIFTED_FROM
    x, y = generator.normal(size=(2, ROWS)).round(6)
    signal = -2 * y if drifted else 2 * x
    x = x + (2.0 if drifted else 0.0)
    noise = generator.normal(size=ROWS)
    ids = [f"{partition}/{number:04d}" for number in range(ROWS)]
    start = pd.Timestamp(partition.start)
    made_at = start + pd.to_timedelta(np.arange(ROWS), unit="h")
    bad = (signal + noise > 0).astype("int64")
    loans = pd.DataFrame(
        {
            "loan_id": ids,
            "made_at": made_at.astype("datetime64[us]"),
            "x": x,
            "y": y,
            "colour": generator.choice(_COLOURS, ROWS),
        }
    )
    # The first half fails the suite of the source, the second that of the features.
    loans.loc[: BAD_ROWS // 2 - 1, "x"] = 1000.0
    loans.loc[BAD_ROWS // 2 : BAD_ROWS - 1, "y"] = 1000.0
    known_at = pd.Timestamp(partition.shift(1).start) + LABEL_DELAY
    outcomes = pd.DataFrame({"loan_id": ids, "bad": bad})
    outcomes["known_at"] = pd.Series([known_at] * ROWS).astype("datetime64[us]")
    outcomes.loc[ROWS - 1, "bad"] = 7
    return loans, outcomes


def land(
    store: ObjectStore, pipeline: str, first: Partition, scored: int
) -> dict[str, dict[str, int]]:
    """Land every partition of a world, the history before those that are scored too.

    Returns:
        Rows by source and partition.
    """
    landed: dict[str, dict[str, int]] = {"loans": {}, "outcomes": {}}
    last = HISTORY + scored - 1
    for number in range(last + 1):
        partition = first.shift(number)
        loans, outcomes = rows_of(partition, number)
        put(store, pipeline, "loans", partition, loans)
        landed["loans"][str(partition)] = len(loans)
        if number < last:
            put(store, pipeline, "outcomes", partition.shift(1), outcomes)
            landed["outcomes"][str(partition.shift(1))] = len(outcomes)
    return landed


def put(
    store: ObjectStore, pipeline: str, source: str, partition: Partition, rows: pd.DataFrame
) -> None:
    """Land the file of a partition, in place of the one before."""
    data = io.BytesIO()
    rows.to_parquet(data, index=False)
    store.write(f"s3://landing/{pipeline}/{source}/{partition}/a.parquet", data.getvalue())
