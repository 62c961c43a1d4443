"""Whether scores keep what they promise.

What is promised depends on the task: binary, the probability of 1; multiclass, the probability
that the likeliest class is right (top-label calibration, Guo et al., ICML 2017); regression, the
number itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from include.errors import MonitoringError
from include.evaluation.metric_values import check_scores, predict_classes
from include.specification.problem import Problem


@dataclass(frozen=True)
class CalibrationBin:
    """Mean of what was promised and of what came true in one bin, and its rows."""

    predicted: float
    observed: float
    rows: int


def calibration_curve(
    problem: Problem, y: ArrayLike, scores: ArrayLike, bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Compare what was promised with what came true, on bins of equal frequency.

    Equal promises share a bin, so the curve does not depend on the order of the rows and may have
    fewer bins than asked for.

    Raises:
        MonitoringError: If there are no rows, or labels or scores are wrong.
    """
    promised, kept = _promises(problem, y, scores)
    position = cut_by_rank(promised, bins)
    counts = np.bincount(position)
    predicted = np.bincount(position, weights=promised)
    observed = np.bincount(position, weights=kept)
    return tuple(
        CalibrationBin(float(p / n), float(o / n), int(n))
        for p, o, n in zip(predicted, observed, counts, strict=True)
        if n
    )


def cut_by_rank(values: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    """Number the equal-frequency bin of each value, shape (n_rows,); equal values share one.

    Raises:
        MonitoringError: If there are no rows or no bins.
    """
    rows = len(values)
    if not rows or bins < 1:
        raise MonitoringError(
            f"calibration: needs at least one row and one bin, got {rows} and {bins}. "
            "Give it scored rows with labels."
        )
    ranks = [(i * rows + bins - 1) // bins - 1 for i in range(1, bins)]
    edges = np.unique(np.sort(values)[[rank for rank in ranks if rank >= 0]])
    return np.searchsorted(edges, values, side="left")


def calibration_error(
    problem: Problem, y: ArrayLike, scores: ArrayLike, bins: int = 10
) -> float | None:
    """Measure the expected calibration error, in [0, 1], over bins of equal frequency.

    The mean of ``|observed - predicted|`` over the bins, weighted by rows (Naeini, Cooper &
    Hauskrecht, AAAI 2015, with the equal-frequency bins of Nixon et al., CVPR workshops 2019).
    Regression promises no probability: None.

    Raises:
        MonitoringError: As :func:`calibration_curve`.
    """
    curve = calibration_curve(problem, y, scores, bins)
    if problem.task == "regression":
        return None
    gaps = sum(item.rows * abs(item.observed - item.predicted) for item in curve)
    return gaps / sum(item.rows for item in curve)


def observed_over_predicted(problem: Problem, y: ArrayLike, scores: ArrayLike) -> float | None:
    """Divide what came true by what was promised; 1 is calibrated.

    Binary: positives over the sum of scores; regression: sum over sum.

    Returns:
        The ratio; None for multiclass, or where a sum does not have a ratio: nothing was promised,
        or numbers of both signs cancel out.

    Raises:
        MonitoringError: If labels or scores are wrong.
    """
    if problem.task == "multiclass":
        return None
    promised, kept = _promises(problem, y, scores)
    if promised.sum() <= 0 or kept.sum() < 0:
        return None
    return float(kept.sum() / promised.sum())


def roc_points(
    problem: Problem, y: ArrayLike, scores: ArrayLike, limit: int = 200
) -> tuple[tuple[float, float], ...]:
    """Trace (false positive rate, true positive rate) from (0, 0) to (1, 1) in few points.

    Args:
        problem: A binary one.
        y: 0 or 1, both present, shape (n_rows,).
        scores: Probability of 1, float64, shape (n_rows,).
        limit: Largest number of points.

    Raises:
        MonitoringError: If labels or scores are wrong.
    """
    labels, values = check_scores(problem, y, scores)
    false_positive, true_positive, _ = roc_curve(labels, values)
    kept = np.unique(np.linspace(0, len(false_positive) - 1, limit).round().astype(np.intp))
    return tuple((float(false_positive[i]), float(true_positive[i])) for i in kept)


def _promises(
    problem: Problem, y: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each row promised and what came true, float64, shape (n_rows,)."""
    labels, values = check_scores(problem, y, scores)
    if problem.task != "multiclass":
        return values, labels.astype(np.float64)
    return values.max(axis=1), (predict_classes(problem, values) == labels).astype(np.float64)
