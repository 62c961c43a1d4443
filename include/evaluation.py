"""How good scores are, how sure that is, and how two models compare on the same rows.

Binary labels only. Intervals are percentile bootstraps (Efron & Tibshirani 1993, chapter 13),
stratified by class so that no resample is single-class. Rows are sorted once; a resample is then
a vector of how often each row was drawn, which gives exactly what scikit-learn would say of the
drawn rows at a hundredth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

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
from include.specification import LOWER_IS_BETTER, METRICS, Promotion, nearest

MINIMUM_PER_CLASS = 30
RESAMPLES = 1000

_FUNCTIONS = {
    "average_precision": average_precision_score,
    "brier_score": brier_score_loss,
    "log_loss": log_loss,
    "roc_auc": roc_auc_score,
}
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


@dataclass(frozen=True)
class SliceMetric:
    """A metric on one slice; ``value`` is None where a class has too few rows to judge."""

    level: str
    rows: int
    positives: int
    value: float | None


@dataclass(frozen=True)
class SliceComparison:
    """Both models on one slice; None where it cannot be judged or there is no champion.

    Args:
        column: Column that cuts the slices.
        level: Value of the column in this slice.
        rows: Held-out rows of the slice.
        positives: Positives among them.
        challenger: Metric of the challenger.
        champion: Metric of the champion.
        difference: How much better the challenger is; negative is worse.
        upper: One-sided upper bound of the difference.
    """

    column: str
    level: str
    rows: int
    positives: int
    challenger: float | None
    champion: float | None
    difference: float | None
    upper: float | None


@dataclass(frozen=True)
class CalibrationBin:
    """Mean score, share of positives and rows of one bin of a calibration curve."""

    predicted: float
    observed: float
    rows: int


@dataclass(frozen=True)
class Evidence:
    """All that the promotion gate looks at.

    Args:
        metric: Metric that challenger and champion are compared by.
        partitions: Names of the held-out partitions.
        rows: Held-out rows.
        positives: Positives among them.
        challenger: Metrics of the challenger with intervals; empty if a class is absent.
        champion: Metrics of the champion; None when there is no champion yet.
        comparison: Paired comparison by ``metric``; None without a champion or a class.
        slices: Every slice of every guarded column.
        calibration_error: Expected calibration error of the challenger; None without rows.
    """

    metric: str
    partitions: tuple[str, ...]
    rows: int
    positives: int
    challenger: Mapping[str, Interval]
    champion: Mapping[str, float] | None
    comparison: PairedComparison | None
    slices: tuple[SliceComparison, ...]
    calibration_error: float | None

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        fields = dict(document)
        comparison = fields["comparison"]
        fields["partitions"] = tuple(fields["partitions"])
        fields["challenger"] = {
            name: Interval(**item) for name, item in fields["challenger"].items()
        }
        fields["comparison"] = None if comparison is None else PairedComparison(**comparison)
        fields["slices"] = tuple(SliceComparison(**item) for item in fields["slices"])
        return cls(**fields)


def higher_is_better(name: str) -> bool:
    """Tell in which direction a metric improves.

    Raises:
        MonitoringError: If no metric has that name.
    """
    if name not in METRICS:
        raise MonitoringError(
            f"metric {name}: must be a metric, got {name!r}{nearest(name, METRICS)}."
        )
    return name not in LOWER_IS_BETTER


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
    labels, values = _checked(y, scores)
    _demand_both_classes(name, labels)
    return float(_FUNCTIONS[name](labels.astype(np.int64), values))


def bootstrap_interval(
    name: str,
    y: ArrayLike,
    scores: ArrayLike,
    *,
    confidence: float,
    resamples: int = RESAMPLES,
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
        MonitoringError: As :func:`metric`; also if confidence or resamples are impossible.
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
    resamples: int = RESAMPLES,
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
        MonitoringError: As :func:`metric`; also if confidence or resamples are impossible.
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


def calibration_curve(
    y: ArrayLike, scores: ArrayLike, bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Compare mean score and share of positives on bins of equal frequency.

    Equal scores share a bin, so the curve does not depend on the order of the rows and may have
    fewer bins than asked for.

    Raises:
        MonitoringError: If there are no rows, or values are out of range.
    """
    labels, values = _checked(y, scores)
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
    labels, values = _checked(y, scores)
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
    labels, values = _checked(y, scores)
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
    labels, values = _checked(y, scores)
    return tuple(
        SliceMetric(
            level=level,
            rows=int(inside.sum()),
            positives=int(labels[inside].sum()),
            value=(
                metric(name, labels[inside], values[inside])
                if _has_both(labels[inside], minimum_per_class)
                else None
            ),
        )
        for level, inside in _cut(slices, len(labels))
    )


def gather_evidence(
    y: ArrayLike,
    challenger_scores: ArrayLike,
    champion_scores: ArrayLike | None,
    slices: pd.DataFrame,
    *,
    policy: Promotion,
    metric: str,
    seed: int,
    partitions: Sequence[str] = (),
) -> Evidence:
    """Measure a challenger, and the champion on the same rows, for the promotion gate.

    Absent rows or an absent class make evidence without metrics, which the gate refuses.

    Args:
        y: Labels of the held-out rows, 0 or 1, shape (n_rows,).
        challenger_scores: float64, shape (n_rows,), in [0, 1].
        champion_scores: The same of the champion; None when there is no champion yet.
        slices: Columns to cut by, at least those of ``policy.guard.slices``, n_rows rows.
        policy: What the gate will ask for.
        metric: Metric that the two are compared by.
        seed: Seed of the bootstrap.
        partitions: Names of the held-out partitions, for the record.

    Raises:
        MonitoringError: If scores are not probabilities, shapes differ, or a column is absent.
    """
    labels, ours = _checked(y, challenger_scores)
    theirs = None if champion_scores is None else _checked(y, champion_scores)[1]
    for column in policy.guard.slices:
        if column not in slices.columns:
            raise MonitoringError(
                f"slice {column}: must be a column of the held-out rows, got none of that name"
                f"{nearest(column, [str(name) for name in slices.columns])}."
            )
    names = sorted({metric, *policy.require})
    whole = _has_both(labels, 1)
    confidence = policy.beat_champion.confidence
    return Evidence(
        metric=metric,
        partitions=tuple(partitions),
        rows=len(labels),
        positives=int(labels.sum()),
        challenger={
            name: bootstrap_interval(name, labels, ours, confidence=confidence, seed=seed)
            for name in (names if whole else ())
        },
        champion=(None if theirs is None else _metrics(names if whole else (), labels, theirs)),
        comparison=(
            paired_bootstrap(metric, labels, ours, theirs, confidence=confidence, seed=seed)
            if whole and theirs is not None
            else None
        ),
        slices=tuple(
            _compare_slice(
                column,
                level,
                metric,
                labels[inside],
                ours[inside],
                None if theirs is None else theirs[inside],
                confidence,
                seed,
            )
            for column in policy.guard.slices
            for level, inside in _cut(slices[column], len(labels))
        ),
        calibration_error=calibration_error(labels, ours) if len(labels) else None,
    )


def _metrics(
    names: Sequence[str], labels: NDArray[np.bool_], scores: NDArray[np.float64]
) -> dict[str, float]:
    return {name: metric(name, labels, scores) for name in names}


def _compare_slice(
    column: str,
    level: str,
    name: str,
    labels: NDArray[np.bool_],
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64] | None,
    confidence: float,
    seed: int,
) -> SliceComparison:
    value = paired = None
    if _has_both(labels, MINIMUM_PER_CLASS):
        value = metric(name, labels, ours)
        if theirs is not None:
            paired = paired_bootstrap(name, labels, ours, theirs, confidence=confidence, seed=seed)
    return SliceComparison(
        column=column,
        level=level,
        rows=len(labels),
        positives=int(labels.sum()),
        challenger=value,
        champion=paired.champion if paired else None,
        difference=paired.difference if paired else None,
        upper=paired.upper if paired else None,
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
    labels = _checked(y, models[0])[0]
    statistics = [_statistic(name, labels, _checked(y, scores)[1]) for scores in models]
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


def _checked(y: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
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
    if not _has_both(labels, 1):
        positives = int(labels.sum())
        raise MonitoringError(
            f"metric {name}: needs both classes, got {positives} positives and "
            f"{len(labels) - positives} negatives. Wait for more labels."
        )


def _has_both(labels: NDArray[np.bool_], minimum: int) -> bool:
    positives = int(labels.sum())
    return min(positives, len(labels) - positives) >= minimum


def _cut(column: pd.Series[Any], rows: int) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return each value of a column with the mask of its rows, sorted by value."""
    if len(column) != rows:
        raise MonitoringError(
            f"slice {column.name}: must have {rows} rows, got {len(column)}. Give one value a row."
        )
    texts = np.where(column.isna(), "(missing)", column.astype(str).to_numpy(dtype=object))
    codes, levels = pd.factorize(texts, sort=True)
    return [(str(level), codes == code) for code, level in enumerate(levels)]
