"""Evaluation: the same numbers as scikit-learn, calibration by hand, and every odd input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from include.errors import MonitoringError
from include.evaluation import (
    calibration_curve,
    calibration_error,
    higher_is_better,
    metric,
    observed_over_predicted,
    roc_points,
    slice_metrics,
)
from include.metrics import METRICS

MakeScores = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
Y = [0, 0, 1, 1]
SCORES = [0.1, 0.4, 0.35, 0.8]


class TestMetric:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("roc_auc", 3 / 4),
            ("average_precision", (1 + 2 / 3) / 2),
            ("brier_score", (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4),
            (
                "log_loss",
                -(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4,
            ),
        ],
    )
    def test_by_hand(self, name: str, expected: float) -> None:
        assert metric(name, Y, SCORES) == pytest.approx(expected, rel=1e-12)

    def test_constant_scores_know_nothing(self) -> None:
        assert metric("roc_auc", Y, [0.5] * 4) == 0.5

    def test_direction(self) -> None:
        assert {name for name in METRICS if higher_is_better(name)} == {
            "roc_auc",
            "average_precision",
        }
        with pytest.raises(MonitoringError, match="did you mean 'roc_auc'"):
            higher_is_better("rocauc")

    @pytest.mark.parametrize(
        ("y", "scores", "message"),
        [
            ([1, 1], [0.1, 0.2], "needs both classes, got 2 positives and 0 negatives"),
            ([], [], "got 0 positives and 0 negatives"),
            ([0, 1], [0.1, np.nan], r"must lie in \[0, 1\], got nan"),
            ([0, 1], [0.1, np.inf], r"got inf and 1 such of 2"),
            ([0, 1], [-0.1, 0.2], r"got -0.1"),
            ([0, 2], [0.1, 0.2], "labels: must be 0 or 1"),
            ([0.0, np.nan], [0.1, 0.2], "labels: must be 0 or 1"),
            ([0, 1], [0.1], r"shape of the labels \(2,\), got \(1,\)"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(
        self, y: list[float], scores: list[float], message: str
    ) -> None:
        with pytest.raises(MonitoringError, match=message):
            metric("roc_auc", y, scores)


class TestCalibration:
    def test_by_hand(self) -> None:
        y, scores = [0, 1, 1, 1], [0.2, 0.4, 0.6, 0.8]
        first, second = calibration_curve(y, scores, bins=2)
        assert (first.predicted, first.observed, first.rows) == (pytest.approx(0.3), 0.5, 2)
        assert (second.predicted, second.observed) == (pytest.approx(0.7), 1.0)
        assert calibration_error(y, scores, bins=2) == pytest.approx((0.2 + 0.3) / 2)

    def test_constant_scores_are_one_bin_whatever_the_order(self) -> None:
        for y in ([0, 0, 0, 1], [1, 0, 0, 0]):
            assert calibration_error(y, [0.5] * 4) == 0.25

    def test_fewer_rows_than_bins_and_one_class(self) -> None:
        assert calibration_error([1], [0.25]) == 0.75
        assert calibration_error([0, 0], [0.0, 0.0]) == 0.0

    def test_no_rows(self) -> None:
        with pytest.raises(MonitoringError, match="at least one row"):
            calibration_error([], [])

    def test_observed_over_predicted(self) -> None:
        assert observed_over_predicted([1, 1, 0, 0], [0.25] * 4) == 2.0
        with pytest.raises(MonitoringError, match="add up to more than 0"):
            observed_over_predicted([0, 1], [0.0, 0.0])


def test_roc_points_are_few_and_reach_both_corners(make_scores: MakeScores) -> None:
    y, good, _ = make_scores(5000)
    points = roc_points(y, good)
    assert len(points) <= 200
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert list(points) == sorted(points)
    assert roc_points([0, 1], [0.1, 0.9]) == ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))


class TestSlices:
    def test_small_slices_have_no_value(self) -> None:
        y = [0, 1, 0, 1, 0, 0]
        column = pd.Series(["b", "b", "a", "a", None, None], index=[5, 4, 3, 2, 1, 0])
        found = slice_metrics(
            "roc_auc", y, [0.1, 0.9, 0.9, 0.1, 0.5, 0.5], column, minimum_per_class=1
        )
        assert [(s.level, s.rows, s.positives, s.value) for s in found] == [
            ("(missing)", 2, 0, None),
            ("a", 2, 1, 0.0),
            ("b", 2, 1, 1.0),
        ]
        assert [s.value for s in slice_metrics("roc_auc", y, [0.5] * 6, column)] == [None] * 3

    def test_numbers_and_categories_cut_too(self) -> None:
        y, scores = [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8]
        for column in (
            pd.Series([1, 1, 2, 2]),
            pd.Series([1, 1, 2, 2], dtype="category"),
            pd.Series([True, True, False, False]),
        ):
            found = slice_metrics("roc_auc", y, scores, column, minimum_per_class=1)
            assert [s.value for s in found] == [1.0, 1.0]

    def test_length_must_match(self) -> None:
        with pytest.raises(MonitoringError, match="must have 4 rows, got 1"):
            slice_metrics("roc_auc", Y, SCORES, pd.Series(["a"], name="state"))
