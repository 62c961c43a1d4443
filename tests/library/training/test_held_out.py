"""Held-out rows of two generations side by side: each version by its own features."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include.errors import TrainingError
from include.features.feature_columns import HELD_OUT, KNOWN_AT, LABEL, SLICE
from include.registry.model_files import ModelVersion
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.training.held_out import read_held_out
from include.training.training_sets import TrainingSet
from tests.library.conftest import MakePipeline

# No float holds these apart.
IDS = [2**53 + number for number in range(6)]
FIRST = datetime(2004, 1, 1)


def times(hours: int) -> pa.Array:
    return pa.array(
        [FIRST + timedelta(days=at, hours=hours) for at in range(6)], pa.timestamp("us")
    )


def version(number: int, column: str, training_set: Any, **generations: int) -> ModelVersion:
    return ModelVersion(
        *("p", number, "2004-Q2", "run", "c", (column,), (), {}, training_set),
        generations=generations,
    )


@pytest.fixture
def challenger(lake: Lake, origin: Origin, make_pipeline: MakePipeline) -> ModelVersion:
    """A version of y, of which all but the first row of a training set were held out."""
    rows = pa.table(
        {
            "id": IDS,
            "at": times(0),
            "y": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            SLICE: ["2004-Q1"] * 6,
            LABEL: [0, 1, 0, 1, 0, 1],
            KNOWN_AT: times(1),
            HELD_OUT: [False] + [True] * 5,
        }
    )
    reference = lake.write(
        "training_sets_2", with_partition(rows, "2004-Q2"), partitions=["2004-Q2"], origin=origin
    )
    made = TrainingSet(reference, (), ("2004-Q1",), (1, 5), {"0": 3, "1": 3})
    return version(2, "y", made.to_dict(), features=2)


def write_features(lake: Lake, origin: Origin, ids: list[int], hours: int) -> None:
    """Write the features of the old generation in another order."""
    rows = pa.table(
        {"id": ids, "at": times(hours), "x": [10.0 * (key - IDS[0]) for key in ids]}
    ).take([5, 4, 3, 2, 1, 0])
    lake.write("features", with_partition(rows, "2004-Q1"), partitions=["2004-Q1"], origin=origin)


def test_the_same_rows_whatever_their_order(
    lake: Lake, origin: Origin, make_pipeline: MakePipeline, challenger: ModelVersion
) -> None:
    write_features(lake, origin, IDS, 0)
    held = read_held_out(lake, make_pipeline(), challenger, version(1, "x", {}))
    assert held.challenger["y"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert held.champion["x"].tolist() == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert held.labels.tolist() == [1, 0, 1, 0, 1]
    assert held.left_out == 0
    alone = read_held_out(lake, make_pipeline(), challenger, None)
    assert alone.challenger["y"].tolist() == held.challenger["y"].tolist()


def test_rows_of_one_alone_are_left_out_and_counted(
    lake: Lake, origin: Origin, make_pipeline: MakePipeline, challenger: ModelVersion
) -> None:
    write_features(lake, origin, [*IDS[:4], 7, 8], 0)
    held = read_held_out(lake, make_pipeline(), challenger, version(1, "x", {}))
    assert held.champion["x"].tolist() == [10.0, 20.0, 30.0]
    assert held.labels.tolist() == [1, 0, 1]
    assert held.left_out == 2


def test_no_row_of_both(
    lake: Lake, origin: Origin, make_pipeline: MakePipeline, challenger: ModelVersion
) -> None:
    write_features(lake, origin, IDS, 5)
    with pytest.raises(TrainingError, match=r"features and features_2 must share held-out rows.*5"):
        read_held_out(lake, make_pipeline(), challenger, version(1, "x", {}))
