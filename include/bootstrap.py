"""How sure a metric is, and how two models compare on the same resampled rows.

Intervals are percentile bootstraps (Efron & Tibshirani 1993, chapter 13), stratified by class so
that no resample is single-class. Rows are sorted once; a resample is then a vector of how often
each row was drawn, which gives exactly what scikit-learn would say of the drawn rows at a
hundredth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from include.errors import MonitoringError
from include.evaluation import check_scores, higher_is_better, metric

_RESAMPLES = 1000

# How often each positive and each negative row was drawn -> the metric of the drawn rows.
_Statistic = Callable[[NDArray[np.int64], NDArray[np.int64]], float]


@dataclass(frozen=True)
class Interval:
    """A metric with the bounds of its two-sided bootstrap interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same resampled rows.

    Args:
        challenger: Metric of the challenger.
        champion: Metric of the champion.
        difference: How much better the challenger is; positive is better for every metric.
        lower: One-sided lower bound of the difference at ``confidence``.
        upper: One-sided upper bound of the difference at ``confidence``.
        confidence: Of each bound, in (0, 1).
        resamples: Number of bootstrap resamples.
    """

    challenger: float
    champion: float
    difference: float
    lower: float
    upper: float
    confidence: float
    resamples: int


def bootstrap_interval(
    name: str,
    y: ArrayLike,
    scores: ArrayLike,
    *,
    confidence: float,
    resamples: int = _RESAMPLES,
    seed: int,
) -> Interval:
    """Put a two-sided percentile bootstrap interval around a metric.

    Args:
        name: One of ``specification.METRICS``.
        y: 0 or 1, shape (n_rows,), both present.
        scores: float64, shape (n_rows,), in [0, 1].
        confidence: Of the whole interval, in (0, 1).
        resamples: Number of resamples, each with as many rows of each class as ``y`` has.
        seed: Seed of the resampling; the same seed gives the same bounds.

    Raises:
        MonitoringError: As :func:`~include.evaluation.metric`; also if confidence or resamples
            are impossible.
    """
    value = metric(name, y, scores)
    (drawn,) = _bootstrap(name, y, (scores,), confidence, resamples, seed)
    tail = (1 - confidence) / 2
    return Interval(value, float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1 - tail)))


def paired_bootstrap(
    name: str,
    y: ArrayLike,
    challenger: ArrayLike,
    champion: ArrayLike,
    *,
    confidence: float,
    resamples: int = _RESAMPLES,
    seed: int,
) -> PairedComparison:
    """Compare two models on the same resampled rows.

    Both models see every resample, so what they share cancels out of the difference.

    Args:
        name: One of ``specification.METRICS``.
        y: 0 or 1, shape (n_rows,), both present.
        challenger: Scores of the challenger, float64, shape (n_rows,), in [0, 1].
        champion: Scores of the champion on the same rows in the same order.
        confidence: Of each one-sided bound, in (0, 1).
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        MonitoringError: As :func:`~include.evaluation.metric`; also if confidence or resamples
            are impossible.
    """
    sign = 1 if higher_is_better(name) else -1
    ours, theirs = metric(name, y, challenger), metric(name, y, champion)
    drawn = _bootstrap(name, y, (challenger, champion), confidence, resamples, seed)
    differences = sign * (drawn[0] - drawn[1])
    return PairedComparison(
        challenger=ours,
        champion=theirs,
        difference=sign * (ours - theirs),
        lower=float(np.quantile(differences, 1 - confidence)),
        upper=float(np.quantile(differences, confidence)),
        confidence=confidence,
        resamples=resamples,
    )


def _bootstrap(
    name: str,
    y: ArrayLike,
    models: Sequence[ArrayLike],
    confidence: float,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return the metric of each model on each resample, shape (n_models, resamples)."""
    if not 0 < confidence < 1 or resamples < 1:
        raise MonitoringError(
            f"bootstrap: needs a confidence in (0, 1) and at least one resample, got {confidence} "
            f"and {resamples}. Correct them."
        )
    labels = check_scores(y, models[0])[0]
    statistics = [_statistic(name, labels, check_scores(y, scores)[1]) for scores in models]
    positives = int(labels.sum())
    negatives = len(labels) - positives
    generator = np.random.default_rng(seed)
    drawn = np.empty((len(models), resamples))
    for resample in range(resamples):
        of_positives = _draw(generator, positives)
        of_negatives = _draw(generator, negatives)
        drawn[:, resample] = [statistic(of_positives, of_negatives) for statistic in statistics]
    return drawn


def _draw(generator: np.random.Generator, rows: int) -> NDArray[np.int64]:
    return np.bincount(generator.integers(0, rows, rows), minlength=rows)


def _statistic(name: str, labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> _Statistic:
    positives, negatives = scores[labels], scores[~labels]
    if name in ("roc_auc", "average_precision"):
        return _rank_statistic(name, positives, negatives)
    loss_of_positives, loss_of_negatives = _loss(name, 1 - positives), _loss(name, negatives)

    def mean_loss(p: NDArray[np.int64], n: NDArray[np.int64]) -> float:
        return float((p @ loss_of_positives + n @ loss_of_negatives) / len(labels))

    return mean_loss


def _rank_statistic(
    name: str, positives: NDArray[np.float64], negatives: NDArray[np.float64]
) -> _Statistic:
    order = np.argsort(negatives, kind="stable")
    below = np.searchsorted(negatives[order], positives, side="left")
    not_above = np.searchsorted(negatives[order], positives, side="right")
    own_order = np.argsort(positives, kind="stable")
    own_below = np.searchsorted(positives[own_order], positives, side="left")

    def area(p: NDArray[np.int64], n: NDArray[np.int64]) -> float:
        """Count pairs in the right order, ties half (Mann & Whitney 1947)."""
        seen = _running(n[order])
        pairs = p @ (seen[below] + seen[not_above])
        return float(pairs / (2 * len(positives) * len(negatives)))

    def average_precision(p: NDArray[np.int64], n: NDArray[np.int64]) -> float:
        """Average the precision at the threshold of each drawn positive."""
        true_positives = len(positives) - _running(p[own_order])[own_below]
        selected = true_positives + len(negatives) - _running(n[order])[below]
        # Nothing is selected only where the positive itself was not drawn: its weight is 0.
        return float(p @ (true_positives / np.maximum(selected, 1)) / len(positives))

    return area if name == "roc_auc" else average_precision


def _running(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=total[1:])
    return total


def _loss(name: str, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Loss of rows whose score is ``distance`` away from their label."""
    if name == "brier_score":
        return distance**2
    smallest = np.finfo(np.float64).eps  # scikit-learn clips here, too
    return -np.log(np.clip(1 - distance, smallest, 1 - smallest))
