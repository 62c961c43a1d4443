"""Bootstrap: what scikit-learn says of the drawn rows, honest intervals, and direction."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from include.bootstrap import _statistic, bootstrap_interval, paired_bootstrap
from include.errors import MonitoringError
from include.evaluation import metric
from include.metrics import METRICS

MakeScores = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


class TestBootstrap:
    @pytest.mark.parametrize("name", METRICS)
    @pytest.mark.parametrize("decimals", [1, 16])
    def test_a_resample_is_what_scikit_learn_says_of_its_rows(
        self, make_scores: MakeScores, name: str, decimals: int
    ) -> None:
        y, scores, _ = make_scores(300)
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

    def test_interval_matches_a_plain_bootstrap(self, make_scores: MakeScores) -> None:
        y, scores, _ = make_scores(400, share=0.25)
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

    def test_same_seed_same_bounds(self, make_scores: MakeScores) -> None:
        y, good, poor = make_scores(500)
        runs = [
            paired_bootstrap("roc_auc", y, good, poor, confidence=0.95, resamples=50, seed=seed)
            for seed in (7, 7, 8)
        ]
        assert runs[0] == runs[1]
        assert runs[0].lower != runs[2].lower

    @pytest.mark.parametrize("name", METRICS)
    def test_better_is_positive_in_every_metric(self, make_scores: MakeScores, name: str) -> None:
        y, good, poor = make_scores(3000)
        result = paired_bootstrap(name, y, good, poor, confidence=0.95, seed=1)
        assert 0 < result.lower < result.difference < result.upper
        mirrored = paired_bootstrap(name, y, poor, good, confidence=0.95, seed=1)
        assert mirrored.difference == -result.difference
        assert mirrored.upper == pytest.approx(-result.lower)

    def test_identical_models_differ_by_nothing(self, make_scores: MakeScores) -> None:
        y, good, _ = make_scores(200)
        result = paired_bootstrap("roc_auc", y, good, good, confidence=0.95, seed=1)
        assert (result.difference, result.lower, result.upper) == (0, 0, 0)

    def test_impossible_requests_are_refused(self) -> None:
        with pytest.raises(MonitoringError, match="confidence in"):
            bootstrap_interval(
                "roc_auc", [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], confidence=1.0, seed=1
            )
        with pytest.raises(MonitoringError, match="at least one resample"):
            bootstrap_interval(
                "roc_auc", [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], confidence=0.9, resamples=0, seed=1
            )

    def test_is_fast_enough(self, make_scores: MakeScores) -> None:
        y, good, poor = make_scores(35_000)
        started = time.monotonic()
        paired_bootstrap("roc_auc", y, good, poor, confidence=0.95, seed=1)
        assert time.monotonic() - started < 3
