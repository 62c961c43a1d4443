"""Calibration: promises against what came true, by hand, for each task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from include.errors import MonitoringError
from include.evaluation.calibration import (
    calibration_curve,
    calibration_error,
    cut_by_rank,
    observed_over_predicted,
    roc_points,
)
from include.specification.problem import Problem

MakeScores = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
BINARY, REGRESSION = Problem("binary"), Problem("regression")
TWO = Problem("multiclass", ("a", "b"))


class TestCalibration:
    def test_by_hand(self) -> None:
        y, scores = [0, 1, 1, 1], [0.2, 0.4, 0.6, 0.8]
        first, second = calibration_curve(BINARY, y, scores, bins=2)
        assert (first.predicted, first.observed, first.rows) == (pytest.approx(0.3), 0.5, 2)
        assert (second.predicted, second.observed) == (pytest.approx(0.7), 1.0)
        assert calibration_error(BINARY, y, scores, bins=2) == pytest.approx((0.2 + 0.3) / 2)

    def test_constant_scores_are_one_bin_whatever_the_order(self) -> None:
        for y in ([0, 0, 0, 1], [1, 0, 0, 0]):
            assert calibration_error(BINARY, y, [0.5] * 4) == 0.25

    def test_ten_bins_unless_said_otherwise(self) -> None:
        y, scores = [0, 1] * 10, np.arange(20) / 20
        curve = calibration_curve(BINARY, y, scores)
        assert [(item.observed, item.rows) for item in curve] == [(0.5, 2)] * 10
        # |20 - 1|, |20 - 5|, ..., |20 - 37| fortieths: 100 of them over ten bins.
        assert calibration_error(BINARY, y, scores) == pytest.approx(100 / 40 / 10)

    @pytest.mark.parametrize(
        ("values", "bins", "expected"),
        [
            ([5.0, 1.0, 3.0, 2.0, 4.0], 2, [1, 0, 0, 0, 1]),
            ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 3, [0, 0, 0, 1, 1, 2, 2]),
            ([1.0, 2.0], 2, [0, 1]),
            ([1.0, 2.0], 9, [0, 1]),
            ([1.0, 2.0], 1, [0, 0]),
            ([3.0, 3.0, 3.0, 4.0], 2, [0, 0, 0, 1]),
        ],
    )
    def test_bins_are_of_equal_frequency(
        self, values: list[float], bins: int, expected: list[int]
    ) -> None:
        assert cut_by_rank(np.array(values), bins).tolist() == expected

    def test_no_bins(self) -> None:
        with pytest.raises(MonitoringError, match="one bin, got 2 and 0"):
            cut_by_rank(np.array([1.0, 2.0]), 0)

    def test_fewer_rows_than_bins_and_one_class(self) -> None:
        assert calibration_error(BINARY, [1], [0.25]) == 0.75
        assert calibration_error(BINARY, [0, 0], [0.0, 0.0]) == 0.0

    def test_no_rows(self) -> None:
        for problem, scores in ((BINARY, []), (TWO, np.empty((0, 2))), (REGRESSION, [])):
            with pytest.raises(MonitoringError, match="at least one row"):
                calibration_error(problem, [], scores)

    def test_multiclass_is_about_the_likeliest_class(self) -> None:
        shares = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]
        unsure, sure = calibration_curve(TWO, ["a", "b", "b", "new"], shares)
        assert (unsure.predicted, unsure.observed, unsure.rows) == (pytest.approx(0.6), 0.5, 2)
        assert (sure.predicted, sure.observed) == (pytest.approx(0.9), 0.5)
        error = calibration_error(TWO, ["a", "b", "b", "new"], shares)
        assert error == pytest.approx((0.1 + 0.4) / 2)

    def test_multiclass_counts_what_is_right(self) -> None:
        shares = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]
        (only,) = calibration_curve(TWO, ["a", "a", "b", "b"], shares)
        assert (only.observed, only.rows) == (0.75, 4)

    def test_regression_compares_means_and_has_no_error(self) -> None:
        low, high = calibration_curve(REGRESSION, [1, 3, 30, 50], [2, 3, 10, 20], bins=2)
        assert (low.predicted, low.observed, high.predicted, high.observed) == (2.5, 2, 15, 40)
        assert calibration_error(REGRESSION, [1.0], [2.0]) is None


class TestObservedOverPredicted:
    def test_binary(self) -> None:
        assert observed_over_predicted(BINARY, [1, 1, 0, 0], [0.25] * 4) == 2.0
        assert observed_over_predicted(BINARY, [0, 1], [0.0, 0.0]) is None
        assert observed_over_predicted(BINARY, [0, 0], [0.25, 0.25]) == 0.0

    def test_regression_where_sums_have_a_ratio(self) -> None:
        assert observed_over_predicted(REGRESSION, [10, 20], [10, 10]) == 1.5
        assert observed_over_predicted(REGRESSION, [10, 20], [10, -10]) is None
        assert observed_over_predicted(REGRESSION, [-10, 5], [10, 10]) is None
        assert observed_over_predicted(REGRESSION, [-0.5, 0.25], [10, 10]) is None
        assert observed_over_predicted(REGRESSION, [0.25, 0.25], [0.25, 0.25]) == 1.0

    def test_multiclass_has_none(self) -> None:
        assert observed_over_predicted(TWO, ["a"], [[0.5, 0.5]]) is None


def test_roc_points_are_few_and_reach_both_corners(make_scores: MakeScores) -> None:
    y, good, _ = make_scores(5000)
    points = roc_points(BINARY, y, good)
    assert len(points) == 200  # of about 900 corners
    assert len(roc_points(BINARY, y, good, limit=7)) == 7
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert list(points) == sorted(points)
    assert roc_points(BINARY, [0, 1], [0.1, 0.9]) == ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
