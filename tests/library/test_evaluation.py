"""Evaluation: the same numbers as scikit-learn, honest intervals, and every odd input."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from include.errors import MonitoringError
from include.evaluation import (
    Evidence,
    _statistic,
    bootstrap_interval,
    calibration_curve,
    calibration_error,
    gather_evidence,
    higher_is_better,
    metric,
    observed_over_predicted,
    paired_bootstrap,
    roc_points,
    slice_metrics,
)
from include.specification import METRICS, Promotion

Y = [0, 0, 1, 1]
SCORES = [0.1, 0.4, 0.35, 0.8]
POLICY = Promotion.model_validate({"require": {"roc_auc": 0.6}, "guard": {"slices": ["state"]}})


def sample(
    rows: int, share: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = (np.arange(rows) < rows * share).astype(int)
    good = np.clip(generator.beta(2, 6, rows) + 0.25 * y, 0, 1)
    poor = np.clip(good + generator.normal(0, 0.3, rows), 0, 1).round(2)
    return y, good, poor


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


class TestBootstrap:
    @pytest.mark.parametrize("name", METRICS)
    @pytest.mark.parametrize("decimals", [1, 16])
    def test_a_resample_is_what_scikit_learn_says_of_its_rows(
        self, name: str, decimals: int
    ) -> None:
        y, scores, _ = sample(300)
        scores = scores.round(decimals)
        scores[:3], scores[-3:] = [0.0, 1.0, 0.5], [0.0, 1.0, 0.5]
        of_rows = _statistic(name, y.astype(bool), scores)
        generator = np.random.default_rng(5)
        for _ in range(20):
            positives = np.bincount(generator.integers(0, 30, 30), minlength=30)
            negatives = np.bincount(generator.integers(0, 270, 270), minlength=270)
            drawn = np.repeat(np.arange(300), np.concatenate([positives, negatives]))
            expected = metric(name, y[drawn], scores[drawn])
            assert of_rows(positives, negatives) == pytest.approx(expected, rel=1e-12)

    def test_interval_matches_a_plain_bootstrap(self) -> None:
        y, scores, _ = sample(400, share=0.25)
        interval = bootstrap_interval("roc_auc", y, scores, confidence=0.9, seed=1)
        assert interval.value == metric("roc_auc", y, scores)
        generator = np.random.default_rng(99)
        drawn = []
        for _ in range(1000):
            rows = np.concatenate(
                [generator.integers(0, 100, 100), generator.integers(100, 400, 300)]
            )
            drawn.append(sk.roc_auc_score(y[rows], scores[rows]))
        assert interval.lower == pytest.approx(np.quantile(drawn, 0.05), abs=0.006)
        assert interval.upper == pytest.approx(np.quantile(drawn, 0.95), abs=0.006)

    def test_one_row_a_class_has_no_spread(self) -> None:
        interval = bootstrap_interval("roc_auc", [0, 1], [0.2, 0.7], confidence=0.9, seed=1)
        assert (interval.lower, interval.value, interval.upper) == (1.0, 1.0, 1.0)

    def test_same_seed_same_bounds(self) -> None:
        y, good, poor = sample(500)
        runs = [
            paired_bootstrap("roc_auc", y, good, poor, confidence=0.95, resamples=50, seed=seed)
            for seed in (7, 7, 8)
        ]
        assert runs[0] == runs[1]
        assert runs[0].lower != runs[2].lower

    @pytest.mark.parametrize("name", METRICS)
    def test_better_is_positive_in_every_metric(self, name: str) -> None:
        y, good, poor = sample(3000)
        result = paired_bootstrap(name, y, good, poor, confidence=0.95, seed=1)
        assert 0 < result.lower < result.difference < result.upper
        mirrored = paired_bootstrap(name, y, poor, good, confidence=0.95, seed=1)
        assert mirrored.difference == -result.difference
        assert mirrored.upper == pytest.approx(-result.lower)

    def test_identical_models_differ_by_nothing(self) -> None:
        y, good, _ = sample(200)
        result = paired_bootstrap("roc_auc", y, good, good, confidence=0.95, seed=1)
        assert (result.difference, result.lower, result.upper) == (0, 0, 0)

    def test_impossible_requests_are_refused(self) -> None:
        with pytest.raises(MonitoringError, match="confidence in"):
            bootstrap_interval("roc_auc", Y, SCORES, confidence=1.0, seed=1)
        with pytest.raises(MonitoringError, match="at least one resample"):
            bootstrap_interval("roc_auc", Y, SCORES, confidence=0.9, resamples=0, seed=1)

    def test_is_fast_enough(self) -> None:
        y, good, poor = sample(35_000)
        started = time.monotonic()
        paired_bootstrap("roc_auc", y, good, poor, confidence=0.95, seed=1)
        assert time.monotonic() - started < 3


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


def test_roc_points_are_few_and_reach_both_corners() -> None:
    y, good, _ = sample(5000)
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


class TestGatherEvidence:
    def test_with_a_champion(self) -> None:
        y, good, poor = sample(2000)
        slices = pd.DataFrame({"state": np.where(np.arange(2000) % 100 == 0, "AK", "CA")})
        evidence = gather_evidence(
            y, good, poor, slices, policy=POLICY, metric="roc_auc", seed=7, partitions=["2004-Q4"]
        )
        assert (evidence.rows, evidence.positives) == (2000, 200)
        assert evidence.partitions == ("2004-Q4",)
        assert evidence.challenger["roc_auc"].value == metric("roc_auc", y, good)
        assert evidence.champion == {"roc_auc": metric("roc_auc", y, poor)}
        assert evidence.comparison == paired_bootstrap(
            "roc_auc", y, good, poor, confidence=0.95, seed=7
        )
        alaska, california = evidence.slices
        assert (alaska.level, alaska.rows, alaska.positives) == ("AK", 20, 2)
        assert alaska.challenger is alaska.champion is alaska.difference is alaska.upper is None
        assert california.difference is not None
        assert california.upper is not None
        assert california.upper > california.difference > 0
        document = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
        assert Evidence.from_dict(document) == evidence

    def test_without_a_champion(self) -> None:
        y, good, _ = sample(1000)
        slices = pd.DataFrame({"state": ["CA"] * 1000})
        evidence = gather_evidence(y, good, None, slices, policy=POLICY, metric="log_loss", seed=7)
        assert evidence.champion is evidence.comparison is None
        assert set(evidence.challenger) == {"log_loss", "roc_auc"}
        (only,) = evidence.slices
        assert only.challenger == metric("log_loss", y, good)
        assert only.champion is None
        assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))) == evidence

    @pytest.mark.parametrize("rows", [0, 5])
    def test_absent_rows_or_class_leave_no_metric(self, rows: int) -> None:
        slices = pd.DataFrame({"state": ["CA"] * rows})
        evidence = gather_evidence(
            [0] * rows,
            [0.1] * rows,
            [0.2] * rows,
            slices,
            policy=POLICY,
            metric="roc_auc",
            seed=7,
        )
        assert (evidence.rows, evidence.positives) == (rows, 0)
        assert evidence.challenger == evidence.champion == {}
        assert evidence.comparison is None
        assert evidence.calibration_error == (pytest.approx(0.1) if rows else None)

    def test_guarded_column_must_be_there(self) -> None:
        with pytest.raises(MonitoringError, match="slice state: must be a column"):
            gather_evidence(
                Y, SCORES, None, pd.DataFrame(index=range(4)), policy=POLICY, metric="x", seed=7
            )
