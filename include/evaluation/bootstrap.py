"""How sure a metric is, and how two models compare on the same resampled rows.

Intervals are percentile bootstraps (Efron & Tibshirani 1993, chapter 13), stratified by class so
that no resample lacks one. A resample is a vector of how often each row was drawn. Most metrics
have a shortcut from there, which gives exactly what scikit-learn would say of the drawn rows at a
hundredth of the time; the others are computed on the drawn rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from include.errors import MonitoringError
from include.evaluation import confusion
from include.evaluation.metric_values import (
    check_scores,
    compute,
    encode,
    find_metric,
    measure,
    predict_classes,
)
from include.specification.metric_names import Metric
from include.specification.problem import Problem, Scores

_RESAMPLES = 1000
# Metrics without a shortcut take milliseconds a resample on so many rows.
_SLOW_RESAMPLES, _SLOW_ROWS = 200, 20_000

_Drawn = NDArray[np.int64]
# How often each row was drawn, int64, shape (n_rows,) -> the metric of the drawn rows.
_Statistic = Callable[[_Drawn], float]


@dataclass(frozen=True)
class Interval:
    """A metric with the bounds of its two-sided bootstrap interval, of so many resamples.

    Intervals of before their confidence was kept have that of the default.
    """

    value: float
    lower: float
    upper: float
    resamples: int = _RESAMPLES
    confidence: float = 0.95


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
    problem: Problem,
    y: ArrayLike,
    scores: ArrayLike,
    *,
    confidence: float,
    resamples: int | None = None,
    seed: int,
) -> Interval:
    """Put a two-sided percentile bootstrap interval around a metric.

    Args:
        name: Metric of the task.
        problem: What labels and scores mean.
        y: Labels, shape (n_rows,).
        scores: As ``include.specification.problem`` says.
        confidence: Of the whole interval, in (0, 1).
        resamples: Number of resamples, each with as many rows (of each class) as ``y`` has; by
            default 1000, or 200 where the metric is slow and there are more than 20,000 rows.
        seed: Seed of the resampling; the same seed gives the same bounds.

    Raises:
        MonitoringError: As :func:`~include.evaluation.metric_values.measure`; also if confidence or
            resamples are impossible.
    """
    value = measure(name, problem, y, scores)
    (drawn,) = _bootstrap(name, y, [(problem, scores)], confidence, resamples, seed)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(lower), float(upper), len(drawn), confidence)


def paired_bootstrap(
    name: str,
    problem: Problem,
    y: ArrayLike,
    challenger: ArrayLike,
    champion: ArrayLike,
    *,
    confidence: float,
    resamples: int | None = None,
    seed: int,
    champion_problem: Problem | None = None,
) -> PairedComparison:
    """Compare two models on the same resampled rows.

    Both models see every resample, so what they share cancels out of the difference.

    Args:
        name: Metric of the task.
        problem: What labels and scores mean.
        y: Labels, shape (n_rows,).
        challenger: Scores of the challenger, as ``include.specification.problem`` says.
        champion: Scores of the champion on the same rows in the same order.
        confidence: Of each one-sided bound, in (0, 1).
        resamples: As in :func:`bootstrap_interval`.
        seed: Seed of the resampling.
        champion_problem: The same problem with the champion's threshold, if it has another one.

    Raises:
        MonitoringError: As :func:`~include.evaluation.metric_values.measure`; also if confidence or
            resamples are impossible.
    """
    sign = 1 if find_metric(name, problem).higher_is_better else -1
    models = [(problem, challenger), (champion_problem or problem, champion)]
    ours, theirs = (measure(name, of, y, scores) for of, scores in models)
    drawn = _bootstrap(name, y, models, confidence, resamples, seed)
    differences = sign * (drawn[0] - drawn[1])
    return PairedComparison(
        challenger=ours,
        champion=theirs,
        difference=sign * (ours - theirs),
        lower=float(np.quantile(differences, 1 - confidence)),
        upper=float(np.quantile(differences, confidence)),
        confidence=confidence,
        resamples=len(differences),
    )


def _bootstrap(
    name: str,
    y: ArrayLike,
    models: Sequence[tuple[Problem, ArrayLike]],
    confidence: float,
    resamples: int | None,
    seed: int,
) -> NDArray[np.float64]:
    """Return the metric of each model on each resample, shape (n_models, resamples)."""
    problem = models[0][0]
    metric = find_metric(name, problem)
    checked = [(of, *check_scores(of, y, scores)) for of, scores in models]
    strata = _strata(problem, checked[0][1])
    order = np.concatenate(strata)
    # Rows in the order of their strata, so that a resample is drawn stratum by stratum.
    statistics = [_statistic(metric, of, y[order], scores[order]) for of, y, scores in checked]
    if resamples is None:
        slow = _is_slow(metric, problem) and len(order) > _SLOW_ROWS
        resamples = _SLOW_RESAMPLES if slow else _RESAMPLES
    if not 0 < confidence < 1 or resamples < 1:
        raise MonitoringError(
            f"bootstrap: needs a confidence in (0, 1) and at least one resample, got {confidence} "
            f"and {resamples}. Correct them."
        )
    generator = np.random.default_rng(seed)
    drawn = np.empty((len(models), resamples))
    for resample in range(resamples):
        counts = np.concatenate([_draw(generator, len(stratum)) for stratum in strata])
        drawn[:, resample] = [statistic(counts) for statistic in statistics]
    return drawn


def _strata(problem: Problem, labels: NDArray[Any]) -> list[NDArray[np.intp]]:
    """List the rows of each class, or all of them for regression."""
    if problem.task == "regression":
        return [np.arange(len(labels))]
    return [np.flatnonzero(labels == name) for name in sorted(set(labels), reverse=True)]


def _draw(generator: np.random.Generator, rows: int) -> _Drawn:
    return np.bincount(generator.integers(0, rows, rows), minlength=rows)


def _is_slow(metric: Metric, problem: Problem) -> bool:
    ranked = metric.function == "roc_auc_score" and problem.task == "multiclass"
    return ranked or not _has_shortcut(metric)


def _has_shortcut(metric: Metric) -> bool:
    if metric.takes == "classes":
        return metric.function in confusion.FUNCTIONS
    return metric.function in {"roc_auc_score", "average_precision_score", *_LOSSES}


def _statistic(
    metric: Metric, problem: Problem, labels: NDArray[Any], values: Scores
) -> _Statistic:
    if not _has_shortcut(metric):
        return _of_drawn_rows(metric, problem, labels, values)
    if metric.takes == "classes":
        return _of_table(metric, problem, labels, values)
    if metric.function == "average_precision_score":
        return _average_precision(labels == 1, values)
    if metric.function == "roc_auc_score":
        if problem.task == "binary":
            return _area(labels == 1, values)
        return _areas(dict(metric.options)["average"], *encode(problem, labels, values))
    return _of_losses(metric.function, problem, labels, values)


def _of_drawn_rows(
    metric: Metric, problem: Problem, labels: NDArray[Any], values: Scores
) -> _Statistic:
    def of_rows(drawn: _Drawn) -> float:
        rows = np.repeat(np.arange(len(labels)), drawn)
        return compute(metric, problem, labels[rows], values[rows])

    return of_rows


def _of_table(metric: Metric, problem: Problem, labels: NDArray[Any], values: Scores) -> _Statistic:
    if problem.task == "multiclass":
        truth, columns = encode(problem, labels, values)
        predicted, classes = values.argmax(axis=1), columns.shape[1]
    else:
        truth, predicted, classes = labels, predict_classes(problem, values), 2
    cells = truth * classes + predicted
    average = dict(metric.options).get("average", "binary")
    of_table = confusion.statistic(metric.function, average)

    def of_drawn(drawn: _Drawn) -> float:
        counts = np.bincount(cells, weights=drawn, minlength=classes**2)
        return of_table(counts.reshape(classes, classes).astype(np.float64))

    return of_drawn


def _area(positive: NDArray[np.bool_], scores: Scores) -> _Statistic:
    """Count pairs in the right order, ties half (Mann & Whitney 1947)."""
    inside, outside = np.flatnonzero(positive), np.flatnonzero(~positive)
    order = outside[np.argsort(scores[outside], kind="stable")]
    below = np.searchsorted(scores[order], scores[inside], side="left")
    not_above = np.searchsorted(scores[order], scores[inside], side="right")

    def area(drawn: _Drawn) -> float:
        seen = _running(drawn[order])
        pairs = drawn[inside] @ (seen[below] + seen[not_above])
        return float(pairs / (2 * len(inside) * len(outside)))

    return area


def _areas(average: str, codes: NDArray[np.intp], columns: Scores) -> _Statistic:
    held, counts = np.unique(codes, return_counts=True)
    areas = [_area(codes == code, columns[:, code]) for code in held]
    weights = counts if average == "weighted" else None
    return lambda drawn: float(np.average([area(drawn) for area in areas], weights=weights))


def _average_precision(positive: NDArray[np.bool_], scores: Scores) -> _Statistic:
    """Average the precision at the threshold of each drawn positive."""
    inside, outside = np.flatnonzero(positive), np.flatnonzero(~positive)
    order = outside[np.argsort(scores[outside], kind="stable")]
    below = np.searchsorted(scores[order], scores[inside], side="left")
    own_order = inside[np.argsort(scores[inside], kind="stable")]
    own_below = np.searchsorted(scores[own_order], scores[inside], side="left")

    def average_precision(drawn: _Drawn) -> float:
        true_positives = len(inside) - _running(drawn[own_order])[own_below]
        selected = true_positives + len(outside) - _running(drawn[order])[below]
        # Nothing is selected only where the positive itself was not drawn: its weight is 0.
        precision = true_positives / np.maximum(selected, 1)
        return float(drawn[inside] @ precision / len(inside))

    return average_precision


def _running(counts: _Drawn) -> _Drawn:
    total = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=total[1:])
    return total


def _of_losses(function: str, problem: Problem, labels: NDArray[Any], values: Scores) -> _Statistic:
    if problem.task == "multiclass":
        codes, columns = encode(problem, labels, values)
        labels, values = np.ones(len(codes)), columns[np.arange(len(codes)), codes]
    losses = _LOSSES[function](labels.astype(np.float64), values)
    root = function == "root_mean_squared_error"

    def mean_loss(drawn: _Drawn) -> float:
        # A dot product would go to BLAS, whose threads cost more than they bring here.
        mean = float((drawn * losses).sum() / len(losses))
        return mean**0.5 if root else mean

    return mean_loss


def _log_loss(labels: Scores, values: Scores) -> Scores:
    smallest = np.finfo(np.float64).eps  # scikit-learn clips here, too
    kept = np.where(labels == 1, values, 1 - values)
    losses: Scores = -np.log(np.clip(kept, smallest, 1 - smallest))
    return losses


def _squared_error(labels: Scores, values: Scores) -> Scores:
    return np.square(labels - values)


def _absolute_error(labels: Scores, values: Scores) -> Scores:
    return np.abs(labels - values)


def _relative_error(labels: Scores, values: Scores) -> Scores:
    return np.abs(labels - values) / np.maximum(np.abs(labels), np.finfo(np.float64).eps)


# Metrics that are a mean over rows, or (the last) its root.
_LOSSES: dict[str, Callable[[Scores, Scores], Scores]] = {
    "log_loss": _log_loss,
    "brier_score_loss": _squared_error,
    "mean_absolute_error": _absolute_error,
    "mean_absolute_percentage_error": _relative_error,
    "mean_squared_error": _squared_error,
    "root_mean_squared_error": _squared_error,
}
