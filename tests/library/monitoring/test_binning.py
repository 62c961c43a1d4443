"""Binning: edges that were observed, levels by frequency, and every odd column."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from include.errors import MonitoringError
from include.monitoring.binning import Binning, count_values, fit_binning
from include.monitoring.profiles import profile


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


class TestFitBinning:
    def test_quantile_edges_are_observed_values(self) -> None:
        binning = fit_binning(frame(x=np.arange(100.0)), ["x"], [], bins=4)
        assert binning.numeric["x"] == (24.0, 49.0, 74.0)
        assert profile(frame(x=np.arange(100.0)), binning).numeric["x"].counts == (25, 25, 25, 25)

    def test_quantiles_of_rows_that_do_not_divide(self) -> None:
        # The inverse of the distribution function at 1/4, 2/4, 3/4 of 10: the 3rd, 5th and 8th.
        binning = fit_binning(frame(x=np.arange(10.0)), ["x"], [], bins=4)
        assert binning.numeric["x"] == (2.0, 4.0, 7.0)

    def test_as_many_values_as_bins_are_not_cut(self) -> None:
        exact = fit_binning(frame(x=[1.0, 2.0, 3.0]), ["x"], [], bins=3).numeric["x"]
        assert exact == (np.nextafter(1.0, 0.0), 1.0, 2.0, 3.0)
        more = fit_binning(frame(x=[1.0, 2.0, 3.0, 4.0]), ["x"], [], bins=3).numeric["x"]
        assert more == (2.0, 3.0)

    def test_two_bins_and_one_level_are_the_least(self) -> None:
        binning = fit_binning(
            frame(x=[1.0, 2.0, 3.0], k=["b", "b", "a"]), ["x"], ["k"], bins=2, levels=1
        )
        assert (binning.numeric["x"], binning.categorical["k"]) == ((2.0,), ("b",))

    def test_minus_zero_is_zero(self) -> None:
        for bins in (2, 20):
            edges = fit_binning(frame(x=[-1.0, -0.0, 1.0]), ["x"], [], bins=bins).numeric["x"]
            assert "-0.0" not in map(str, edges)
            assert 0.0 in edges

    def test_numbers_of_any_type_are_binned(self) -> None:
        column = pd.Series([Decimal(3), None, Decimal(1), Decimal(2)], dtype=object)
        assert fit_binning(frame(x=column), ["x"], [], bins=2).numeric["x"] == (2.0,)

    def test_whole_numbers_have_the_name_that_they_have_among_no_nulls(self) -> None:
        binning = fit_binning(frame(k=[1.0, 1.0, 2.5, None]), [], ["k"])
        assert binning.categorical["k"] == ("1", "2.5")

    def test_values_that_share_a_name_are_counted_together(self) -> None:
        column = pd.Series(["a", "a", "a", 1, 1, "1", 1.0, 2.5], dtype=object)
        assert fit_binning(frame(k=column), [], ["k"]).categorical["k"] == ("1", "a", "2.5")

    def test_twenty_bins_and_fifty_levels_unless_said_otherwise(self) -> None:
        rows = frame(x=np.arange(60.0), k=[f"{i:02}" for i in range(60)])
        binning = fit_binning(rows, ["x"], ["k"])
        assert binning.numeric["x"] == tuple(np.arange(2.0, 57.0, 3.0))
        assert binning.categorical["k"] == tuple(f"{i:02}" for i in range(50))

    def test_few_valued_column_gets_a_bin_for_each_value_and_two_empty_ones(self) -> None:
        reference = frame(x=[1, 2, 2, 5])
        binning = fit_binning(reference, ["x"], [])
        assert profile(reference, binning).numeric["x"].counts == (0, 1, 2, 1, 0)
        assert profile(frame(x=[0, 6]), binning).numeric["x"].counts == (1, 0, 0, 0, 1)

    def test_repeated_quantiles_collapse(self) -> None:
        values = np.concatenate([np.zeros(90), np.arange(1.0, 31.0)])
        binning = fit_binning(frame(x=values), ["x"], [], bins=4)
        assert binning.numeric["x"] == (0.0,)

    def test_levels_are_the_most_frequent_with_ties_by_name(self) -> None:
        column = ["b", "a", "c", "c", "d", None]
        assert fit_binning(frame(k=column), [], ["k"], levels=3).categorical["k"] == ("c", "a", "b")

    def test_empty_constant_and_missing_columns(self) -> None:
        odd = frame(none=[None, None], same=[7, 7], inf=[np.inf, -np.inf], empty=[np.nan, np.nan])
        binning = fit_binning(odd, ["same", "inf", "empty"], ["none"])
        assert binning.numeric["inf"] == binning.numeric["empty"] == ()
        assert binning.categorical["none"] == ()
        assert profile(odd, binning).numeric["same"].counts == (0, 2, 0)
        assert fit_binning(odd.iloc[:0], ["same"], ["none"]).numeric["same"] == ()

    def test_extreme_values_have_edges(self) -> None:
        largest = np.finfo(np.float64).max
        column = frame(x=[-largest, 0.0, -0.0, 5e-324, largest])
        binning = fit_binning(column, ["x"], [])
        assert profile(column, binning).numeric["x"].counts == (1, 2, 1, 1, 0)

    @pytest.mark.parametrize(
        ("numeric", "categorical", "message"),
        [
            (["y"], [], "column y: must be in the batch, got x"),
            (["x"], ["x"], "column x: must be numeric or categorical, got both"),
            (["y", "x"], ["x", "y"], "column x: must be numeric or categorical, got both"),
        ],
    )
    def test_wrong_columns_are_named(
        self, numeric: list[str], categorical: list[str], message: str
    ) -> None:
        with pytest.raises(MonitoringError, match=message):
            fit_binning(frame(x=[1.0]), numeric, categorical)

    def test_ten_columns_are_named_and_more_are_counted(self) -> None:
        wide = frame(**{f"c{i}": [1.0] for i in range(11)})
        with pytest.raises(MonitoringError, match=r"got c0, .*, c9 and 1 more"):
            fit_binning(wide, ["y"], [])

    @pytest.mark.parametrize("column", [["a", "b"], pd.to_datetime(["2005-01-01"] * 2)])
    def test_what_is_no_number_is_refused(self, column: object) -> None:
        with pytest.raises(MonitoringError, match="column x: must hold numbers"):
            fit_binning(frame(x=column), ["x"], [])

    def test_predicted_numbers_may_be_any_and_classes_are_all_counted(self) -> None:
        rows = frame(x=[1.0] * 100)
        minutes = fit_binning(rows, ["x"], [], predictions=np.arange(-50.0, 50.0))
        assert minutes.predictions is not None
        assert (minutes.predictions[0], minutes.predictions[-1]) == (-46.0, 44.0)
        assert minutes.counts_predictions
        species = np.array(["DM"] * 100, dtype=object)
        named = fit_binning(rows, ["x"], [], predictions=species, classes=("DM", "DO"))
        assert (named.predictions, named.prediction_levels) == (None, ("DM", "DO"))
        assert named.counts_predictions
        assert not fit_binning(rows, ["x"], []).counts_predictions
        assert fit_binning(rows, ["x"], [], classes=("DM",)).prediction_levels is None
        with pytest.raises(MonitoringError, match="predictions: must be numbers, got object"):
            fit_binning(rows, ["x"], [], predictions=species)

    def test_impossible_sizes_are_refused(self) -> None:
        with pytest.raises(MonitoringError, match="at least 2 bins"):
            fit_binning(frame(x=[1.0]), ["x"], [], bins=1)
        with pytest.raises(MonitoringError, match="1 level, got 2 and 0"):
            fit_binning(frame(x=[1.0]), ["x"], [], bins=2, levels=0)

    def test_pandas_categoricals_do_not_count_what_they_do_not_hold(self) -> None:
        column = pd.Series(["a", "b", "a"], dtype=pd.CategoricalDtype(["a", "b", "c"]))
        assert fit_binning(frame(k=column), [], ["k"]).categorical["k"] == ("a", "b")


def test_values_are_listed_as_they_appear_with_their_rows() -> None:
    texts, counts = count_values(frame(k=["b", "a", None, "a", 1, "1"]), "k")
    assert texts == ["b", "a", "1", "1"]
    assert counts.tolist() == [1, 2, 1, 1]


def test_round_trip_through_json() -> None:
    rows = frame(x=[0.1, 1 / 3, np.nan, np.inf], k=["ä", None, "b", ""])
    scores = np.array([0.1, 0.2, 0.3, np.nan])
    for binning in (
        fit_binning(rows, ["x"], ["k"], predictions=scores),
        fit_binning(rows, ["x"], ["k"]),
        fit_binning(rows, ["x"], ["k"], predictions=rows["k"].to_numpy(object), classes=("ä",)),
    ):
        document = json.loads(json.dumps(binning.to_dict(), allow_nan=False))
        assert Binning.from_dict(document) == binning
    before = fit_binning(rows, ["x"], ["k"], predictions=scores)
    document = before.to_dict()
    del document["prediction_levels"]
    assert Binning.from_dict(document) == before
