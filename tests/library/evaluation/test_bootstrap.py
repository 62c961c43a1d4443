"""Bootstrap: what scikit-learn says of the drawn rows, honest intervals, and direction."""

from __future__ import annotations

from collections.abc import Callable

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
        for _ in range(10):
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

    def test_interval_matches_a_plain_bootstrap(self, make_scores: MakeScores) -> None:
        y, scores, _ = make_scores(400, share=0.25)
        interval = bootstrap_interval("roc_auc", BINARY, y, scores, confidence=0.9, seed=1)
        assert interval.value == measure("roc_auc", BINARY, y, scores)
        generator = np.random.default_rng(99)
        drawn = []
        for _ in range(1000):
            rows = np.concatenate(
                [generator.integers(0, 100, 100), generator.integers(100, 400, 300)]
            )
            drawn.append(sk.roc_auc_score(y[rows], scores[rows]))
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
        y, good, poor = make_case(problem, 2000, make_scores)
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

    def test_fewer_resamples_only_where_it_is_slow_on_many_rows(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        y = np.linspace(0, 1, 100)

        def resamples(name: str) -> int:
            return bootstrap_interval(name, REGRESSION, y, y, confidence=0.9, seed=1).resamples

        assert resamples("median_absolute_error") == 1000
        monkeypatch.setattr(bootstrap, "_SLOW_ROWS", 99)
        assert resamples("median_absolute_error") == 200
        assert resamples("root_mean_squared_error") == 1000

    def test_impossible_requests_are_refused(self) -> None:
        y, scores = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
        with pytest.raises(MonitoringError, match="confidence in"):
            bootstrap_interval("roc_auc", BINARY, y, scores, confidence=1.0, seed=1)
        with pytest.raises(MonitoringError, match="at least one resample"):
            bootstrap_interval("roc_auc", BINARY, y, scores, confidence=0.9, resamples=0, seed=1)


def largest_label(labels: np.ndarray, values: np.ndarray) -> float:
    """An own metric."""
    return float(labels.max())
