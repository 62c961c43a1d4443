"""How the champion did, as labels mature: the decisions, without the tables.

A partition is *mature* when nearly all of its rows have a label that was known in time. Until then
the labels that are known are no random sample (a default is known before a non-default), so an
immature partition is not measured at all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from include.errors import MonitoringError
from include.evaluation.bootstrap import Interval, bootstrap_interval
from include.evaluation.calibration import calibration_error, observed_over_predicted
from include.evaluation.metric_values import (
    MINIMUM_ROWS,
    check_scores,
    describe_labels,
    describe_unseen,
    higher_is_better,
    is_enough,
    mean_error,
    unseen_classes,
)
from include.specification.problem import MINIMUM_CLASS_ROWS, Problem
from include.specification.sections.monitoring import PerformanceMonitoring

CONFIDENCE = 0.90
# How sure a drop must be; less where so many rows on both sides leave little to chance.
_SURE, _SURE_OF_MANY, _MANY_ROWS = 0.99, 0.95, 1_000


@dataclass(frozen=True)
class HeldOut:
    """What a version reached on its held-out rows, which is an estimate like any other.

    Args:
        interval: The metric with its bootstrap interval.
        rows: Held-out rows.
    """

    interval: Interval
    rows: int

    @classmethod
    def of(cls, evidence: Mapping[str, Any] | None, metric: str) -> Self | None:
        """Take a metric from the evidence of a verdict; None if it is not there or no number."""
        found = evidence["challenger"].get(metric) if evidence else None
        if evidence is None or found is None:
            return None
        interval = Interval(**found)
        if not all(map(math.isfinite, (interval.value, interval.lower, interval.upper))):
            return None
        return cls(interval, evidence["rows"])


@dataclass(frozen=True)
class PerformanceRecord:
    """One matured partition of predictions against its labels.

    Args:
        partition: Partition that was predicted.
        model_version: Version that predicted it.
        metric: Name of the metric.
        rows: Predictions with a label.
        positives: Positives among them; None unless binary.
        value: The metric; None if there are too few labels.
        lower: Lower bound of its 90 % bootstrap interval; None without a value.
        upper: Upper bound of it; None without a value.
        held_out: What the version reached on its held-out rows; None if unknown.
        observed_over_predicted: What came true over what was promised; None where that has no
            ratio, and for multiclass.
        calibration_error: Expected calibration error, in [0, 1]; None for regression.
        verdict: ``cannot tell`` is not ``no drop``.
        reason: One sentence for people.
        back_scored: True if the partition was scored only after it had matured.
        unseen: Multiclass: rows by class that the version does not know.
        bias: Regression: mean of predicted minus observed.
    """

    partition: str
    model_version: int
    metric: str
    rows: int
    positives: int | None
    value: float | None
    lower: float | None
    upper: float | None
    held_out: float | None
    observed_over_predicted: float | None
    calibration_error: float | None
    verdict: Literal["drop", "no drop", "cannot tell"]
    reason: str
    back_scored: bool
    unseen: Mapping[str, int] = field(default_factory=dict)
    bias: float | None = None

    @property
    def new_class(self) -> Literal["new class", "no new class"]:
        """Whether a class that the version does not know has enough rows to be learned.

        In data with rare classes some label is unknown nearly always; retraining would leave such
        a class out again.
        """
        most = max(self.unseen.values(), default=0)
        return "new class" if most >= MINIMUM_CLASS_ROWS else "no new class"

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, before there were other tasks than binary, too."""
        return cls(**document)


def assess_performance(
    problem: Problem,
    y: ArrayLike,
    scores: ArrayLike,
    *,
    partition: str,
    model_version: int,
    held_out: HeldOut | None,
    rule: PerformanceMonitoring,
    back_scored: bool,
    seed: int,
) -> PerformanceRecord:
    """Judge a matured partition against what the model promised on its held-out rows.

    It is a drop when the metric is more than ``rule.max_drop`` worse than ``held_out``, and is
    worse at all with a confidence of 99 %, both sides being estimates (95 % if both have 1,000
    rows). Nothing can be told without ``held_out``, or with too few labels: 30 rows (binary: of
    either class; multiclass: of at least two classes).

    Args:
        problem: What labels and scores mean; multiclass: with the classes of the version.
        y: Labels, shape (n_rows,), n_rows at least 1.
        scores: What was predicted, as ``include.specification.problem`` says.
        partition: Name of the predicted partition.
        model_version: Version that predicted it.
        held_out: What the version reached by ``rule.metric``; None if unknown.
        rule: The pipeline's rule.
        back_scored: Whether the partition was scored only after it had matured.
        seed: Seed of the bootstrap.

    Raises:
        MonitoringError: If there are no rows, or labels or scores are wrong.
    """
    if not np.size(y):
        raise MonitoringError(
            f"performance {partition}: needs labelled predictions, got none. Measure partitions "
            "that have matured."
        )
    labels, values = check_scores(problem, y, scores)
    interval = (
        bootstrap_interval(rule.metric, problem, labels, values, confidence=CONFIDENCE, seed=seed)
        if is_enough(problem, labels, 1)
        else None
    )
    verdict: Literal["drop", "no drop", "cannot tell"] = "cannot tell"
    if interval is None or not is_enough(problem, labels):
        reason = f"{describe_labels(problem, labels)}, {_needed(problem)} needed to tell"
    elif held_out is None:
        reason = f"the held-out {rule.metric} of version {model_version} is unknown"
    else:
        sure = _SURE_OF_MANY if min(len(labels), held_out.rows) >= _MANY_ROWS else _SURE
        drop, least = _drop(
            interval, held_out.interval, sure, higher_is_better(rule.metric, problem)
        )
        verdict = "drop" if drop > rule.max_drop and least > 0 else "no drop"
        reason = (
            f"{rule.metric} {interval.value:.4f} against held-out {held_out.interval.value:.4f}: "
            f"worse by {drop:.4f} ({rule.max_drop:g} allowed), by at least {least:.4f} with "
            f"{sure:.0%} confidence"
        )
    unseen = unseen_classes(problem.classes, labels) if problem.task == "multiclass" else {}
    if unseen:
        reason += f"; version {model_version} does not know {describe_unseen(unseen)}"
    return PerformanceRecord(
        partition=partition,
        model_version=model_version,
        metric=rule.metric,
        rows=len(labels),
        positives=int(labels.sum()) if problem.task == "binary" else None,
        value=interval.value if interval else None,
        lower=interval.lower if interval else None,
        upper=interval.upper if interval else None,
        held_out=held_out.interval.value if held_out else None,
        observed_over_predicted=observed_over_predicted(problem, labels, values),
        calibration_error=calibration_error(problem, labels, values),
        verdict=verdict,
        reason=reason,
        back_scored=back_scored,
        unseen=unseen,
        bias=mean_error(labels, values) if problem.task == "regression" else None,
    )


def _drop(current: Interval, held_out: Interval, sure: float, higher: bool) -> tuple[float, float]:
    """Give how much worse the metric is, and the lower bound of that at a confidence.

    The bound is made of the two intervals (Zou & Donner, Statistics in Medicine 2008), each side's
    distance scaled from its own confidence as that of a normal estimate.
    """
    if higher:
        drop = held_out.value - current.value
        distances = (held_out.value - held_out.lower, current.upper - current.value)
    else:
        drop = current.value - held_out.value
        distances = (held_out.upper - held_out.value, current.value - current.lower)
    scales = [norm.ppf(sure) / norm.ppf((1 + side.confidence) / 2) for side in (held_out, current)]
    return drop, drop - math.hypot(*(d * scale for d, scale in zip(distances, scales, strict=True)))


def _needed(problem: Problem) -> str:
    match problem.task:
        case "binary":
            return f"{MINIMUM_ROWS} of each"
        case "multiclass":
            return f"{MINIMUM_ROWS} rows of at least 2 classes"
        case "regression":
            return str(MINIMUM_ROWS)


def coverage_by_partition(
    rows: Mapping[str, int], known_labels: Mapping[str, int]
) -> dict[str, float]:
    """Divide rows with a label known in time by rows, for each partition, sorted by name.

    Args:
        rows: Rows by partition; a partition without rows is covered by 0.
        known_labels: Rows with a label known before the close of the deciding partition; absent
            partitions have none.

    Raises:
        MonitoringError: If a partition knows more labels than it has rows, or a count is negative.
    """
    for name in sorted({*rows, *known_labels}):
        if not 0 <= known_labels.get(name, 0) <= rows.get(name, 0):
            raise MonitoringError(
                f"partition {name}: must know between 0 and {rows.get(name, 0)} labels, its rows, "
                f"got {known_labels.get(name, 0)}. Join labels to rows by entity before counting."
            )
    return {
        name: known_labels.get(name, 0) / rows[name] if rows[name] else 0.0 for name in sorted(rows)
    }


def mature_partitions(
    rows: Mapping[str, int], known_labels: Mapping[str, int], coverage: float
) -> tuple[str, ...]:
    """List the partitions with rows whose share of known labels reaches ``coverage``, sorted.

    Args:
        rows: Rows by partition.
        known_labels: Rows with a label known in time, by partition.
        coverage: Smallest share, in (0, 1].

    Raises:
        MonitoringError: As :func:`coverage_by_partition`; also if ``coverage`` is impossible.
    """
    if not 0 < coverage <= 1:
        raise MonitoringError(
            f"coverage: must lie in (0, 1], got {coverage}. Correct training.coverage."
        )
    covered = coverage_by_partition(rows, known_labels)
    return tuple(name for name, share in covered.items() if share >= coverage)


def partitions_to_judge(
    mature: Collection[str],
    mature_before: Collection[str],
    history: Collection[str],
    judged: Collection[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List what matured while a partition lasted, and what should have been judged before it.

    Args:
        mature: Partitions that are mature as of the judging one.
        mature_before: Those that were as of the one before it.
        history: Those that were before anything was scored, or too long ago: nobody judges them.
        judged: Those that earlier partitions have judged.

    Returns:
        What is new and what is in arrears, both sorted.
    """
    wanted = set(mature) - set(history) - set(judged)
    arrears = wanted & set(mature_before)
    return tuple(sorted(wanted - arrears)), tuple(sorted(arrears))
