"""Divergence: statistics by hand, finite ones in the extreme, and the noise of small samples."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from include.monitoring.binning import Binning, fit_binning
from include.monitoring.divergence import (
    CATEGORICAL_STATISTICS,
    NUMERIC_STATISTICS,
    compare_levels,
    compare_numbers,
    sampling_noise,
)
from include.monitoring.profiles import CategoricalProfile, NumericProfile, profile

EDGES = (1.0, 2.0)
LEVELS = ("a", "b")


def numbers(*counts: int, missing: int = 0, infinite: int = 0) -> NumericProfile:
    """Profile a column with these counts in the bins (-inf, 1], (1, 2], (2, inf)."""
    values = [v for v, n in zip((0.5, 1.5, 2.5), counts, strict=True) for _ in range(n)]
    values += [math.nan] * missing + [math.inf] * infinite
    return profile(pd.DataFrame({"x": values}), Binning({"x": EDGES}, {})).numeric["x"]


def levels(**counts: int) -> CategoricalProfile:
    values = [level for level, n in counts.items() for _ in range(n)]
    return profile(pd.DataFrame({"k": values}), Binning({}, {"k": LEVELS})).categorical["k"]


class TestCompareNumbers:
    def test_by_hand(self) -> None:
        found = compare_numbers(numbers(50, 30, 20), numbers(20, 30, 50), EDGES)
        assert tuple(found) == NUMERIC_STATISTICS
        p = np.array([50.5, 30.5, 20.5]) / 101.5
        q = p[::-1]
        assert found["PSI"] == pytest.approx(((p - q) * np.log(p / q)).sum())
        raw_p, raw_q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
        middle = (raw_p + raw_q) / 2
        divergence = (raw_p * np.log2(raw_p / middle) + raw_q * np.log2(raw_q / middle)).sum() / 2
        assert found["Jensen-Shannon"] == pytest.approx(math.sqrt(divergence))
        assert found["Kolmogorov-Smirnov"] == pytest.approx(0.3)
        # Centres 1, 1.5, 2: mean 1.35, variance 0.1525; 0.3 of the mass moves by 1.
        assert found["Wasserstein"] == pytest.approx(0.3 / math.sqrt(0.1525))

    def test_equal_shares_of_other_sizes_are_no_distance(self) -> None:
        found = compare_numbers(numbers(10, 20, 70), numbers(30, 60, 210), EDGES)
        assert found["Jensen-Shannon"] == pytest.approx(0, abs=1e-8)
        assert found["Kolmogorov-Smirnov"] == pytest.approx(0)
        assert found["Wasserstein"] == pytest.approx(0)
        assert found["PSI"] == pytest.approx(0, abs=1e-3)

    def test_constant_column_has_no_scale(self) -> None:
        found = compare_numbers(numbers(0, 50, 0), numbers(0, 0, 50), EDGES)
        assert found["Wasserstein"] == 0.0
        assert found["Kolmogorov-Smirnov"] == 1.0

    def test_a_column_of_one_bin_does_not_move(self) -> None:
        rows = pd.DataFrame({"x": [1.0, 5.0, 9.0]})
        whole = profile(rows, Binning({"x": ()}, {})).numeric["x"]
        found = compare_numbers(whole, whole, ())
        assert (found["Wasserstein"], found["Kolmogorov-Smirnov"]) == (0.0, 0.0)

    def test_mass_moves_between_the_centres_of_uneven_bins(self) -> None:
        edges = (1.0, 2.0, 6.0)
        values = {1.0: (6, 0), 1.5: (0, 0), 4.0: (0, 3), 7.0: (2, 5)}
        sides = []
        for side in (0, 1):
            rows = pd.DataFrame({"x": [v for v, n in values.items() for _ in range(n[side])]})
            sides.append(profile(rows, Binning({"x": edges}, {})).numeric["x"])
        found = compare_numbers(*sides, edges)
        # Places 1, 1.5, 4, 6: mean 2.25, variance 4.6875; 3/8 of the mass move from 1 to 4, and
        # 3/8 from 1 to 6.
        assert found["Wasserstein"] == pytest.approx((3 * 3 + 3 * 5) / 8 / math.sqrt(4.6875))
        assert found["Kolmogorov-Smirnov"] == 6 / 8

    def test_a_bin_of_one_row_counts(self) -> None:
        found = compare_numbers(numbers(1, 0, 0), numbers(0, 1, 0), EDGES)
        # Shares 3/4 and 1/4 once half a row is added: 2 * 1/2 * log 3.
        assert found["PSI"] == pytest.approx(math.log(3))
        assert found["Jensen-Shannon"] == pytest.approx(1.0)

    @pytest.mark.parametrize("odd", ["missing", "infinite"])
    def test_without_finite_values_only_bins_are_compared(self, odd: str) -> None:
        found = compare_numbers(numbers(60, 30, 10), numbers(0, 0, 0, **{odd: 90}), EDGES)
        assert tuple(found) == ("PSI", "Jensen-Shannon")
        assert found["Jensen-Shannon"] == pytest.approx(1.0)

    def test_extreme_edges_do_not_overflow(self) -> None:
        largest = np.finfo(np.float64).max
        rows = pd.DataFrame({"x": [-largest, 0.0, largest] * 20})
        binning = fit_binning(rows, ["x"], [])
        found = compare_numbers(
            profile(rows, binning).numeric["x"],
            profile(rows.iloc[[0] * 30], binning).numeric["x"],
            binning.numeric["x"],
        )
        assert all(math.isfinite(value) for value in found.values())


class TestCompareLevels:
    def test_by_hand(self) -> None:
        found = compare_levels(levels(a=60, b=40), levels(a=6, b=14))
        assert set(found) == set(CATEGORICAL_STATISTICS)
        # Shares .6 .4 against .3 .7: expected .45 .55 in both rows of the table.
        chi_squared = 2 * 0.15**2 / 0.45 + 2 * 0.15**2 / 0.55
        assert found["Cramer's V"] == pytest.approx(math.sqrt(chi_squared / 2))

        def nats(share: float) -> float:
            return -share * math.log(share) - (1 - share) * math.log(1 - share)

        assert found["entropy difference"] == pytest.approx(nats(0.4) - nats(0.3))

    def test_a_level_of_one_row_counts(self) -> None:
        found = compare_levels(levels(a=1), levels(b=1))
        assert found["Cramer's V"] == pytest.approx(1.0)

    def test_disjoint_levels_are_as_far_as_can_be(self) -> None:
        found = compare_levels(levels(a=50), levels(b=10))
        assert found["Cramer's V"] == pytest.approx(1.0)
        assert found["Jensen-Shannon"] == pytest.approx(1.0)
        assert found["entropy difference"] == 0.0


class TestSamplingNoise:
    def test_by_hand(self) -> None:
        # Two held bins leave one degree of freedom, whose 0.999 quantile is 10.828.
        psi = 10.828 * (1 / 100 + 1 / 25)
        assert sampling_noise(levels(a=60, b=40), levels(a=20, b=5)) == pytest.approx(
            {
                "PSI": psi,
                "Jensen-Shannon": math.sqrt(psi / (8 * math.log(2))),
                "Cramer's V": math.sqrt(psi / 4),
            },
            rel=1e-4,
        )

    def test_one_held_bin_has_the_noise_of_two(self) -> None:
        noise = sampling_noise(levels(a=50), levels(a=25))
        assert noise["PSI"] == pytest.approx(10.828 * (1 / 50 + 1 / 25), rel=1e-4)

    def test_a_bin_of_one_row_is_held(self) -> None:
        # Three held bins leave two degrees of freedom, whose 0.999 quantile is 2 log 1000.
        noise = sampling_noise(levels(a=9, b=1), levels(a=9, c=1))
        assert noise["PSI"] == pytest.approx(2 * math.log(1000) * (1 / 10 + 1 / 10))

    def test_kolmogorov_counts_finite_values(self) -> None:
        noise = sampling_noise(numbers(50, 30, 20, missing=7), numbers(20, 3, 2, infinite=9))
        # Kolmogorov's distribution exceeds 1.9495 once in a thousand.
        assert noise["Kolmogorov-Smirnov"] == pytest.approx(1.9495 * math.sqrt(0.05), rel=1e-4)
        none = sampling_noise(numbers(50, 30, 20), numbers(0, 0, 0, missing=9))
        assert "Kolmogorov-Smirnov" not in none
