"""Which of several deliveries of a label counts, and as of when, from tables on a real store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from include.calendar.partitions import Frequency, Partition, parse
from include.features.known_labels import known_labels
from include.features.point_in_time import join_labels
from include.specification.pipeline import Pipeline
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin

JUNE = datetime(2005, 6, 1)


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


@pytest.fixture
def deliver(lake: Lake, origin: Origin) -> Callable[..., None]:
    """Write what a partition brings: (label, known at) of loan ``a``, or of ``b``."""

    def write(name: str, *labels: tuple[int, datetime], loan: str = "a") -> None:
        rows = pa.table(
            {
                "id": [loan] * len(labels),
                "label": pa.array([label for label, _ in labels], pa.int64()),
                "known_at": pa.array([known for _, known in labels], pa.timestamp("us")),
            }
        )
        lake.write("labels", with_partition(rows, name), partitions=[name], origin=origin)

    return write


@pytest.fixture
def label(lake: Lake, make_pipeline: Callable[..., Pipeline]) -> Callable[[str], int | None]:
    """Tell the label of loan ``a`` as of a partition."""

    def of(name: str) -> int | None:
        at = pa.array([datetime(2004, 11, 1)], pa.timestamp("us"))
        loans = to_pandas(with_partition(pa.table({"id": ["a"], "at": at}), "2004-Q4"))
        partition = quarter(name)
        known = known_labels(lake, partition)
        joined = join_labels(loans, known, make_pipeline(), partition.end)
        return int(joined["_label"].iloc[0]) if len(joined) else None

    return of


@pytest.mark.parametrize("order", [("2005-Q2", "2005-Q4"), ("2005-Q4", "2005-Q2")])
def test_a_correction_with_an_unchanged_time_counts_from_its_delivery_on(
    deliver: Any, label: Any, order: tuple[str, str]
) -> None:
    told = {"2005-Q2": (1, JUNE), "2005-Q4": (0, JUNE)}
    deliver("2005-Q3", (1, datetime(2005, 8, 1)), loan="b")
    for name in order:  # whichever was written first
        deliver(name, told[name])
    assert [label(name) for name in ("2005-Q1", "2005-Q2", "2005-Q3", "2005-Q4", "2006-Q1")] == [
        None,
        1,
        1,
        0,
        0,
    ]


def test_what_was_known_earlier_is_no_correction_of_what_was_known_later(
    deliver: Any, label: Any
) -> None:
    deliver("2005-Q2", (1, datetime(2005, 6, 20)))
    deliver("2005-Q3", (0, JUNE))
    assert (label("2005-Q2"), label("2005-Q3")) == (1, 1)


def test_within_one_delivery_the_label_known_last_counts(deliver: Any, label: Any) -> None:
    deliver("2005-Q2", (0, datetime(2005, 6, 20)), (1, JUNE))
    assert label("2005-Q2") == 0
