"""Confusion: metrics of classes from a table, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from include.evaluation.confusion import statistic

# Truth by prediction. Nothing is of class c or taken for it, nothing is of d, e has one row.
TABLE = np.array(
    [
        [3.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 2.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
)


@pytest.mark.parametrize(
    ("function", "average", "expected"),
    [
        ("accuracy_score", "", 6 / 8),
        ("balanced_accuracy_score", "", (3 / 4 + 2 / 3 + 1) / 3),
        # By chance: 4 * 3 + 3 * 3 + 1 * 1 of 64.
        ("cohen_kappa_score", "", (48 - 22) / (64 - 22)),
        ("matthews_corrcoef", "", (6 * 8 - 22) / math.sqrt((64 - 26) * (64 - 20))),
        ("precision_score", "macro", (1 + 2 / 3 + 0 + 1) / 4),
        ("precision_score", "weighted", (4 * 1 + 3 * 2 / 3 + 1) / 8),
        ("precision_score", "micro", 6 / 8),
        ("recall_score", "macro", (3 / 4 + 2 / 3 + 0 + 1) / 4),
        ("recall_score", "weighted", 6 / 8),
        ("recall_score", "micro", 6 / 8),
        ("f1_score", "macro", (6 / 7 + 4 / 6 + 0 + 1) / 4),
        ("f1_score", "weighted", (4 * 6 / 7 + 3 * 4 / 6 + 1) / 8),
        ("f1_score", "micro", 6 / 8),
    ],
)
def test_five_classes_by_hand(function: str, average: str, expected: float) -> None:
    assert statistic(function, average)(TABLE) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("function", "expected"),
    [("precision_score", 4 / 5), ("recall_score", 4 / 6), ("f1_score", 8 / 11)],
)
def test_binary_is_about_the_second_class(function: str, expected: float) -> None:
    table = np.array([[5.0, 1.0], [2.0, 4.0]])
    assert statistic(function, "binary")(table) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("function", ["precision_score", "f1_score", "matthews_corrcoef"])
def test_what_is_never_predicted_is_worth_nothing(function: str) -> None:
    assert statistic(function, "binary")(np.array([[3.0, 0.0], [2.0, 0.0]])) == 0.0


def test_a_sole_right_answer_counts_in_full() -> None:
    table = np.array([[1.0, 0.0], [0.0, 1.0]])
    for function in ("precision_score", "recall_score", "f1_score", "matthews_corrcoef"):
        assert statistic(function, "binary")(table) == 1.0


def test_little_spread_is_spread() -> None:
    # Spread (4 - 2) * (4 - 2) with truth and prediction opposed.
    assert statistic("matthews_corrcoef", "")(np.array([[0.0, 1.0], [1.0, 0.0]])) == -1.0
