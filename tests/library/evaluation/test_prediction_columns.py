"""Scores go into the columns of the predictions table, and come back the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.evaluation.prediction_columns import fields, from_frame, likeliest, to_columns, watched
from include.specification.problem import Problem

DECIDING = Problem("binary", threshold=0.35)
SPECIES = Problem("multiclass", ("ant", "bee", "cat"))
PROBABILITIES = np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]])


def table(problem: Problem, scores: Any) -> pa.Table:
    return pa.table(to_columns(problem, scores), schema=pa.schema(fields(problem)))


@pytest.mark.parametrize(
    ("problem", "scores"),
    [
        (Problem("binary"), np.array([0.1, 1 / 3, 1.0])),
        (DECIDING, np.array([0.1, 1 / 3, 1.0])),
        (DECIDING, np.empty(0)),
        (Problem("regression"), np.array([-1.5, 1e9, 0.1])),
        (SPECIES, PROBABILITIES),
        (SPECIES, PROBABILITIES[:1]),
        (Problem("binary"), np.empty(0)),
        (SPECIES, np.empty((0, 3))),
        (Problem("multiclass", ("ant",)), np.ones((2, 1))),
    ],
)
def test_scores_come_back_to_the_last_digit(problem: Problem, scores: np.ndarray) -> None:
    rows = table(problem, scores)
    assert rows.num_rows == len(scores)
    back = from_frame(problem, rows.to_pandas())
    assert back.shape == scores.shape
    assert back.tobytes() == scores.tobytes()


def test_columns_by_task() -> None:
    assert table(Problem("binary"), np.array([0.5])).to_pylist() == [{"score": 0.5}]
    assert table(DECIDING, np.array([0.35, np.nextafter(0.35, 0)])).to_pylist() == [
        {"score": 0.35, "prediction": 1},
        {"score": np.nextafter(0.35, 0), "prediction": 0},
    ]
    assert table(Problem("regression"), np.array([7.5])).to_pylist() == [{"prediction": 7.5}]
    assert table(SPECIES, PROBABILITIES).to_pylist() == [
        {"prediction": "bee", "score": 0.7, "probabilities": [0.2, 0.7, 0.1]},
        {"prediction": "ant", "score": 0.4, "probabilities": [0.4, 0.4, 0.2]},
        {"prediction": "cat", "score": 1.0, "probabilities": [0.0, 0.0, 1.0]},
    ]


def test_columns_that_are_slices_of_a_larger_array() -> None:
    wide = np.hstack([PROBABILITIES, PROBABILITIES])[:, 1:4]
    assert from_frame(SPECIES, table(SPECIES, wide).to_pandas()).tolist() == wide.tolist()


def test_what_drift_is_watched_on() -> None:
    numbers = np.array([0.1, 0.9])
    assert watched(Problem("binary"), numbers) is numbers
    assert watched(Problem("regression"), numbers) is numbers
    classes = watched(SPECIES, PROBABILITIES)
    assert classes.dtype == object
    assert classes.tolist() == likeliest(SPECIES, PROBABILITIES) == ["bee", "ant", "cat"]
