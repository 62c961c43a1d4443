"""How good scores are: metrics, calibration and slices of them.

Binary labels only; a metric is scikit-learn's function of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
    roc_curve,
)

from include.errors import MonitoringError
from include.metrics import METRICS
from include.specification import nearest

MINIMUM_PER_CLASS = 30

_FUNCTIONS = {
    "average_precision": average_precision_score,
    "brier_score": brier_score_loss,
    "log_loss": log_loss,
    "roc_auc": roc_auc_score,
}


@dataclass(frozen=True)
class SliceMetric:
    """A metric on one slice; ``value`` is None where a class has too few rows to judge."""

    level: str
    rows: int
    positives: int
    value: float | None


@dataclass(frozen=True)
class CalibrationBin:
    """Mean score, share of positives and rows of one bin of a calibration curve."""

    predicted: float
    observed: float
    rows: int


def higher_is_better(name: str) -> bool:
    """Tell in which direction a metric improves.

    Raises:
        MonitoringError: If no metric has that name.
    """
    if name not in METRICS:
        raise MonitoringError(
            f"metric {name}: must be a metric, got {name!r}{nearest(name, tuple(METRICS))}."
        )
    return METRICS[name].higher_is_better


def metric(name: str, y: ArrayLike, scores: ArrayLike) -> float:
    """Measure scores with scikit-learn's function of that name.

    Args:
        name: One of ``specification.METRICS``.
        y: 0 or 1, shape (n_rows,).
        scores: Probability of 1, float64, shape (n_rows,), in [0, 1].

    Raises:
        MonitoringError: If the metric is unknown, the shapes differ, a value is out of range or
            not a number, or ``y`` holds a single class.
    """
    higher_is_better(name)
    labels, values = check_scores(y, scores)
    _demand_both_classes(name, labels)
    return float(_FUNCTIONS[name](labels.astype(np.int64), values))


def calibration_curve(
    y: ArrayLike, scores: ArrayLike, bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Compare mean score and share of positives on bins of equal frequency.

    Equal scores share a bin, so the curve does not depend on the order of the rows and may have
    fewer bins than asked for.

    Raises:
        MonitoringError: If there are no rows, or values are out of range.
    """
    labels, values = check_scores(y, scores)
    rows = len(labels)
    if not rows or bins < 1:
        raise MonitoringError(
            f"calibration: needs at least one row and one bin, got {rows} and {bins}. "
            "Give it scored rows with labels."
        )
    ranks = [(i * rows + bins - 1) // bins - 1 for i in range(1, bins)]
    edges = np.unique(np.sort(values)[[rank for rank in ranks if rank >= 0]])
    position = np.searchsorted(edges, values, side="left")
    counts = np.bincount(position)
    predicted = np.bincount(position, weights=values)
    observed = np.bincount(position, weights=labels)
    return tuple(
        CalibrationBin(float(p / n), float(o / n), int(n))
        for p, o, n in zip(predicted, observed, counts, strict=True)
        if n
    )


def calibration_error(y: ArrayLike, scores: ArrayLike, bins: int = 10) -> float:
    """Measure the expected calibration error, in [0, 1], over bins of equal frequency.

    The mean of ``|observed - predicted|`` over the bins, weighted by rows (Naeini, Cooper &
    Hauskrecht, AAAI 2015, with the equal-frequency bins of Nixon et al., CVPR workshops 2019).
    """
    curve = calibration_curve(y, scores, bins)
    gaps = sum(item.rows * abs(item.observed - item.predicted) for item in curve)
    return gaps / sum(item.rows for item in curve)


def observed_over_predicted(y: ArrayLike, scores: ArrayLike) -> float:
    """Divide the number of positives by the number that the scores promised; 1 is calibrated.

    Raises:
        MonitoringError: If the scores promise none, so that there is no ratio.
    """
    labels, values = check_scores(y, scores)
    promised = float(values.sum())
    if promised <= 0:
        raise MonitoringError(
            f"observed over predicted: scores must add up to more than 0, got {promised} over "
            f"{len(labels)} rows. Look at the scores."
        )
    return float(labels.sum() / promised)


def roc_points(
    y: ArrayLike, scores: ArrayLike, limit: int = 200
) -> tuple[tuple[float, float], ...]:
    """Trace (false positive rate, true positive rate) from (0, 0) to (1, 1) in few points.

    Raises:
        MonitoringError: As :func:`metric`.
    """
    labels, values = check_scores(y, scores)
    _demand_both_classes("roc curve", labels)
    false_positive, true_positive, _ = roc_curve(labels.astype(np.int64), values)
    kept = np.unique(np.linspace(0, len(false_positive) - 1, limit).round().astype(np.intp))
    return tuple((float(false_positive[i]), float(true_positive[i])) for i in kept)


def slice_metrics(
    name: str,
    y: ArrayLike,
    scores: ArrayLike,
    slices: pd.Series[Any],
    minimum_per_class: int = MINIMUM_PER_CLASS,
) -> tuple[SliceMetric, ...]:
    """Measure scores on every value of a column, sorted by value.

    Args:
        name: One of ``specification.METRICS``.
        y: 0 or 1, shape (n_rows,).
        scores: float64, shape (n_rows,), in [0, 1].
        slices: The column, shape (n_rows,), by position; nulls are the slice ``(missing)``.
        minimum_per_class: Rows of either class below which a slice has no value.

    Raises:
        MonitoringError: As :func:`metric`, but for single-class slices; or if lengths differ.
    """
    higher_is_better(name)
    labels, values = check_scores(y, scores)
    return tuple(
        SliceMetric(
            level=level,
            rows=int(inside.sum()),
            positives=int(labels[inside].sum()),
            value=(
                metric(name, labels[inside], values[inside])
                if has_both_classes(labels[inside], minimum_per_class)
                else None
            ),
        )
        for level, inside in cut_slices(slices, len(labels))
    )


def cut_slices(column: pd.Series[Any], rows: int) -> list[tuple[str, NDArray[np.bool_]]]:
    """Pair each value of a column, sorted, with the mask of its rows, bool, shape (rows,).

    Args:
        column: The column, by position; nulls are the slice ``(missing)``.
        rows: Number of rows that it must have.

    Raises:
        MonitoringError: If it has another number.
    """
    if len(column) != rows:
        raise MonitoringError(
            f"slice {column.name}: must have {rows} rows, got {len(column)}. Give one value a row."
        )
    texts = np.where(column.isna(), "(missing)", column.astype(str).to_numpy(dtype=object))
    codes, levels = pd.factorize(texts, sort=True)
    return [(str(level), codes == code) for code, level in enumerate(levels)]


def has_both_classes(labels: NDArray[np.bool_], minimum: int) -> bool:
    """Tell whether there are at least ``minimum`` rows of either class."""
    positives = int(labels.sum())
    return min(positives, len(labels) - positives) >= minimum


def check_scores(y: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return labels and scores as arrays, shape (n_rows,), once nothing is wrong with them.

    Raises:
        MonitoringError: If the shapes differ, or a value is out of range or not a number.
    """
    labels = np.asarray(y)
    values = np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != values.shape:
        raise MonitoringError(
            f"scores: must have the shape of the labels {labels.shape}, got {values.shape}. "
            "Give one score a row."
        )
    if not np.isin(labels, (0, 1)).all():
        odd = labels[~np.isin(labels, (0, 1))][0]
        raise MonitoringError(f"labels: must be 0 or 1, got {odd!r}. Leave unlabelled rows out.")
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        raise MonitoringError(
            f"scores: must lie in [0, 1], got {values[outside][0]} and {int(outside.sum())} such "
            f"of {len(values)}. Look at the model."
        )
    return labels.astype(np.bool_), values


def _demand_both_classes(name: str, labels: NDArray[np.bool_]) -> None:
    if not has_both_classes(labels, 1):
        positives = int(labels.sum())
        raise MonitoringError(
            f"metric {name}: needs both classes, got {positives} positives and "
            f"{len(labels) - positives} negatives. Wait for more labels."
        )
