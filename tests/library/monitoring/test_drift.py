"""Drift: thresholds from noise, and verdicts that fail closed."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from include.errors import MonitoringError
from include.monitoring.binning import Binning, fit_binning
from include.monitoring.divergence import compare_levels, compare_numbers
from include.monitoring.drift import (
    FLOORS,
    PREDICTIONS,
    ColumnDrift,
    DriftVerdict,
    Thresholds,
    calibrate,
    detect_drift,
)
from include.monitoring.profiles import (
    CategoricalProfile,
    NumericProfile,
    Profile,
    merge_all,
    profile,
)
from include.specification.sections.monitoring import DriftMonitoring

RULE = DriftMonitoring(share_of_features=0.5, prediction=False, minimum_rows=4)
BINNING = Binning({"x": (1.0, 2.0)}, {"k": ("a", "b")})


def numbers(*counts: int, missing: int = 0, infinite: int = 0) -> list[float]:
    """Values that fill the bins (-inf, 1], (1, 2], (2, inf) with these counts."""
    values = [v for v, n in zip((0.5, 1.5, 2.5), counts, strict=True) for _ in range(n)]
    return values + [math.nan] * missing + [math.inf] * infinite


def one(x: list[float] | None = None, k: list[str | None] | None = None) -> Profile:
    rows = len(x if x is not None else k or [])
    frame = pd.DataFrame(
        {"x": x if x is not None else [1.5] * rows, "k": k if k is not None else ["a"] * rows}
    )
    return profile(frame, BINNING)


class TestCalibrate:
    def test_fewer_than_three_partitions_leave_the_floors(self) -> None:
        shifted = [one(numbers(50, 30, 20)), one(numbers(20, 30, 50))]
        thresholds = calibrate(shifted, minimum_rows=4)
        assert thresholds.columns["x"] == {t: FLOORS[t] for t in thresholds.columns["x"]}
        assert thresholds.partitions == 2
        floors = {*thresholds.columns["x"].values(), *thresholds.columns["k"].values()}
        assert floors == {0.1}
        assert set(thresholds.columns["k"]) == {
            "PSI",
            "Jensen-Shannon",
            "Cramer's V",
            "entropy difference",
            "missing share",
            "unseen share",
        }

    def test_noise_between_partitions_raises_thresholds(self) -> None:
        parts = [one(numbers(50, 30, 20)), one(numbers(50, 30, 20)), one(numbers(20, 30, 50))]
        thresholds = calibrate(parts, minimum_rows=4)
        assert thresholds.partitions == 3
        assert thresholds.columns["x"]["Kolmogorov-Smirnov"] == pytest.approx(0.3)
        assert thresholds.columns["k"]["PSI"] == FLOORS["PSI"]

    def test_noise_of_shares_comes_on_top(self) -> None:
        parts = [one(numbers(90, 0, 0, missing=m)) for m in (10, 10, 10, 60)]
        noise = 60 / 150 - 30 / 300
        thresholds = calibrate(parts, minimum_rows=4)
        assert thresholds.columns["x"]["missing share"] == pytest.approx(0.1 + noise)

    def test_a_partition_is_held_against_all_others(self) -> None:
        parts = [one(numbers(90, 0, 0, missing=m)) for m in (60, 40, 10, 10)]
        thresholds = calibrate(parts, minimum_rows=4)
        # 60 of 150 rows against 60 of 330.
        expected = 0.1 + 60 / 150 - 60 / 330
        assert thresholds.columns["x"]["missing share"] == pytest.approx(expected)

    def test_tiny_partitions_excuse_nothing(self) -> None:
        parts = [one(numbers(300, 300, 300))] * 3
        with_tiny = calibrate([*parts, one(numbers(0, 0, 3))])
        assert with_tiny == calibrate(parts)
        assert with_tiny.partitions == 3

    @pytest.mark.parametrize(("rows", "partitions"), [(499, 0), (500, 3)])
    def test_partitions_of_five_hundred_rows_teach(self, rows: int, partitions: int) -> None:
        assert calibrate([one(numbers(rows, 0, 0))] * 3).partitions == partitions

    def test_a_partition_of_one_row_can_teach_and_one_without_rows_cannot(self) -> None:
        parts = [one(numbers(1, 0, 0)), one(numbers(0, 1, 0)), one(numbers(0, 0, 1))]
        for minimum_rows in (0, 1):
            thresholds = calibrate([*parts, one([], [])], minimum_rows=minimum_rows)
            assert thresholds.partitions == 3
            # The third lies above the bins of both others.
            assert thresholds.columns["x"]["Kolmogorov-Smirnov"] == 1.0

    def test_a_partition_without_numbers_says_nothing_about_them(self) -> None:
        parts = [one(numbers(50, 30, 20))] * 3 + [one(numbers(0, 0, 0, infinite=100))]
        thresholds = calibrate(parts, minimum_rows=4)
        assert thresholds.columns["x"]["Kolmogorov-Smirnov"] == 0.1
        assert thresholds.columns["x"]["PSI"] > 0.1

    def test_refuses_none_and_several_binnings(self) -> None:
        with pytest.raises(MonitoringError, match="at least one profile"):
            calibrate([])
        other = profile(pd.DataFrame({"x": [1.0]}), Binning({"x": ()}, {}))
        with pytest.raises(MonitoringError, match="same binning"):
            calibrate([one(numbers(1, 1, 1)), other])


class TestDetectDrift:
    def test_same_data_is_no_drift(self) -> None:
        reference = one(numbers(50, 30, 20))
        verdict = detect_drift(reference, reference, calibrate([reference]), RULE)
        assert (verdict.verdict, verdict.drifted, verdict.share) == ("no drift", (), 0.0)
        assert verdict.reason == "0 of 2 features drifted"

    def test_features_are_told_by_their_divergence_and_their_shares(self) -> None:
        reference = one(numbers(50, 30, 20), ["a"] * 60 + ["b"] * 40)
        current = one(numbers(4, 6, 10), ["a"] * 6 + ["b"] * 14)
        verdict = detect_drift(reference, current, calibrate([reference]), RULE)
        found = {item.column: dict(item.statistics) for item in verdict.features}
        assert found["x"] == {
            **compare_numbers(reference.numeric["x"], current.numeric["x"], (1.0, 2.0)),
            "missing share": 0.0,
        }
        assert found["k"] == {
            **compare_levels(reference.categorical["k"], current.categorical["k"]),
            "missing share": 0.0,
            "unseen share": 0.0,
        }

    def test_extreme_edges_do_not_overflow(self) -> None:
        largest = np.finfo(np.float64).max
        rows = pd.DataFrame({"x": [-largest, 0.0, largest] * 20})
        binning = fit_binning(rows, ["x"], [])
        reference = profile(rows, binning)
        current = profile(rows.iloc[[0] * 30], binning)
        verdict = detect_drift(reference, current, calibrate([reference]), RULE)
        assert all(math.isfinite(v) for v in verdict.features[0].statistics.values())
        assert verdict.verdict == "drift"

    def test_shifted_feature_drifts_the_batch_at_the_share(self) -> None:
        reference, current = one(numbers(500, 300, 200)), one(numbers(200, 300, 500))
        thresholds = calibrate([reference])
        verdict = detect_drift(reference, current, thresholds, RULE)
        assert (verdict.verdict, verdict.drifted, verdict.share) == ("drift", ("x",), 0.5)
        # Wasserstein 0.77 of a standard deviation is furthest over its 0.10.
        assert verdict.reason == "1 of 2 features drifted (x Wasserstein 0.77 > 0.10)"
        strict = RULE.model_copy(update={"share_of_features": 0.6})
        assert detect_drift(reference, current, thresholds, strict).verdict == "no drift"

    def test_one_test_alone_is_not_enough(self) -> None:
        reference, current = one(numbers(500, 300, 200)), one(numbers(430, 310, 260))
        thresholds = Thresholds(
            {
                "x": {**calibrate([reference]).columns["x"], "Wasserstein": 0.05},
                "k": calibrate([reference]).columns["k"],
            },
            1,
        )
        feature = detect_drift(reference, current, thresholds, RULE).features[0]
        assert feature.exceeded == ("Wasserstein",)
        assert feature.severity > 1
        assert not feature.drifted

    @pytest.mark.parametrize(
        ("over", "drifts"),
        [
            (("PSI",), False),
            (("PSI", "Wasserstein"), True),
            (("Kolmogorov-Smirnov", "Jensen-Shannon"), True),
            (("PSI", "Jensen-Shannon", "Kolmogorov-Smirnov"), True),
        ],
    )
    def test_two_of_four_tests_must_agree(self, over: tuple[str, ...], drifts: bool) -> None:
        # Jensen-Shannon is 0.31, Kolmogorov-Smirnov 0.3, PSI 0.55, Wasserstein 0.77.
        reference, current = one(numbers(500, 300, 200)), one(numbers(200, 300, 500))
        floors = calibrate([reference]).columns
        of_x = {test: 0.2 if test in over else 0.8 for test in floors["x"]}
        thresholds = Thresholds({"x": of_x, "k": floors["k"]}, 1)
        feature = detect_drift(reference, current, thresholds, RULE).features[0]
        assert (set(feature.exceeded), feature.drifted) == (set(over), drifts)

    @pytest.mark.parametrize(
        ("over", "drifts"), [(("PSI",), False), (("PSI", "Jensen-Shannon"), True)]
    )
    def test_two_of_two_tests_must_agree(self, over: tuple[str, ...], drifts: bool) -> None:
        reference, current = one(numbers(0, 0, 0, infinite=900)), one(numbers(500, 0, 400))
        floors = calibrate([reference]).columns
        of_x = {test: 0.2 if test in over else 99.0 for test in floors["x"]}
        thresholds = Thresholds({"x": of_x, "k": floors["k"]}, 1)
        feature = detect_drift(reference, current, thresholds, RULE).features[0]
        assert set(feature.statistics) == {"PSI", "Jensen-Shannon", "missing share"}
        assert (set(feature.exceeded), feature.drifted) == (set(over), drifts)

    def test_a_value_at_its_threshold_is_harmless(self) -> None:
        reference, current = one(numbers(500, 300, 200)), one(numbers(200, 300, 500))
        floors = calibrate([reference]).columns
        found = compare_numbers(reference.numeric["x"], current.numeric["x"], (1.0, 2.0))
        at_value = Thresholds({"x": {**found, "missing share": 0.1}, "k": floors["k"]}, 1)
        feature = detect_drift(reference, current, at_value, RULE).features[0]
        assert (feature.exceeded, feature.severity, feature.drifted) == ((), 1.0, False)
        assert feature.describe() == "x PSI 0.55 <= 0.55"

    def test_the_furthest_over_comes_first(self) -> None:
        reference = one(numbers(500, 300, 200), ["a"] * 500 + ["b"] * 500)
        current = one(numbers(200, 300, 500), ["a"] * 990 + ["b"] * 10)
        verdict = detect_drift(reference, current, calibrate([reference]), RULE)
        # Wasserstein 0.77 over 0.1 against PSI 2.23 over 0.1.
        assert verdict.drifted == ("k", "x")
        assert [item.severity for item in verdict.features] == pytest.approx([22.3, 7.7], abs=0.1)
        assert verdict.features[1].exceeded == (
            "Wasserstein",
            "PSI",
            "Jensen-Shannon",
            "Kolmogorov-Smirnov",
        )
        assert verdict.reason.startswith("2 of 2 features drifted (k PSI 2.")

    def test_three_drifted_features_are_named_and_more_are_counted(self) -> None:
        def wide(level: str, columns: int) -> Profile:
            frame = pd.DataFrame({f"k{i}": [level] * 100 for i in range(columns)})
            return profile(frame, Binning({}, {name: ("a", "b") for name in frame}))

        for columns, more in ((3, ""), (4, ", and 1 more"), (5, ", and 2 more")):
            reference, current = wide("a", columns), wide("b", columns)
            reason = detect_drift(reference, current, calibrate([reference]), RULE).reason
            assert reason.startswith(f"{columns} of {columns} features drifted (k0 PSI ")
            assert reason.count("PSI") == 3
            assert re.fullmatch(rf".* > 0\.\d\d{more}\)", reason)

    def test_shares_are_told_as_more_than_in_the_reference(self) -> None:
        reference = one(
            numbers(6, 0, 0, missing=4),
            ["a"] * 6 + ["new"] * 3 + [None],  # type: ignore[list-item]
        )
        current = one(numbers(19, 0, 0, missing=1), ["a"] * 12 + ["new"] * 8)
        verdict = detect_drift(reference, current, calibrate([reference]), RULE)
        found = {item.column: item.statistics for item in verdict.features}
        assert found["x"]["missing share"] == pytest.approx(1 / 20 - 4 / 10)
        assert found["k"]["missing share"] == pytest.approx(-1 / 10)
        assert found["k"]["unseen share"] == pytest.approx(8 / 20 - 3 / 10)

    @pytest.mark.parametrize(("missing", "drifts"), [(11, False), (12, True)])
    def test_jump_of_missing_is_drift_by_itself(self, missing: int, drifts: bool) -> None:
        reference = one(numbers(60, 30, 10))
        lenient = {
            column: {test: 0.1 if "share" in test else 9.0 for test in tests}
            for column, tests in calibrate([reference]).columns.items()
        }
        current = one([*numbers(60, 30, 10, missing=missing)])
        verdict = detect_drift(reference, current, Thresholds(lenient, 1), RULE)
        assert ("x" in verdict.drifted) == drifts  # 11 / 111 = 0.099, 12 / 112 = 0.107

    def test_jump_of_unseen_is_drift_by_itself(self) -> None:
        reference, current = one(k=["a"] * 100), one(k=["a"] * 80 + ["new"] * 20)
        verdict = detect_drift(reference, current, calibrate([reference]), RULE)
        feature = next(item for item in verdict.features if item.column == "k")
        assert feature.statistics["unseen share"] == pytest.approx(0.2)
        assert "unseen share" in feature.exceeded
        assert verdict.drifted == ("k",)

    def test_all_missing_and_all_infinite_columns(self) -> None:
        reference = one(numbers(60, 30, 10))
        for current in (one(numbers(0, 0, 0, missing=90)), one(numbers(0, 0, 0, infinite=90))):
            feature = detect_drift(reference, current, calibrate([reference]), RULE).features[0]
            assert feature.drifted
            assert "Kolmogorov-Smirnov" not in feature.statistics
        back = detect_drift(current, reference, calibrate([current]), RULE)
        assert back.drifted == ("x",)

    def test_too_few_rows_cannot_tell(self) -> None:
        reference, tiny = one(numbers(60, 30, 10)), one(numbers(0, 0, 3))
        verdict = detect_drift(reference, tiny, calibrate([reference]), RULE)
        assert verdict.verdict == "cannot tell"
        assert verdict.reason == "the batch has 3 rows, 4 needed to tell"
        assert (verdict.features, verdict.drifted, verdict.share) == ((), (), 0.0)
        assert verdict.predictions is None
        verdict = detect_drift(tiny, reference, calibrate([reference]), RULE)
        assert verdict.reason == "the reference has 3 rows, 4 needed to tell"

    def test_as_few_rows_as_are_needed_can_tell(self) -> None:
        least = one(numbers(2, 1, 1))
        assert detect_drift(least, least, calibrate([least]), RULE).verdict == "no drift"

    def test_small_samples_of_many_levels_raise_no_alarm(self) -> None:
        generator = np.random.default_rng(0)
        levels = np.array([f"bank {i}" for i in range(50)])
        frame = pd.DataFrame({"k": generator.choice(levels, 50_000)})
        binning = fit_binning(frame, [], ["k"])
        reference = profile(frame, binning)
        rule, thresholds = DriftMonitoring(prediction=False), calibrate([reference])
        for start in range(0, 50_000, 500):
            batch = profile(frame.iloc[start : start + 500], binning)
            verdict = detect_drift(reference, batch, thresholds, rule)
            assert verdict.verdict == "no drift", verdict.reason

    def test_a_batch_without_rows_tells_nothing(self) -> None:
        reference = one(numbers(60, 30, 10))
        verdict = detect_drift(reference, one([], []), calibrate([reference]), RULE)
        assert (verdict.verdict, verdict.current_rows) == ("cannot tell", 0)
        assert verdict.reason.startswith("the batch has 0 rows")

    def test_a_reference_without_rows_is_an_error(self) -> None:
        reference, empty = one(numbers(60, 30, 10)), one([], [])
        with pytest.raises(MonitoringError, match="profile reference: must have rows"):
            detect_drift(empty, reference, calibrate([reference]), RULE)

    def test_other_binning_and_absent_thresholds_are_errors(self) -> None:
        reference = one(numbers(60, 30, 10))
        other = profile(pd.DataFrame({"x": [1.0]}), Binning({"x": ()}, {}))
        with pytest.raises(MonitoringError, match="reference's binning"):
            detect_drift(reference, other, calibrate([reference]), RULE)
        partial = Thresholds({"x": calibrate([reference]).columns["x"]}, 1)
        with pytest.raises(MonitoringError, match="column k: must have thresholds"):
            detect_drift(reference, reference, partial, RULE)
        with pytest.raises(MonitoringError, match="column x: must have thresholds"):
            detect_drift(reference, reference, Thresholds({}, 1), RULE)
        bare = profile(pd.DataFrame(index=range(9)), Binning({}, {}))
        with pytest.raises(MonitoringError, match="must hold features"):
            detect_drift(bare, bare, calibrate([bare]), RULE)


class TestPredictions:
    RULE = RULE.model_copy(update={"prediction": True})

    def sides(self, power: float) -> tuple[Profile, Profile]:
        scores = np.linspace(0, 1, 2000)
        frame = pd.DataFrame({"x": np.ones(2000)})
        binning = fit_binning(frame, ["x"], [], predictions=scores)
        return profile(frame, binning, scores), profile(frame, binning, scores**power)

    def test_shifted_scores_drift_the_batch(self) -> None:
        reference, current = self.sides(2.0)
        thresholds = calibrate([reference])
        verdict = detect_drift(reference, current, thresholds, self.RULE)
        assert (verdict.verdict, verdict.drifted) == ("drift", ())
        assert verdict.predictions is not None
        assert verdict.predictions.column == PREDICTIONS
        assert isinstance(reference.predictions, NumericProfile)
        assert isinstance(current.predictions, NumericProfile)
        assert verdict.predictions.statistics == {
            **compare_numbers(
                reference.predictions, current.predictions, reference.binning.predictions or ()
            ),
            "missing share": 0.0,
        }
        assert verdict.predictions.drifted
        assert verdict.reason.startswith("0 of 1 features drifted, predictions drifted (")
        ignored = detect_drift(reference, current, thresholds, RULE)
        assert (ignored.verdict, ignored.predictions) == ("no drift", None)

    def test_missing_scores_drift_the_batch(self) -> None:
        reference, _ = self.sides(1.0)
        scores = np.linspace(0, 1, 2000)
        scores[::4] = np.nan
        current = profile(pd.DataFrame({"x": np.ones(2000)}), reference.binning, scores)
        verdict = detect_drift(reference, current, calibrate([reference]), self.RULE)
        assert verdict.predictions is not None
        assert "missing share" in verdict.predictions.exceeded
        assert verdict.verdict == "drift"

    def classes(self, rare: int, rows: int = 1000) -> Profile:
        named = np.array(["DM"] * (rows - rare) + ["DO"] * rare, dtype=object)
        binning = Binning({"x": (1.0,)}, {}, prediction_levels=("DM", "DO", "PX"))
        return profile(pd.DataFrame({"x": np.ones(rows)}), binning, named)

    def test_predicted_classes_are_told_as_a_categorical_column(self) -> None:
        reference = self.classes(100)
        thresholds = calibrate([reference])
        same = detect_drift(reference, self.classes(110), thresholds, self.RULE)
        assert same.verdict == "no drift"
        other = detect_drift(reference, self.classes(600), thresholds, self.RULE)
        assert other.verdict == "drift"
        assert other.predictions is not None
        assert set(other.predictions.statistics) == {
            "PSI",
            "Jensen-Shannon",
            "Cramer's V",
            "entropy difference",
            "missing share",
            "unseen share",
        }

    def test_predicted_numbers_need_not_be_probabilities(self) -> None:
        minutes = np.linspace(-5, 90, 2000)
        frame = pd.DataFrame({"x": np.ones(2000)})
        binning = fit_binning(frame, ["x"], [], predictions=minutes)
        reference = profile(frame, binning, minutes)
        current = profile(frame, binning, minutes / 2)
        verdict = detect_drift(reference, current, calibrate([reference]), self.RULE)
        assert verdict.predictions is not None
        assert verdict.predictions.drifted
        assert "Wasserstein" in verdict.predictions.statistics

    def named(self, **rows: int) -> Profile:
        classes = [None if name == "none" else name for name, n in rows.items() for _ in range(n)]
        binning = Binning({"x": (1.0,)}, {}, prediction_levels=("DM",))
        frame = pd.DataFrame({"x": np.ones(len(classes))})
        return profile(frame, binning, np.array(classes, dtype=object))

    def test_missing_and_unseen_share_of_predicted_classes(self) -> None:
        reference, current = self.named(DM=7, XX=2, none=1), self.named(DM=8, XX=10, none=2)
        verdict = detect_drift(reference, current, calibrate([reference]), self.RULE)
        assert verdict.predictions is not None
        assert verdict.predictions.statistics["unseen share"] == pytest.approx(10 / 20 - 2 / 10)
        assert verdict.predictions.statistics["missing share"] == pytest.approx(2 / 20 - 1 / 10)
        assert "unseen share" in verdict.predictions.exceeded
        assert "missing share" not in verdict.predictions.exceeded

    def test_missing_share_of_predicted_numbers(self) -> None:
        binning = Binning({"x": (1.0,)}, {}, (0.5,))
        sides = []
        for rows, missing in ((10, 2), (20, 7)):
            scores = np.where(np.arange(rows) < missing, np.nan, 0.25)
            sides.append(profile(pd.DataFrame({"x": np.ones(rows)}), binning, scores))
        verdict = detect_drift(*sides, calibrate(sides[:1]), self.RULE)
        assert verdict.predictions is not None
        assert verdict.predictions.statistics["missing share"] == pytest.approx(7 / 20 - 2 / 10)
        assert verdict.predictions.thresholds["missing share"] == 0.1
        assert verdict.reason.endswith(
            "predictions drifted (missing share 0.15 > 0.10, 1 of 5 tests exceeded)"
        )

    def test_numbers_and_classes_share_only_what_is_missing(self) -> None:
        frame = pd.DataFrame({"x": np.ones(4)})
        numeric = profile(frame, Binning({"x": (1.0,)}, {}, (0.5,)), np.array([0.1, 0.9, 0.9, 0.9]))
        classes = CategoricalProfile(counts=(1, 2), other=0, missing=1)
        named = dataclasses.replace(numeric, predictions=classes)
        for reference, current, share in ((numeric, named, 0.25), (named, numeric, -0.25)):
            verdict = detect_drift(reference, current, calibrate([reference]), self.RULE)
            assert verdict.predictions is not None
            assert verdict.predictions.statistics == {"missing share": share}

    def test_only_telling_predictions_count_and_every_feature_does(self) -> None:
        scores = np.linspace(0, 1, 2000)
        frame = pd.DataFrame({"x": np.ones(2000)})
        telling = np.arange(2000) % 4 == 0
        binning = fit_binning(frame[telling], ["x"], [], predictions=scores[telling])
        known = np.where(telling, scores, scores.round())  # surer of what it was fitted on
        found = profile(frame, binning, known, telling)
        assert found.predictions == profile(frame[telling], binning, scores[telling]).predictions
        assert found.numeric["x"].rows == found.rows == 2000
        assert found.predictions is not None
        assert found.predictions.rows == 500
        parts = [profile(frame[i::2], binning, known[i::2], telling[i::2]) for i in (0, 1)]
        merged = merge_all(parts)
        assert merged.predictions is not None
        assert (merged.rows, merged.predictions.rows) == (2000, 500)
        verdict = detect_drift(
            found, profile(frame, binning, scores), calibrate([found]), self.RULE
        )
        assert verdict.verdict == "no drift"
        of_all = profile(frame, binning, known)
        assert (
            detect_drift(
                of_all, profile(frame, binning, scores), calibrate([of_all]), self.RULE
            ).verdict
            == "drift"
        )

    def test_where_no_prediction_counts_none_is_compared_and_that_is_told(self) -> None:
        reference, current = self.sides(2.0)
        frame, nobody = pd.DataFrame({"x": np.ones(2000)}), np.zeros(2000, np.bool_)
        none = profile(frame, reference.binning, np.ones(2000), nobody)
        for left, right in ((none, current), (reference, none)):
            verdict = detect_drift(left, right, calibrate([reference]), self.RULE)
            assert (verdict.verdict, verdict.predictions) == ("no drift", None)
            assert verdict.reason.endswith(
                "predictions not compared (one side has none of rows that were not fitted on)"
            )
        ignored = detect_drift(none, current, calibrate([reference]), RULE)
        assert "predictions" not in ignored.reason

    @pytest.mark.parametrize(("scored", "learned"), [(2, False), (3, True)])
    def test_noise_of_predictions_is_learned_from_three_partitions_that_tell(
        self, scored: int, learned: bool
    ) -> None:
        frame = pd.DataFrame({"x": np.ones(600)})
        levels = [np.full(600, 0.1 + 0.2 * i) for i in range(4)]
        binning = fit_binning(frame, ["x"], [], predictions=np.linspace(0, 1, 600))
        parts = [
            profile(frame, binning, scores, np.full(600, i < scored))
            for i, scores in enumerate(levels)
        ]
        thresholds = calibrate(parts)
        assert thresholds.partitions == 4
        assert (thresholds.columns[PREDICTIONS]["PSI"] > FLOORS["PSI"]) == learned

    def test_unscored_batch_is_an_error_when_scores_matter(self) -> None:
        reference, _ = self.sides(1.0)
        bare = profile(pd.DataFrame({"x": np.ones(2000)}), reference.binning)
        with pytest.raises(MonitoringError, match="profile current: must hold predictions"):
            detect_drift(reference, bare, calibrate([reference]), self.RULE)
        assert detect_drift(reference, bare, calibrate([reference]), RULE).verdict == "no drift"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"PSI": 0.41, "missing share": 0.1}, "LowDoc PSI 0.41 > 0.25"),
        ({"PSI": 0.2, "missing share": 0.3}, "LowDoc missing share 0.30 > 0.20"),
        ({"PSI": 0.25, "missing share": 0.0}, "LowDoc PSI 0.25 <= 0.25"),
    ],
)
def test_a_column_is_described_by_what_is_furthest_over(
    values: dict[str, float], told: str
) -> None:
    thresholds = {"PSI": 0.25, "missing share": 0.2}
    assert ColumnDrift("LowDoc", values, thresholds, (), False, 1.0).describe() == told


def test_round_trips_through_json() -> None:
    reference, current = one(numbers(50, 30, 20)), one(numbers(20, 30, 50))
    thresholds = calibrate([reference])
    verdict = detect_drift(reference, current, thresholds, RULE)
    document = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert DriftVerdict.from_dict(document) == verdict
    document = json.loads(json.dumps(thresholds.to_dict(), allow_nan=False))
    assert Thresholds.from_dict(document) == thresholds
    classes = [TestPredictions().classes(rare) for rare in (100, 600)]
    verdict = detect_drift(*classes, calibrate(classes[:1]), TestPredictions.RULE)
    assert DriftVerdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict
    scored = TestPredictions().sides(2.0)
    verdict = detect_drift(*scored, calibrate([scored[0]]), TestPredictions.RULE)
    assert DriftVerdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict
