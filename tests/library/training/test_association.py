"""Association: by hand where a hand can, and what the data cannot tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.specification.metric_names import Task
from include.training import association


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def levels(text: str) -> Any:
    return association.codes(pd.Series(list(text)))


class TestSpearman:
    def test_ranks_count_and_not_distances(self) -> None:
        assert association.spearman(numbers(1, 2, 3), numbers(-1, 0, 1e9)) == pytest.approx(1)
        assert association.spearman(numbers(1, 2, 3), numbers(3, 2, -np.inf)) == pytest.approx(-1)

    def test_ties_share_their_rank(self) -> None:
        # Ranks 1.5 1.5 3 and 1 2 3: covariance 0.75, variances 0.75 and 1.
        found = association.spearman(numbers(0, 0, 1), numbers(1, 2, 3))
        assert found == pytest.approx(0.75**0.5)

    @pytest.mark.parametrize("left", [numbers(1, 1, 1), numbers()])
    def test_one_value_tells_nothing(self, left: np.ndarray) -> None:
        right = numbers(1, 2, 3)[: len(left)]
        assert association.spearman(left, right) is None
        assert association.spearman(right, left) is None

    def test_two_values_tell(self) -> None:
        assert association.spearman(numbers(1, 2, 2), numbers(7, 5, 5)) == pytest.approx(-1)


class TestCorrelationRatio:
    def test_by_hand(self) -> None:
        # Ranks 1 2 | 3 4: total 5, within 1; 1 - 1/5 * 3/2 = 0.7.
        found = association.correlation_ratio(levels("aabb"), numbers(1, 2, 3, 100))
        assert found == pytest.approx(0.7**0.5)

    def test_groups_alike_are_zero_and_not_below(self) -> None:
        # Ranks 1 3 | 2 4: total 5, within 4; 1 - 4/5 * 3/2 = -0.2.
        assert association.correlation_ratio(levels("abab"), numbers(1, 2, 3, 4)) == 0

    def test_two_values_in_two_groups_tell(self) -> None:
        assert association.correlation_ratio(levels("aab"), numbers(1, 1, 2)) == 1

    def test_many_groups_that_mean_nothing_stay_low(self) -> None:
        generator = np.random.default_rng(0)
        groups, values = generator.integers(0, 500, 2000), generator.normal(size=2000)
        found = association.correlation_ratio(groups, values)
        assert found is not None
        assert found < 0.15  # the plain correlation ratio is 0.5

    @pytest.mark.parametrize(
        ("groups", "values"),
        [("aaa", (1, 2, 3)), ("abc", (1, 2, 3)), ("aab", (1, 1, 1)), ("", ())],
    )
    def test_what_cannot_be_told(self, groups: str, values: tuple[float, ...]) -> None:
        assert association.correlation_ratio(levels(groups), numbers(*values)) is None


class TestCramersV:
    def test_equal_and_unrelated_columns(self) -> None:
        assert association.cramers_v(levels("aabb" * 9), levels("xxyy" * 9)) == pytest.approx(1)
        assert association.cramers_v(levels("aabb" * 9), levels("xyxy" * 9)) == 0

    def test_by_hand(self) -> None:
        # 30 10 / 10 30: phi squared 0.25, minus 1/79; levels 2 - 1/79.
        left = levels("a" * 40 + "b" * 40)
        right = levels("x" * 30 + "y" * 10 + "x" * 10 + "y" * 30)
        expected = ((0.25 - 1 / 79) / (1 - 1 / 79)) ** 0.5
        assert association.cramers_v(left, right) == pytest.approx(expected)

    def test_three_rows_can_tell(self) -> None:
        # Phi squared 1, minus 1/2; levels 2 - 1/2.
        assert association.cramers_v(levels("abb"), levels("xyy")) == 1

    def test_rounding_does_not_exceed_one(self) -> None:
        same = levels("aabbccddee")  # without the limit, 1.0000000000000002
        assert association.cramers_v(same, same) == 1

    @pytest.mark.parametrize(
        ("left", "right"),
        [("aaa", "xyx"), ("xyx", "aaa"), ("ab", "xy"), ("abc", "xyz"), ("", "")],
    )
    def test_what_cannot_be_told(self, left: str, right: str) -> None:
        assert association.cramers_v(levels(left), levels(right)) is None


class TestAlone:
    generator = np.random.default_rng(3)
    noise = pd.Series(generator.normal(size=600))
    target = (np.arange(600) % 3 == 0).astype(np.int8)

    @pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
    @pytest.mark.parametrize("numeric", [True, False])
    def test_the_target_itself_and_noise(self, task: Task, numeric: bool) -> None:
        target: Any = self.target
        if task == "multiclass":
            target = np.array(["a", "b", "c"], object)[np.arange(600) % 3]
        if task == "regression":
            target = (np.arange(600) % 3).astype(np.float64)
        itself = pd.Series(association.codes(pd.Series(target)))
        noise = self.noise
        if not numeric:
            itself, noise = itself.map(str), noise.round(1).map(str)
        measure = association.alone
        assert measure(itself, target, task, numeric=numeric, seed=7) == pytest.approx(1)
        found = measure(noise, target, task, numeric=numeric, seed=7)
        assert found is not None
        chance = {"binary": 0.5, "multiclass": 1 / 3, "regression": 0.0}[task]
        assert found < chance + 0.1

    def test_a_missing_value_can_give_the_target_away(self) -> None:
        leak = self.noise.where(self.target == 1)
        found = association.alone(leak, self.target, "binary", numeric=True, seed=7)
        assert found == pytest.approx(1)

    @pytest.mark.parametrize("task", ["binary", "multiclass"])
    def test_a_rare_class_can_be_given_away(self, task: Task) -> None:
        rare = np.arange(5000) % 250 == 0  # 20 rows
        target: Any = rare.astype(np.int8)
        if task == "multiclass":
            target = np.where(rare, "owl", np.where(np.arange(5000) % 2, "cat", "dog"))
            target = target.astype(object)
        codes = pd.Series(association.codes(pd.Series(target)))
        found = association.alone(codes, target, task, numeric=True, seed=7)
        assert found == pytest.approx(1)

    def test_infinite_and_huge_numbers_are_large(self) -> None:
        values = pd.Series(np.where(self.target == 1, np.inf, 1e300))
        values[::2] = -np.inf
        assert association.alone(values, self.target, "binary", numeric=True, seed=7) is not None

    @pytest.mark.parametrize(
        ("task", "as_number", "as_levels"),
        [
            ("binary", 0.8639, 0.86875),
            ("multiclass", 0.4533333333333333, 0.595),
            ("regression", 0.430025370075263, 0.44855754369938416),
        ],
    )
    def test_the_number_stays_what_earlier_reports_say(
        self, task: Task, as_number: float, as_levels: float
    ) -> None:
        third = np.arange(600) % 3
        target: Any = {
            "binary": (third == 0).astype(np.int8),
            "multiclass": np.array(["a", "b", "c"], object)[third],
            "regression": third.astype(np.float64),
        }[task]
        feature = pd.Series(third + np.arange(600) * 37 % 100 / 40)
        found = association.alone(feature, target, task, numeric=True, seed=7)
        assert found == pytest.approx(as_number)
        texts = feature.round(1).map(str)
        found = association.alone(texts, target, task, numeric=False, seed=7)
        assert found == pytest.approx(as_levels)

    def test_having_a_value_or_none_can_tell(self) -> None:
        given = pd.Series(["yes", None] * 300)
        target = np.array([1, 0] * 300, np.int8)
        assert association.alone(given, target, "binary", numeric=False, seed=7) == 1

    @pytest.mark.parametrize(
        ("rows", "expected"), [(2000, 0.8077640424445598), (2388, 0.8173787015715835)]
    )
    def test_leaves_grow_with_many_rows(self, rows: int, expected: float) -> None:
        target = np.arange(rows) * 0.77 % 5
        feature = pd.Series(target + np.arange(rows) * 37 % 100 / 40)
        found = association.alone(feature, target, "regression", numeric=True, seed=7)
        assert found == pytest.approx(expected)

    def test_leaves_hold_five_of_few_rows(self) -> None:
        third = np.arange(40) % 3
        feature = pd.Series(third + np.arange(40) * 37 % 100 / 40)
        target = (third == 0).astype(np.int8)
        found = association.alone(feature, target, "binary", numeric=True, seed=7)
        assert found == pytest.approx(0.7486263736263736)

    @pytest.mark.parametrize(("rows", "told"), [(10, True), (9, False)])
    def test_a_class_of_ten_rows_counts(self, rows: int, told: bool) -> None:
        target = np.zeros(600, np.int8)
        target[:rows] = 1
        found = association.alone(self.noise, target, "binary", numeric=True, seed=7)
        assert (found is not None) == told

    @pytest.mark.parametrize(("rows", "told"), [(30, True), (29, False)])
    def test_thirty_rows_are_needed(self, rows: int, told: bool) -> None:
        feature, target = self.noise.head(rows), np.arange(rows, dtype=np.float64)
        found = association.alone(feature, target, "regression", numeric=True, seed=7)
        assert (found is not None) == told

    def test_same_seed_same_number(self) -> None:
        found = {
            association.alone(self.noise, self.target, "binary", numeric=True, seed=1)
            for _ in range(2)
        }
        assert len(found) == 1

    def test_too_little_to_tell(self) -> None:
        few = self.noise.head(29), self.target[:29]
        assert association.alone(*few, "binary", numeric=True, seed=7) is None
        rare = np.zeros(600, np.int8)
        rare[:9] = 1
        assert association.alone(self.noise, rare, "binary", numeric=True, seed=7) is None
        constant = pd.Series([7.0] * 600)
        assert association.alone(constant, self.target, "binary", numeric=True, seed=7) is None
        nothing = pd.Series([None] * 600)
        assert association.alone(nothing, self.target, "binary", numeric=False, seed=7) is None


def test_a_missing_value_is_a_level_of_its_own() -> None:
    column = pd.Series(["x", None, "y", None], dtype=object)
    assert association.codes(column).tolist() == [0, 1, 2, 1]


def test_whole_numbers_with_a_missing_one_are_numbers() -> None:
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, 200)
    values = pd.Series(target * 5 + generator.integers(0, 3, 200), dtype="float64")
    values[::9] = np.nan
    whole = values.astype("Int64")
    expected = association.alone(values, target, "binary", numeric=True, seed=7)
    assert association.alone(whole, target, "binary", numeric=True, seed=7) == expected
