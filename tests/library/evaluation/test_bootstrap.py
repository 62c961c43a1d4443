"""Bootstrap: what scikit-learn says of the drawn rows, honest intervals, and direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from include.errors import MonitoringError
from include.evaluation import bootstrap
from include.evaluation.bootstrap import _statistic, bootstrap_interval, paired_bootstrap
from include.evaluation.metric_values import check_scores, measure
from include.specification.metric_names import Metric, names_for
from include.specification.problem import Problem

MakeScores = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
BINARY, REGRESSION = Problem("binary"), Problem("regression")
LETTERS = Problem("multiclass", ("a", "b", "c"))
OF_EACH_TASK = [
    (problem, name) for problem in (BINARY, LETTERS, REGRESSION) for name in names_for(problem.task)
]


def make_case(
    problem: Problem, rows: int, make_scores: MakeScores
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make labels, good scores and poorer ones; a letter ``d`` is never known."""
    if problem.task == "binary":
        return make_scores(rows)
    generator = np.random.default_rng(3)
    if problem.task == "regression":
        y = generator.gamma(2.0, 5.0, rows)
        return y, y + generator.normal(0.2, 1, rows), y + generator.normal(-1, 4, rows)
    y = generator.choice(list("abcd"), rows, p=[0.5, 0.3, 0.15, 0.05]).astype(object)
    hot = np.array([[label == name for name in problem.classes] for label in y], dtype=float)
    models = []
    for weight in (2.0, 0.7):
        shares = np.exp(weight * hot + generator.normal(0, 1, hot.shape)).round(1) + 0.1
        models.append(shares / shares.sum(axis=1, keepdims=True))
    return y, models[0], models[1]


class TestBootstrap:
    @pytest.mark.parametrize(("problem", "name"), OF_EACH_TASK)
    @pytest.mark.parametrize("decimals", [1, 16])
    def test_a_resample_is_what_scikit_learn_says_of_its_rows(
        self, make_scores: MakeScores, problem: Problem, name: str, decimals: int
    ) -> None:
        y, scores, _ = make_case(problem, 300, make_scores)
        if problem.task != "multiclass":
            scores = scores.round(decimals)
            scores[:3], scores[-3:] = [0.0, 1.0, 0.5], [0.0, 1.0, 0.5]
        labels, values = check_scores(problem, y, scores)
        statistic = _statistic(problem.metric(name), problem, labels, values)
        generator = np.random.default_rng(5)
        for _ in range(4):
            drawn = np.zeros(300, dtype=np.int64)
            for stratum in [labels == label for label in set(labels)]:
                if problem.task == "regression":
                    stratum = np.ones(300, dtype=bool)
                inside = np.flatnonzero(stratum)
                drawn[stratum] = np.bincount(generator.choice(inside, len(inside)), minlength=300)[
                    inside
                ]
            rows = np.repeat(np.arange(300), drawn)
            expected = measure(name, problem, y[rows], scores[rows])
            assert statistic(drawn) == pytest.approx(expected, rel=1e-12)

    def test_a_metric_of_classes_that_no_table_tells_is_measured_on_the_rows(
        self, make_scores: MakeScores
    ) -> None:
        y, scores, _ = make_scores(300)
        metric = Metric("hamming_loss", ("binary",), "classes", higher_is_better=False)
        labels, values = check_scores(BINARY, y, scores)
        drawn = np.random.default_rng(5).integers(1, 4, 300)
        wrong = (values >= 0.5) != labels
        expected = float((wrong * drawn).sum() / drawn.sum())
        assert _statistic(metric, BINARY, labels, values)(drawn) == pytest.approx(expected)

    def test_interval_matches_a_plain_bootstrap(self, make_scores: MakeScores) -> None:
        y, scores, _ = make_scores(400, share=0.25)
        interval = bootstrap_interval("roc_auc", BINARY, y, scores, confidence=0.9, seed=1)
        assert interval.value == measure("roc_auc", BINARY, y, scores)
        # The area is the share of pairs in the right order, ties half.
        above = np.sign(scores[:100, np.newaxis] - scores[np.newaxis, 100:]) / 2 + 0.5
        assert above.mean() == pytest.approx(sk.roc_auc_score(y, scores))
        generator = np.random.default_rng(99)
        drawn = []
        for _ in range(1000):
            inside, outside = generator.integers(0, 100, 100), generator.integers(0, 300, 300)
            drawn.append(above[inside][:, outside].mean())
        assert interval.lower == pytest.approx(np.quantile(drawn, 0.05), abs=0.006)
        assert interval.upper == pytest.approx(np.quantile(drawn, 0.95), abs=0.006)

    def test_interval_of_a_mean_is_what_theory_says(self, make_scores: MakeScores) -> None:
        y, values, _ = make_case(REGRESSION, 2000, make_scores)
        errors = np.abs(y - values)
        interval = bootstrap_interval(
            "mean_absolute_error", REGRESSION, y, values, confidence=0.9, seed=1
        )
        half = 1.645 * errors.std() / np.sqrt(2000)
        assert interval.value == pytest.approx(errors.mean())
        assert interval.lower == pytest.approx(errors.mean() - half, abs=0.15 * half)
        assert interval.upper == pytest.approx(errors.mean() + half, abs=0.15 * half)

    def test_one_row_a_class_has_no_spread(self) -> None:
        interval = bootstrap_interval("roc_auc", BINARY, [0, 1], [0.2, 0.7], confidence=0.9, seed=1)
        assert (interval.lower, interval.value, interval.upper) == (1.0, 1.0, 1.0)
        shares = [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]
        interval = bootstrap_interval(
            "f1_macro", LETTERS, ["a", "d"], shares, confidence=0.9, seed=1
        )
        assert interval.lower == interval.value == interval.upper == pytest.approx(1 / 3)

    @pytest.mark.parametrize(
        ("problem", "name"),
        [(BINARY, "roc_auc"), (LETTERS, "log_loss"), (REGRESSION, "median_absolute_error")],
    )
    def test_same_seed_same_bounds(
        self, make_scores: MakeScores, problem: Problem, name: str
    ) -> None:
        y, good, poor = make_case(problem, 500, make_scores)
        runs = [
            paired_bootstrap(name, problem, y, good, poor, confidence=0.95, resamples=50, seed=seed)
            for seed in (7, 7, 8)
        ]
        assert runs[0] == runs[1]
        assert runs[0].lower != runs[2].lower

    @pytest.mark.parametrize(("problem", "name"), OF_EACH_TASK)
    def test_better_is_positive_in_every_metric(
        self, make_scores: MakeScores, problem: Problem, name: str
    ) -> None:
        y, good, poor = make_case(problem, 600, make_scores)
        # Noise alone makes neither of these surely worse.
        poor = {"precision": 1 - good, "recall": good / 2}.get(name, poor)
        options = {"confidence": 0.95, "resamples": 100, "seed": 1}
        result = paired_bootstrap(name, problem, y, good, poor, **options)
        assert 0 < result.lower <= result.difference <= result.upper
        mirrored = paired_bootstrap(name, problem, y, poor, good, **options)
        assert mirrored.difference == -result.difference
        assert mirrored.upper == pytest.approx(-result.lower)

    @pytest.mark.parametrize(
        ("problem", "name"),
        [(BINARY, "roc_auc"), (LETTERS, "balanced_accuracy"), (REGRESSION, "r2")],
    )
    def test_identical_models_differ_by_nothing(
        self, make_scores: MakeScores, problem: Problem, name: str
    ) -> None:
        y, good, _ = make_case(problem, 200, make_scores)
        result = paired_bootstrap(
            name, problem, y, good, good, confidence=0.95, resamples=50, seed=1
        )
        assert (result.difference, result.lower, result.upper) == (0, 0, 0)

    def test_own_metric_is_computed_on_the_drawn_rows(self, make_scores: MakeScores) -> None:
        own = Metric(f"{__name__}:largest_label", ("regression",), "values")
        problem = Problem("regression", own_metrics={"own": own})
        y = np.arange(50.0)
        interval = bootstrap_interval("own", problem, y, y, confidence=0.9, resamples=200, seed=1)
        assert interval.upper == 49.0
        assert 40 < interval.lower < 49

    @pytest.mark.parametrize(
        ("problem", "name", "rows", "resamples"),
        [
            (REGRESSION, "median_absolute_error", 20_000, 1000),
            (REGRESSION, "median_absolute_error", 20_001, 200),
            (REGRESSION, "root_mean_squared_error", 20_001, 1000),
            (REGRESSION, "own", 20_001, 200),
            (BINARY, "roc_auc", 20_001, 1000),
            (BINARY, "f1", 20_001, 1000),
            (BINARY, "own", 20_001, 200),
            (LETTERS, "roc_auc_ovr", 20_001, 200),
            (LETTERS, "accuracy", 20_001, 1000),
            (LETTERS, "log_loss", 20_001, 1000),
        ],
    )
    def test_fewer_resamples_only_where_it_is_slow_on_many_rows(
        self,
        monkeypatch: pytest.MonkeyPatch,
        problem: Problem,
        name: str,
        rows: int,
        resamples: int,
    ) -> None:
        monkeypatch.setattr(bootstrap, "_statistic", lambda *_: lambda drawn: 0.0)
        monkeypatch.setattr(bootstrap, "_draw", lambda *_: np.zeros(0, dtype=np.int64))
        takes: Any = "values" if problem is REGRESSION else "classes"
        own = Metric(f"{__name__}:largest_label", (problem.task,), takes)
        problem = dataclasses.replace(problem, own_metrics={"own": own})
        y: Any = np.arange(rows) % 2
        scores = y * 0.5
        if problem.task == "multiclass":
            y, scores = np.array(["a", "b"])[y], np.full((rows, 3), 1 / 3)
        interval = bootstrap_interval(name, problem, y, scores, confidence=0.9, seed=1)
        assert interval.resamples == resamples

    def test_own_metric_of_classes_is_given_classes(self) -> None:
        own = Metric(f"{__name__}:largest_label", ("binary",), "classes")
        problem = Problem("binary", own_metrics={"own": own})
        interval = bootstrap_interval(
            "own", problem, [0, 1], [0.1, 0.9], confidence=0.9, resamples=5, seed=1
        )
        assert (interval.lower, interval.upper, interval.resamples) == (1.0, 1.0, 5)

    @pytest.mark.parametrize(
        ("problem", "name", "sign"),
        [(BINARY, "roc_auc", 1), (BINARY, "log_loss", -1), (REGRESSION, "mean_squared_error", -1)],
    )
    def test_the_difference_is_how_much_better(
        self, make_scores: MakeScores, problem: Problem, name: str, sign: int
    ) -> None:
        y, good, poor = make_case(problem, 100, make_scores)
        result = paired_bootstrap(
            name, problem, y, good, poor, confidence=0.95, resamples=1, seed=1
        )
        assert result.challenger == measure(name, problem, y, good)
        assert result.champion == measure(name, problem, y, poor)
        assert result.difference == sign * (result.challenger - result.champion)
        assert (result.confidence, result.resamples) == (0.95, 1)
        assert result.lower == result.upper

    def test_a_seed_draws_what_the_ledger_says_it_drew(self) -> None:
        y, scores = [0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.5, 0.2, 0.4, 0.6]
        interval = bootstrap_interval(
            "roc_auc", BINARY, y, scores, confidence=0.8, resamples=9, seed=3
        )
        # 1 + 2 + 3 of 9 pairs are in order.
        assert interval.value == pytest.approx(6 / 9)
        assert (interval.lower, interval.upper) == (pytest.approx(0.31111111111111106), 1.0)

    def test_certainty_is_clipped_where_scikit_learn_does(self) -> None:
        interval = bootstrap_interval(
            "log_loss", BINARY, [0, 1], [0.0, 1.0], confidence=0.9, resamples=5, seed=1
        )
        assert interval.value > 0
        assert interval.lower == interval.upper == interval.value

    def test_relative_errors_of_nothing_are_huge_as_in_scikit_learn(self) -> None:
        interval = bootstrap_interval(
            "mean_absolute_percentage_error",
            REGRESSION,
            [0.0, 0.0],
            [1.0, 1.0],
            confidence=0.9,
            resamples=5,
            seed=1,
        )
        assert interval.lower == interval.upper == interval.value > 1e15

    def test_impossible_requests_are_refused(self) -> None:
        y, scores = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
        for confidence in (0.0, 1.0):
            with pytest.raises(MonitoringError, match="confidence in"):
                bootstrap_interval("roc_auc", BINARY, y, scores, confidence=confidence, seed=1)
        with pytest.raises(MonitoringError, match="at least one resample"):
            bootstrap_interval("roc_auc", BINARY, y, scores, confidence=0.9, resamples=0, seed=1)


def largest_label(labels: np.ndarray, values: np.ndarray) -> float:
    """An own metric."""
    return float(labels.max())
