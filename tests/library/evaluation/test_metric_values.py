"""Evaluation: the same numbers as scikit-learn for each task, and every odd input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from include.errors import MonitoringError
from include.evaluation.metric_values import (
    check_scores,
    class_results,
    cut_slices,
    describe_unseen,
    higher_is_better,
    is_enough,
    mean_error,
    measure,
    unseen_classes,
)
from include.specification.metric_names import Metric, names_for
from include.specification.problem import Problem

BINARY, REGRESSION = Problem("binary"), Problem("regression")
RODENTS = Problem("multiclass", ("DM", "DO", "PP"))
Y = [0, 0, 1, 1]
SCORES = [0.1, 0.4, 0.35, 0.8]
# DO is taken for DM once, and SF is a class that the model has never seen.
SPECIES = ["DM", "DM", "DO", "DO", "PP", "SF"]
SHARES = [
    [0.8, 0.1, 0.1],
    [0.6, 0.3, 0.1],
    [0.5, 0.4, 0.1],
    [0.2, 0.7, 0.1],
    [0.1, 0.2, 0.7],
    [0.3, 0.3, 0.4],
]
TAKEN_FOR = ["DM", "DM", "DM", "DO", "PP", "PP"]


def mean_cost(labels: np.ndarray, classes: np.ndarray) -> float:
    """An own metric: a missed 1 costs five times a false one."""
    return float((5 * (labels > classes) + (labels < classes)).mean())


def sum_of_shares(labels: np.ndarray, shares: np.ndarray) -> float:
    """An own metric that only works if it is given one column a class."""
    return float(shares.sum(axis=1).mean())


def not_a_number(labels: np.ndarray, values: np.ndarray) -> Any:
    """An own metric that fails in silence."""
    return math.nan


def wrong(labels: np.ndarray) -> float:
    """An own metric that takes too few arguments."""
    return 0.0


def own(name: str, task: Any = "binary", takes: Any = "classes") -> Problem:
    metric = Metric(f"{__name__}:{name}", (task,), takes, False, (-math.inf, math.inf))
    return Problem(task, RODENTS.classes if task == "multiclass" else (), {"own": metric})


class TestBinary:
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
            ("accuracy", 3 / 4),
            ("precision", 1.0),
            ("recall", 1 / 2),
            ("f1", 2 / 3),
        ],
    )
    def test_by_hand(self, name: str, expected: float) -> None:
        assert measure(name, BINARY, Y, SCORES) == pytest.approx(expected, rel=1e-12)

    def test_a_half_means_yes(self) -> None:
        assert measure("recall", BINARY, [0, 1], [0.1, 0.5]) == 1.0

    def test_probabilities_reach_from_nothing_to_certainty(self) -> None:
        assert measure("brier_score", BINARY, [0, 1], [0.0, 1.0]) == 0.0

    def test_constant_scores_know_nothing(self) -> None:
        assert measure("roc_auc", BINARY, Y, [0.5] * 4) == 0.5
        assert measure("precision", BINARY, Y, [0.1] * 4) == 0.0

    @pytest.mark.parametrize(
        ("y", "scores", "message"),
        [
            ([1, 1], [0.1, 0.2], "needs both classes, got 2 positives and 0 negatives"),
            ([], [], "got 0 positives and 0 negatives"),
            ([0, 1], [0.1, np.nan], r"must lie in \[0, 1\], got nan"),
            ([0, 1], [0.1, np.inf], r"got inf and 1 such of 2"),
            ([0, 1], [-0.1, 0.2], r"got -0.1"),
            ([0, 1], [0.1, 1.1], r"got 1.1 and 1 such of 2"),
            ([0, 1, 1], [-0.1, 0.5, 1.2], r"got -0.1 and 2 such of 3"),
            ([0, 2], [0.1, 0.2], "labels: must be 0 or 1"),
            ([0, 2, 3], [0.1, 0.2, 0.3], "labels: must be 0 or 1, got .*2"),
            ([[0, 1]], [[0.1, 0.2]], r"for labels of shape \(1, 2\)"),
            ([0.0, np.nan], [0.1, 0.2], "labels: must be 0 or 1"),
            ([0, 1], [0.1], r"must have the shape \(2,\) .* got \(1,\)"),
            ([0, 1], [[0.1, 0.9], [0.2, 0.8]], r"got \(2, 2\). Give one score a row"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(
        self, y: list[float], scores: list[Any], message: str
    ) -> None:
        with pytest.raises(MonitoringError, match=message):
            measure("roc_auc", BINARY, y, scores)


class TestMulticlass:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("accuracy", 4 / 6),
            ("balanced_accuracy", (1 + 1 / 2 + 1 + 0) / 4),
            ("f1_micro", 4 / 6),
            ("f1_macro", (4 / 5 + 2 / 3 + 2 / 3 + 0) / 4),
            ("recall_weighted", 4 / 6),
            ("precision_macro", (2 / 3 + 1 + 1 / 2 + 0) / 4),
            ("matthews_corrcoef", sk.matthews_corrcoef(SPECIES, TAKEN_FOR)),
            ("cohen_kappa", sk.cohen_kappa_score(SPECIES, TAKEN_FOR)),
        ],
    )
    def test_an_unseen_class_is_wrong(self, name: str, expected: float) -> None:
        assert measure(name, RODENTS, SPECIES, SHARES) == pytest.approx(expected, rel=1e-12)

    def test_log_loss_clips_the_probability_of_an_unseen_class(self) -> None:
        known = [0.8, 0.6, 0.4, 0.7, 0.7]
        expected = -(sum(map(math.log, known)) + math.log(np.finfo(np.float64).eps)) / 6
        assert measure("log_loss", RODENTS, SPECIES, SHARES) == pytest.approx(expected)
        five = measure("log_loss", RODENTS, SPECIES[:5], SHARES[:5])
        assert five == pytest.approx(sk.log_loss(SPECIES[:5], SHARES[:5]), rel=1e-12)

    def test_areas_of_each_class_against_the_rest(self) -> None:
        areas = [
            8 / 8,  # DM
            8 / 8,  # DO
            5 / 5,  # PP
            1 / 2,  # SF: no score tells it from the rest
        ]
        assert measure("roc_auc_ovr", RODENTS, SPECIES, SHARES) == pytest.approx(np.mean(areas))
        weighted = np.average(areas, weights=[2, 2, 1, 1])
        assert measure("roc_auc_ovr_weighted", RODENTS, SPECIES, SHARES) == pytest.approx(weighted)
        whole = measure("roc_auc_ovr", RODENTS, SPECIES[:5], SHARES[:5])
        assert whole == sk.roc_auc_score(SPECIES[:5], SHARES[:5], multi_class="ovr")

    def test_a_class_without_rows_does_not_count(self) -> None:
        y, shares = SPECIES[:4], SHARES[:4]
        assert measure("balanced_accuracy", RODENTS, y, shares) == 3 / 4
        assert math.isfinite(measure("roc_auc_ovr", RODENTS, y, shares))

    def test_single_precision_is_good_enough(self) -> None:
        shares = np.array([[0.3333333, 0.3333333, 0.3333333], [0.5, 0.25, 0.25]], np.float32)
        _, values = check_scores(RODENTS, ["DM", "DO"], shares)
        assert values.sum(axis=1) == pytest.approx([1, 1], rel=1e-15)
        assert math.isfinite(measure("log_loss", RODENTS, ["DM", "DO"], shares))

    @pytest.mark.parametrize(
        ("y", "scores", "message"),
        [
            (["DM", "DM"], SHARES[:2], "needs two classes, got 2 rows of 1 classes"),
            (["DM", "DO"], [0.5, 0.5], r"shape \(2, 3\) .* got \(2,\). .* each of 3 classes"),
            (["DM", None], SHARES[:2], "labels: must be names of classes, got None"),
            (["DM", "DO"], [[0.5, 0.5, 0.5], SHARES[0]], "must add up to 1, got 1.5 and 1 such"),
            (["DM", "DO"], [[1.5, -0.5, 0.0], SHARES[0]], r"must lie in \[0, 1\], got 1.5"),
            (["DM", "DO"], [[np.nan, 0.5, 0.5], SHARES[0]], r"must lie in \[0, 1\], got nan"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(
        self, y: list[Any], scores: list[Any], message: str
    ) -> None:
        with pytest.raises(MonitoringError, match=message):
            measure("accuracy", RODENTS, y, scores)


class TestRegression:
    OBSERVED, PREDICTED = (1.0, 2.0, 4.0, 9.0), (2.0, 2.0, 2.0, 10.0)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mean_absolute_error", 1.0),
            ("median_absolute_error", 1.0),
            ("max_error", 2.0),
            ("mean_squared_error", 1.5),
            ("root_mean_squared_error", math.sqrt(1.5)),
            ("mean_absolute_percentage_error", (1 + 0 + 1 / 2 + 1 / 9) / 4),
            ("r2", 1 - 6 / 38),
            ("explained_variance", 1 - 6 / 38),
        ],
    )
    def test_by_hand(self, name: str, expected: float) -> None:
        found = measure(name, REGRESSION, self.OBSERVED, self.PREDICTED)
        assert found == pytest.approx(expected, rel=1e-12)

    def test_two_rows_are_enough(self) -> None:
        assert measure("r2", REGRESSION, [1.0, 3.0], [1.0, 2.0]) == 0.5

    def test_mean_error_is_positive_where_too_much_is_promised(self) -> None:
        assert mean_error(np.array([1.0, 2.0]), np.array([2.0, 2.5])) == 0.75

    @pytest.mark.parametrize(
        ("y", "values", "message"),
        [
            ([1.0], [1.0], "needs two rows, got 1 rows"),
            ([1.0, np.nan], [1.0, 2.0], "labels: must be finite numbers, got .*nan"),
            (["a", "b"], [1.0, 2.0], "labels: must be finite numbers, got .*a"),
            ([1.0, 2.0], [1.0, np.inf], "predictions: must be finite numbers, got inf"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(
        self, y: list[Any], values: list[float], message: str
    ) -> None:
        with pytest.raises(MonitoringError, match=message):
            measure("r2", REGRESSION, y, values)


class TestNames:
    def test_every_metric_can_be_measured(self) -> None:
        for problem, y, scores in (
            (BINARY, Y, SCORES),
            (RODENTS, SPECIES, SHARES),
            (REGRESSION, TestRegression.OBSERVED, TestRegression.PREDICTED),
        ):
            for name in names_for(problem.task):
                low, high = problem.metric(name).bounds
                assert low <= measure(name, problem, y, scores) <= high, name

    def test_direction(self) -> None:
        worse = {name for name in names_for("binary") if not higher_is_better(name, BINARY)}
        assert worse == {"brier_score", "log_loss"}
        assert not higher_is_better("mean_absolute_error", REGRESSION)
        assert higher_is_better("r2", REGRESSION)

    def test_unknown_or_of_another_task(self) -> None:
        with pytest.raises(MonitoringError, match="did you mean 'roc_auc'"):
            higher_is_better("rocauc", BINARY)
        with pytest.raises(MonitoringError, match="must be a metric for task regression"):
            measure("roc_auc", REGRESSION, [1.0, 2.0], [1.0, 2.0])


class TestOwnMetric:
    def test_is_given_what_it_takes(self) -> None:
        problem = own("mean_cost")
        assert measure("own", problem, Y, SCORES) == 5 / 4
        assert not higher_is_better("own", problem)
        problem = own("sum_of_shares", "multiclass", "scores")
        assert measure("own", problem, SPECIES, SHARES) == pytest.approx(1.0)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("not_a_number", "must return a finite number, got nan"),
            ("wrong", "must take 4 labels and predictions .* got TypeError"),
            ("absent", "must take .* got AttributeError"),
        ],
    )
    def test_failures_are_told(self, name: str, message: str) -> None:
        with pytest.raises(MonitoringError, match=f"{__name__}:{name}: {message}"):
            measure("own", own(name), Y, SCORES)


class TestEnough:
    @pytest.mark.parametrize(
        ("problem", "labels", "enough"),
        [
            (BINARY, [0] * 3 + [1] * 3, True),
            (BINARY, [0] * 9 + [1] * 2, False),
            (RODENTS, ["DM", "DM", "SF"], True),
            (RODENTS, ["DM", "DO"], False),
            (RODENTS, ["DM"] * 9, False),
            (REGRESSION, [1.0] * 3, True),
            (REGRESSION, [1.0] * 2, False),
        ],
    )
    def test_three_are_needed(self, problem: Problem, labels: list[Any], enough: bool) -> None:
        assert is_enough(problem, problem.encode_labels(labels), 3) == enough

    @pytest.mark.parametrize(("positives", "enough"), [(29, False), (30, True)])
    def test_thirty_are_needed_unless_said_otherwise(self, positives: int, enough: bool) -> None:
        assert is_enough(BINARY, BINARY.encode_labels([0] * 30 + [1] * positives)) == enough


class TestClasses:
    def test_results(self) -> None:
        labels, values = check_scores(RODENTS, SPECIES, SHARES)
        found = {item.name: item for item in class_results(RODENTS, labels, values)}
        assert list(found) == ["DM", "DO", "PP", "SF"]
        assert (found["DM"].rows, found["DM"].predicted) == (2, 3)
        assert (found["DM"].recall, found["DM"].precision) == (1.0, pytest.approx(2 / 3))
        assert (found["SF"].rows, found["SF"].recall, found["SF"].precision) == (1, 0.0, None)
        without = class_results(RODENTS, labels[:2], values[:2])
        assert [item.recall for item in without] == [1.0, None, None]

    def test_unseen(self) -> None:
        labels = RODENTS.encode_labels(["PX", "DM", "SF", "SF", "SF"])
        unseen = unseen_classes(RODENTS.classes, labels)
        assert list(unseen.items()) == [("SF", 3), ("PX", 1)]
        tied = unseen_classes(RODENTS.classes, RODENTS.encode_labels(["SF", "PX", "DM"]))
        assert list(tied.items()) == [("PX", 1), ("SF", 1)]
        assert describe_unseen(unseen) == "SF (3 rows), PX (1 row)"
        assert describe_unseen({"SF": 2}) == "SF (2 rows)"
        assert describe_unseen({}) == ""
        five = {f"S{i}": 1 for i in range(5)}
        assert describe_unseen(five).endswith("S3 (1 row), S4 (1 row)")
        many = {f"S{i}": 1 for i in range(7)}
        assert describe_unseen(many).endswith("S4 (1 row) and 2 more")


class TestSlices:
    def test_cut(self) -> None:
        column = pd.Series(["b", "a", None], index=[5, 4, 3])
        found = [(level, list(inside)) for level, inside in cut_slices(column, 3)]
        assert found == [
            ("(missing)", [False, False, True]),
            ("a", [False, True, False]),
            ("b", [True, False, False]),
        ]

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series([1, 1, 2]),
            pd.Series([1, 1, 2], dtype="category"),
            pd.Series([True, True, False]),
        ],
    )
    def test_numbers_and_categories_cut_too(self, column: pd.Series) -> None:
        assert sorted(int(inside.sum()) for _, inside in cut_slices(column, 3)) == [1, 2]

    def test_length_must_match(self) -> None:
        with pytest.raises(MonitoringError, match="must have 4 rows, got 1"):
            cut_slices(pd.Series(["a"], name="state"), 4)
