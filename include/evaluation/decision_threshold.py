"""From which score on a binary model says yes, and what comes of it.

Every distinct score is tried, and one just above the largest, at which nobody is decided as 1:
between two scores that follow each other any threshold decides the same. Metrics of scikit-learn
and costs follow from how many rows lie at or above each score, so that trying all costs a sort.
A metric of your own is asked at no more than 200 scores, evenly spread by rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from include.errors import MonitoringError
from include.evaluation.metric_values import (
    check_scores,
    compute,
    describe_labels,
    find_metric,
    is_enough,
)
from include.evaluation.prediction_columns import decided
from include.specification.problem import Problem, Scores
from include.specification.sections.decision import Costs, Decision

MOST_ASKED = 200
# Values that differ by rounding only are equal: 3 x 0.1 and 1 x 0.3 cost the same.
_ROUNDING = 1e-12

_Values = NDArray[np.float64]


@dataclass(frozen=True)
class DecisionThreshold:
    """The threshold of a model version, and where it comes from.

    Args:
        threshold: The least score that is decided as 1.
        rule: The section ``decision`` of the pipeline file, as the training read it.
        rows: Validation rows that it was chosen on; 0 if it was given.
        positives: Positives among them.
        value: What it reached there: the metric, or the mean cost of a row; None if it was given.
    """

    threshold: float
    rule: Mapping[str, Any]
    rows: int = 0
    positives: int = 0
    value: float | None = None

    @property
    def section(self) -> Decision:
        """The rule, as the file's section."""
        return Decision.model_validate(self.rule)

    def describe(self) -> str:
        """Tell threshold and rule in one line, for people."""
        told = f"from {self.threshold:.6g} on ({self.section.told()}"
        if self.value is None:
            return f"{told})"
        name = self.section.maximize or "mean cost"
        return f"{told}; {name} {self.value:.4f} on {self.rows:,} validation rows)"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Self | None:
        """Read what ``dataclasses.asdict`` gave; None stays None."""
        return None if values is None else cls(**values)


@dataclass(frozen=True)
class Decided:
    """How a model decided on some rows, at its threshold.

    Args:
        threshold: The least score that was decided as 1.
        true_negatives: Rows of 0 that were decided as 0.
        false_positives: Rows of 0 that were decided as 1.
        false_negatives: Rows of 1 that were decided as 0.
        true_positives: Rows of 1 that were decided as 1.
        mean_cost: Mean cost of a row by the costs of the pipeline file; None without.
    """

    threshold: float
    true_negatives: int
    false_positives: int
    false_negatives: int
    true_positives: int
    mean_cost: float | None = None


def choose_threshold(
    decision: Decision, problem: Problem, y: ArrayLike, scores: ArrayLike
) -> DecisionThreshold:
    """Find the threshold that is best by a rule, of equal ones the largest.

    Args:
        decision: The rule.
        problem: A binary task.
        y: Labels, shape (n_rows,), of rows that neither fitted the model nor will judge it.
        scores: What was predicted for them, float64, shape (n_rows,), in [0, 1].

    Raises:
        MonitoringError: If labels or scores are wrong or of one class, or a metric of your own
            fails.
    """
    rule = decision.model_dump(mode="json", exclude_none=True)
    if decision.threshold is not None:
        return DecisionThreshold(decision.threshold, rule)
    labels, values = check_scores(problem, y, scores)
    if not is_enough(problem, labels, 1):
        raise MonitoringError(
            f"decision {decision.told()}: needs validation rows of both classes, got "
            f"{describe_labels(problem, labels)}. Lengthen training.window or check the labels."
        )
    thresholds = np.unique(values)
    thresholds = np.append(thresholds, np.nextafter(thresholds[-1], 2.0))
    unit = 1.0
    if decision.costs is not None:
        # Of any unit: small costs are no rounding, and large ones do not overflow.
        unit = -decision.costs.larger
        costs = decision.costs.by_the_larger()
        worth = -_costs(costs, *_counts(labels, values, thresholds))
    else:
        thresholds, worth = _metric(str(decision.maximize), problem, labels, values, thresholds)
    least = worth.max() - _ROUNDING * max(1.0, abs(worth.max()))
    chosen = int(np.flatnonzero(worth >= least)[-1])
    return DecisionThreshold(
        threshold=float(thresholds[chosen]),
        rule=rule,
        rows=len(labels),
        positives=int(labels.sum()),
        value=float(worth[chosen]) * unit,
    )


def count_decided(
    threshold: float, labels: NDArray[Any], scores: Scores, costs: Costs | None
) -> Decided:
    """Count how rows are decided at a threshold.

    Args:
        threshold: The least score that is decided as 1.
        labels: Labels, int8, shape (n_rows,), n_rows at least 1.
        scores: Float64, shape (n_rows,).
        costs: What wrong decisions cost, if the pipeline file says so.
    """
    yes = decided(Problem("binary", threshold=threshold), scores)
    cells = np.bincount(2 * labels + yes, minlength=4)
    right_no, wrong_yes, wrong_no, right_yes = (int(rows) for rows in cells)
    return Decided(
        threshold=threshold,
        true_negatives=right_no,
        false_positives=wrong_yes,
        false_negatives=wrong_no,
        true_positives=right_yes,
        mean_cost=None if costs is None else costs.mean(wrong_no, wrong_yes, len(labels)),
    )


def _counts(labels: NDArray[Any], scores: Scores, thresholds: Scores) -> tuple[_Values, ...]:
    """Count true negatives, false positives, false negatives and true positives at each one."""
    ones, zeros = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    missed = np.searchsorted(ones, thresholds, side="left").astype(np.float64)
    spared = np.searchsorted(zeros, thresholds, side="left").astype(np.float64)
    return spared, len(zeros) - spared, missed, len(ones) - missed


def _costs(costs: Costs, tn: _Values, fp: _Values, fn: _Values, tp: _Values) -> _Values:
    return (costs.false_negative * fn + costs.false_positive * fp) / (tn + fp + fn + tp)


def _metric(
    name: str, problem: Problem, labels: NDArray[Any], scores: Scores, thresholds: Scores
) -> tuple[Scores, _Values]:
    metric = find_metric(name, problem)
    of_counts = _OF_COUNTS.get(metric.function)
    if of_counts is not None:
        return thresholds, of_counts(*_counts(labels, scores, thresholds))
    at = np.linspace(0, len(thresholds) - 1, min(MOST_ASKED, len(thresholds))).round()
    asked = thresholds[at.astype(np.intp)]
    found = [
        compute(metric, replace(problem, threshold=float(item)), labels, scores) for item in asked
    ]
    return asked, np.array(found)


def _ratio(above: _Values, below: _Values) -> _Values:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _kappa(tn: _Values, fp: _Values, fn: _Values, tp: _Values) -> _Values:
    return _ratio(2 * (tp * tn - fn * fp), (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn))


def _matthews(tn: _Values, fp: _Values, fn: _Values, tp: _Values) -> _Values:
    return _ratio(
        tp * tn - fp * fn, np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    )


# Functions of scikit-learn, of rows that hold both classes, for many thresholds at once.
_OF_COUNTS: dict[str, Callable[..., _Values]] = {
    "accuracy_score": lambda tn, fp, fn, tp: (tn + tp) / (tn + fp + fn + tp),
    "balanced_accuracy_score": lambda tn, fp, fn, tp: (tp / (tp + fn) + tn / (tn + fp)) / 2,
    "cohen_kappa_score": _kappa,
    "f1_score": lambda tn, fp, fn, tp: 2 * tp / (2 * tp + fp + fn),
    "matthews_corrcoef": _matthews,
    "precision_score": lambda tn, fp, fn, tp: _ratio(tp, tp + fp),
    "recall_score": lambda tn, fp, fn, tp: tp / (tp + fn),
}
