"""How far two profiles of a column lie apart, in SciPy's terms, and how far chance puts them.

Every statistic compares two histograms that share a binning. Where one needs logarithms (PSI),
bins that are empty on both sides are left out and half a row is added to each other bin of both
sides (the estimate of Krichevsky & Trofimov 1981): an empty bin costs little in a small batch and
much in a large one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, chi2_contingency, entropy, kstwobign, wasserstein_distance

from include.monitoring.profiles import CategoricalProfile, NumericProfile

NUMERIC_STATISTICS = ("PSI", "Jensen-Shannon", "Kolmogorov-Smirnov", "Wasserstein")
CATEGORICAL_STATISTICS = ("PSI", "Jensen-Shannon", "Cramer's V", "entropy difference")

# One sample in a thousand from the reference itself may exceed a statistic's sampling noise.
_FALSE_ALARM = 0.001

_Counts = NDArray[np.float64]


def compare_numbers(
    reference: NumericProfile, current: NumericProfile, edges: Sequence[float]
) -> dict[str, float]:
    """Compute :data:`NUMERIC_STATISTICS`; the last two only if both sides have finite values.

    Args:
        reference: Profile of the reference.
        current: Profile of the batch, on the same bins.
        edges: Inner edges of the bins, ascending.
    """
    statistics = _of_all_bins(_bins(reference), _bins(current))
    p, q = (np.array(side.counts, dtype=np.float64) for side in (reference, current))
    if p.sum() and q.sum():
        gaps = np.cumsum(p) / p.sum() - np.cumsum(q) / q.sum()
        statistics["Kolmogorov-Smirnov"] = float(np.abs(gaps).max())
        statistics["Wasserstein"] = _wasserstein(p, q, edges)
    return statistics


def compare_levels(reference: CategoricalProfile, current: CategoricalProfile) -> dict[str, float]:
    """Compute :data:`CATEGORICAL_STATISTICS` of two profiles on the same levels."""
    p, q = _bins(reference), _bins(current)
    held = (p + q) > 0
    # A table of shares instead of counts, so that V does not depend on how large the batch is.
    table = np.vstack([p[held] / p.sum(), q[held] / q.sum()])
    statistic = chi2_contingency(table, correction=False).statistic
    return {
        **_of_all_bins(p, q),
        "Cramer's V": float(np.sqrt(max(statistic, 0.0) / table.sum())),
        "entropy difference": float(abs(entropy(p) - entropy(q))),
    }


def sampling_noise(
    reference: NumericProfile | CategoricalProfile, current: NumericProfile | CategoricalProfile
) -> dict[str, float]:
    """Say what sampling alone exceeds once in a thousand batches of these sizes.

    PSI is then distributed as ``(1/n + 1/m) * chi2(bins - 1)`` (Yurdakul 2018); divergence and
    chi-squared are an eighth and a quarter of it to second order; Kolmogorov's limit for the rest.
    Statistics whose noise is not known are absent.
    """
    bins = max(int(((_bins(reference) + _bins(current)) > 0).sum()), 2)
    scale = 1 / reference.rows + 1 / current.rows
    psi = float(chi2.isf(_FALSE_ALARM, bins - 1)) * scale
    noise = {
        "PSI": psi,
        "Jensen-Shannon": float(np.sqrt(psi / (8 * np.log(2)))),
        "Cramer's V": float(np.sqrt(psi / 4)),
    }
    counts = [side.count for side in (reference, current) if isinstance(side, NumericProfile)]
    if counts and all(counts):
        scale = sum(1 / count for count in counts)
        noise["Kolmogorov-Smirnov"] = float(kstwobign.isf(_FALSE_ALARM)) * float(np.sqrt(scale))
    return noise


def _of_all_bins(p: _Counts, q: _Counts) -> dict[str, float]:
    """Compute what counts missing values as a bin: PSI and Jensen-Shannon distance."""
    held = (p + q) > 0
    smooth_p, smooth_q = p[held] + 0.5, q[held] + 0.5
    # The population stability index is the symmetric Kullback-Leibler divergence (Jeffreys).
    psi = entropy(smooth_p, smooth_q) + entropy(smooth_q, smooth_p)
    with np.errstate(invalid="ignore"):  # SciPy takes the root of -1e-17 for equal shares
        distance = np.nan_to_num(jensenshannon(p[held], q[held], base=2))
    return {"PSI": float(psi), "Jensen-Shannon": float(distance)}


def _wasserstein(p: _Counts, q: _Counts, edges: Sequence[float]) -> float:
    """Move mass between bin centres, in standard deviations of the reference; 0 if it has none.

    The open outer bins sit on their edge, which keeps outliers from setting the scale.
    """
    if not edges:
        return 0.0
    # Any common factor cancels: this one keeps the largest doubles from overflowing.
    points = np.array(edges) / max(np.abs(edges).max(), np.finfo(np.float64).tiny)
    places = np.concatenate([points[:1], (points[:-1] + points[1:]) / 2, points[-1:]])
    mean = np.average(places, weights=p)
    spread = float(np.sqrt(np.average((places - mean) ** 2, weights=p)))
    if spread <= 1e-12:
        return 0.0
    return float(wasserstein_distance(places, places, p, q)) / spread


def _bins(column: NumericProfile | CategoricalProfile) -> _Counts:
    rest = column.non_finite if isinstance(column, NumericProfile) else column.other
    return np.array([*column.counts, rest, column.missing], dtype=np.float64)
