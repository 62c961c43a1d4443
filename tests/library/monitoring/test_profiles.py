"""Profiles: exact counts, honest merging, and every odd column that data can bring."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from include.errors import MonitoringError
from include.monitoring.binning import Binning, fit_binning
from include.monitoring.profiles import (
    CategoricalProfile,
    NumericProfile,
    Profile,
    merge_all,
    profile,
)


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


class TestProfile:
    def test_counts_missing_and_non_finite_apart(self) -> None:
        binning = Binning(numeric={"x": (1.0, 2.0)}, categorical={})
        values = [np.nan, 0.5, 1.0, 1.5, 2.5, 3.5, np.inf, -np.inf, np.nan]
        column = profile(frame(x=values), binning).numeric["x"]
        assert column.counts == (2, 1, 2)
        assert (column.missing, column.non_finite, column.count, column.rows) == (2, 2, 5, 9)
        assert (column.total, column.minimum, column.maximum) == (9.0, 0.5, 3.5)
        assert column.mean == 1.8

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series([1, 2, None], dtype="Int64"),
            pd.Series([1.0, 2.0, np.nan], dtype="float32"),
            pd.Series([Decimal(1), Decimal(2), None], dtype=object),
            pd.Series([1, 2, None], dtype="float64[pyarrow]"),
        ],
    )
    def test_every_number_type_counts_alike(self, column: pd.Series) -> None:
        result = profile(frame(x=column), Binning({"x": (1.0,)}, {})).numeric["x"]
        assert (result.counts, result.missing) == ((1, 1), 1)

    def test_booleans_count_as_numbers_or_as_words(self) -> None:
        column = frame(x=[True, False, True])
        assert profile(column, Binning({"x": (0.0,)}, {})).numeric["x"].counts == (1, 2)
        words = profile(column, Binning({}, {"x": ("True",)})).categorical["x"]
        assert (words.counts, words.other) == ((2,), 1)

    def test_minus_zero_is_zero(self) -> None:
        column = profile(frame(x=[-0.0]), Binning({"x": ()}, {})).numeric["x"]
        assert (str(column.minimum), str(column.maximum)) == ("0.0", "0.0")

    def test_a_column_without_numbers_has_no_mean(self) -> None:
        column = profile(frame(x=[np.nan, np.inf]), Binning({"x": ()}, {})).numeric["x"]
        assert (column.count, column.total) == (0, 0.0)
        assert column.mean is column.minimum is column.maximum is None

    def test_levels_other_and_missing(self) -> None:
        binning = Binning({}, {"k": ("a", "b")})
        column = profile(frame(k=["a", None, "z", "a", "b", "y"]), binning).categorical["k"]
        assert (column.counts, column.other, column.missing) == ((2, 1), 2, 1)

    def test_whole_numbers_keep_their_name_in_a_batch_with_nulls(self) -> None:
        binning = fit_binning(frame(k=[1, 1, 2]), [], ["k"])
        assert binning.categorical["k"] == ("1", "2")
        column = profile(frame(k=[1, None, 2.5]), binning).categorical["k"]
        assert (column.counts, column.other, column.missing) == ((1, 0), 1, 1)

    def test_empty_batch(self) -> None:
        binning = Binning({"x": (1.0,)}, {"k": ("a",)}, (0.5,))
        empty = profile(frame(x=[1.0], k=["a"]).iloc[:0], binning, np.array([]))
        assert (empty.rows, empty.numeric["x"].counts, empty.categorical["k"].counts) == (
            0,
            (0, 0),
            (0,),
        )
        assert empty.missing_share("x") == empty.unseen_share("k") == 0.0
        with pytest.raises(MonitoringError, match="at least one finite value"):
            empty.quantile("x", 0.5)

    def test_row_order_does_not_matter_to_the_last_byte(self) -> None:
        generator = np.random.default_rng(1)
        rows = frame(x=generator.normal(size=9_999), k=generator.choice(list("abc"), 9_999))
        binning = fit_binning(rows, ["x"], ["k"])
        shuffled = rows.sample(frac=1, random_state=2)
        assert profile(rows, binning) == profile(shuffled, binning)
        assert fit_binning(shuffled, ["x"], ["k"]) == binning

    def test_predictions(self) -> None:
        scores = np.linspace(0, 1, 101)
        rows = frame(x=np.zeros(101))
        binning = fit_binning(rows, ["x"], [], predictions=scores)
        assert binning.predictions is not None
        assert len(binning.predictions) == 19
        result = profile(rows, binning, scores).predictions
        assert isinstance(result, NumericProfile)
        assert result.count == 101
        # Edges are the 6th, 11th, 16th, ... score, so that the first bin holds six.
        assert result.counts == (6, *[5] * 19)
        assert result.total == pytest.approx(50.5)
        assert profile(rows, binning).predictions is None

    def test_predicted_classes_are_counted_and_merged(self) -> None:
        rows = frame(x=np.zeros(5))
        binning = Binning({"x": (0.0,)}, {}, prediction_levels=("DM", "DO"))
        named = np.array(["DO", "DM", "DO", None, "XX"], dtype=object)
        result = profile(rows, binning, named)
        assert isinstance(result.predictions, CategoricalProfile)
        assert (result.predictions.counts, result.predictions.other) == ((1, 2), 1)
        assert result.predictions.missing == 1
        twice = result.merge(result).predictions
        assert isinstance(twice, CategoricalProfile)
        assert twice.counts == (2, 4)
        document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert Profile.from_dict(document) == result
        with pytest.raises(MonitoringError, match=r"shape \(5,\), got \(4,\)"):
            profile(rows, binning, named[:4])

    def test_predictions_must_fit(self) -> None:
        rows = frame(x=[0.0, 1.0])
        with pytest.raises(MonitoringError, match=r"shape \(2,\), got \(1,\)"):
            profile(rows, Binning({}, {}, (0.5,)), np.array([0.1]))
        with pytest.raises(MonitoringError, match="must have prediction edges or levels"):
            profile(rows, Binning({}, {}), np.array([0.1, 0.2]))

    def test_overflowing_sum_is_none_and_quantiles_stay_in_range(self) -> None:
        rows = frame(x=[1e308, 1.7e308, -1e308, 1e308] * 30)
        result = profile(rows, fit_binning(rows, ["x"], []))
        assert result.numeric["x"].total is result.numeric["x"].mean is None
        assert result.merge(result).numeric["x"].total is None
        assert -1e308 <= result.quantile("x", 0.5) <= 1.7e308


class TestShares:
    def test_shares(self) -> None:
        rows = frame(x=[1.0, None, 2.0, 3.0], k=["a", "z", None, "z"])
        result = profile(rows, Binning({"x": (1.0,)}, {"k": ("a",)}))
        assert result.missing_share("x") == result.missing_share("k") == 0.25
        assert (result.unseen_share("k"), result.unseen_share("x")) == (0.5, 0.0)
        assert result.columns == ("x", "k")
        with pytest.raises(MonitoringError, match="column q: must be in the profile"):
            result.missing_share("q")

    @pytest.mark.parametrize("rows", [10, 4_097, 200_000])
    def test_quantiles_are_within_three_percent_of_rank(self, rows: int) -> None:
        values = np.arange(rows, dtype=np.float64)
        result = profile(frame(x=values), Binning({"x": ()}, {}))
        assert (result.quantile("x", 0), result.quantile("x", 1)) == (0.0, rows - 1)
        for q in (0.01, 0.25, 0.5, 0.75, 0.99):
            assert abs(result.quantile("x", q) / rows - q) <= max(0.03, 1 / rows)

    def test_quantile_of_what_has_none(self) -> None:
        result = profile(frame(x=[1.0], k=["a"]), Binning({"x": ()}, {"k": ("a",)}))
        with pytest.raises(MonitoringError, match="needs a numeric column"):
            result.quantile("k", 0.5)
        for q in (1.5, -0.5):
            with pytest.raises(MonitoringError, match=r"must lie in \[0, 1\]"):
                result.quantile("x", q)
        assert [result.quantile("x", q) for q in (0, 1)] == [1.0, 1.0]


class TestMerge:
    @pytest.fixture
    def rows(self) -> pd.DataFrame:
        generator = np.random.default_rng(3)
        values = generator.normal(size=30_000)
        values[::100] = np.nan
        return frame(x=values, k=generator.choice(list("abcd"), 30_000))

    def test_merge_of_parts_equals_the_whole_but_for_last_digits(self, rows: pd.DataFrame) -> None:
        scores = np.linspace(0, 1, len(rows))
        binning = fit_binning(rows, ["x"], ["k"], levels=2, predictions=scores)
        whole = profile(rows, binning, scores)
        parts = [
            profile(rows.iloc[i : i + 7_000], binning, scores[i : i + 7_000])
            for i in range(0, len(rows), 7_000)
        ]
        for order in (parts, parts[::-1]):
            merged = merge_all(order)
            assert merged.rows == whole.rows
            assert merged.categorical == whole.categorical
            left, right = merged.numeric["x"], whole.numeric["x"]
            assert (left.counts, left.missing) == (right.counts, right.missing)
            assert (left.minimum, left.maximum) == (right.minimum, right.maximum)
            assert left.total == pytest.approx(right.total, rel=1e-12)
            assert left.quantile(0.5) == pytest.approx(right.quantile(0.5), abs=0.1)
            assert merged.predictions is not None
            assert whole.predictions is not None
            assert merged.predictions.counts == whole.predictions.counts

    def test_every_count_adds_up(self) -> None:
        binning = Binning({"x": (1.0,)}, {"k": ("a",)})
        left = profile(
            frame(x=[0.5, 1.5, 1.5, None, np.inf], k=["a", "z", "a", None, "a"]), binning
        )
        right = profile(
            frame(
                x=[7.0, None, None, -np.inf, np.inf, np.inf], k=["z", "y", None, None, None, "a"]
            ),
            binning,
        )
        for merged in (left.merge(right), right.merge(left)):
            numbers, levels = merged.numeric["x"], merged.categorical["k"]
            assert (merged.rows, numbers.rows, levels.rows) == (11, 11, 11)
            assert (numbers.counts, numbers.missing, numbers.non_finite) == ((1, 3), 3, 4)
            assert (numbers.total, numbers.mean) == (10.5, 10.5 / 4)
            assert (numbers.minimum, numbers.maximum) == (0.5, 7.0)
            assert (levels.counts, levels.other, levels.missing) == ((4,), 3, 4)
            assert merged.missing_share("x") == 3 / 11
            assert merged.missing_share("k") == 4 / 11
            assert merged.unseen_share("k") == 3 / 11

    def test_a_small_part_does_not_outweigh_a_large_one(self) -> None:
        binning = Binning({"x": ()}, {})
        large = profile(frame(x=np.zeros(100_000)), binning)
        small = profile(frame(x=np.ones(2_000)), binning)
        assert large.merge(small).quantile("x", 0.9) == 0.0

    def test_empty_is_neutral(self, rows: pd.DataFrame) -> None:
        binning = fit_binning(rows, ["x"], ["k"])
        whole, nothing = profile(rows, binning), profile(rows.iloc[:0], binning)
        assert whole.merge(nothing).numeric["x"].counts == whole.numeric["x"].counts
        assert nothing.merge(whole).quantile("x", 1) == whole.quantile("x", 1)
        twice = nothing.merge(nothing).numeric["x"]
        assert (twice.total, twice.minimum, twice.maximum) == (0, None, None)

    def test_mismatches_are_refused(self, rows: pd.DataFrame) -> None:
        one = profile(rows, Binning({"x": (0.0,)}, {}, (0.5,)))
        with pytest.raises(MonitoringError, match="same binning"):
            one.merge(profile(rows, Binning({"x": (0.1,)}, {}, (0.5,))))
        with pytest.raises(MonitoringError, match="scored or neither"):
            one.merge(profile(rows, one.binning, np.zeros(len(rows))))
        with pytest.raises(MonitoringError, match="at least one profile"):
            merge_all([])

    def test_ten_columns_are_named_and_more_are_counted(self) -> None:
        columns = {f"c{i}": [1.0] for i in range(11)}
        wide = profile(
            frame(**columns, k=["a"]), Binning({name: () for name in columns}, {"k": ("a",)})
        )
        with pytest.raises(MonitoringError, match=r"Choose from c0, .*, c9 and 1 more"):
            wide.quantile("k", 0.5)
        with pytest.raises(MonitoringError, match=r"Choose from c0, .*, c9 and 2 more"):
            wide.missing_share("absent")


def test_round_trip_through_json() -> None:
    rows = frame(x=[0.1, 1 / 3, np.nan, np.inf], k=["ä", None, "b", ""])
    scores = np.array([0.1, 0.2, 0.3, np.nan])
    binning = fit_binning(rows, ["x"], ["k"], predictions=scores)
    result = profile(rows, binning, scores)
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert Profile.from_dict(document) == result
    assert Profile.from_dict(document).merge(result).rows == 8
