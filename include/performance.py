"""How the champion did, as labels mature: the decisions, without the tables.

A partition is *mature* when nearly all of its rows have a label that was known in time. Until then
the labels that are known are no random sample (a default is known before a non-default), so an
immature partition is not measured at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from include.bootstrap import bootstrap_interval
from include.errors import MonitoringError
from include.evaluation import (
    MINIMUM_PER_CLASS,
    calibration_error,
    higher_is_better,
    observed_over_predicted,
)
from include.specification import PerformanceMonitoring

CONFIDENCE = 0.90


@dataclass(frozen=True)
class PerformanceRecord:
    """One matured partition of predictions against its labels.

    Args:
        partition: Partition that was predicted.
        model_version: Version that predicted it.
        metric: Name of the metric.
        rows: Predictions with a label.
        positives: Positives among them.
        value: The metric; None if a class is absent.
        lower: Lower bound of its 90 % bootstrap interval; None without a value.
        upper: Upper bound of it; None without a value.
        held_out: What the version reached on its held-out rows; None if unknown.
        observed_over_predicted: Positives over those that the scores promised; None if they
            promised none.
        calibration_error: Expected calibration error, in [0, 1].
        verdict: ``cannot tell`` is not ``no drop``.
        reason: One sentence for people.
        back_scored: True if the partition was scored only after it had matured.
    """

    partition: str
    model_version: int
    metric: str
    rows: int
    positives: int
    value: float | None
    lower: float | None
    upper: float | None
    held_out: float | None
    observed_over_predicted: float | None
    calibration_error: float
    verdict: Literal["drop", "no drop", "cannot tell"]
    reason: str
    back_scored: bool

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**document)


def assess_performance(
    y: ArrayLike,
    scores: ArrayLike,
    *,
    partition: str,
    model_version: int,
    held_out: float | None,
    rule: PerformanceMonitoring,
    back_scored: bool,
    seed: int,
) -> PerformanceRecord:
    """Judge a matured partition against what the model promised on its held-out rows.

    It is a drop only when the whole 90 % interval lies more than ``rule.max_drop`` on the worse
    side of ``held_out``. Nothing can be told without ``held_out``, or with fewer than 30 rows of
    a class.

    Args:
        y: Labels, 0 or 1, shape (n_rows,), n_rows at least 1.
        scores: What was predicted, float64, shape (n_rows,), in [0, 1].
        partition: Name of the predicted partition.
        model_version: Version that predicted it.
        held_out: The version's held-out value of ``rule.metric``; None or NaN if unknown.
        rule: The pipeline's rule.
        back_scored: Whether the partition was scored only after it had matured.
        seed: Seed of the bootstrap.

    Raises:
        MonitoringError: If there are no rows, shapes differ, or a value is out of range.
    """
    labels = np.asarray(y)
    if not labels.size:
        raise MonitoringError(
            f"performance {partition}: needs labelled predictions, got none. Measure partitions "
            "that have matured."
        )
    error = calibration_error(labels, scores)  # also checks shapes and ranges
    rows, positives = len(labels), int(labels.sum())
    fewest = min(positives, rows - positives)
    interval = (
        bootstrap_interval(rule.metric, labels, scores, confidence=CONFIDENCE, seed=seed)
        if fewest
        else None
    )
    held_out = held_out if held_out is not None and math.isfinite(held_out) else None
    verdict: Literal["drop", "no drop", "cannot tell"] = "cannot tell"
    if interval is None or fewest < MINIMUM_PER_CLASS:
        reason = (
            f"{positives} positives and {rows - positives} negatives, "
            f"{MINIMUM_PER_CLASS} of each needed to tell"
        )
    elif held_out is None:
        reason = f"the held-out {rule.metric} of version {model_version} is unknown"
    else:
        higher = higher_is_better(rule.metric)
        limit = held_out - rule.max_drop if higher else held_out + rule.max_drop
        dropped = interval.upper < limit if higher else interval.lower > limit
        verdict = "drop" if dropped else "no drop"
        relation = "lies" if dropped else "does not lie"
        reason = (
            f"{rule.metric} {interval.value:.4f} [{interval.lower:.4f}, {interval.upper:.4f}] "
            f"{relation} {'below' if higher else 'above'} {limit:.4f} "
            f"(held-out {held_out:.4f}, {rule.max_drop:g} allowed)"
        )
    return PerformanceRecord(
        partition=partition,
        model_version=model_version,
        metric=rule.metric,
        rows=rows,
        positives=positives,
        value=interval.value if interval else None,
        lower=interval.lower if interval else None,
        upper=interval.upper if interval else None,
        held_out=held_out,
        observed_over_predicted=(
            observed_over_predicted(labels, scores) if np.sum(scores) > 0 else None
        ),
        calibration_error=error,
        verdict=verdict,
        reason=reason,
        back_scored=back_scored,
    )


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


def newly_matured(before: Iterable[str], now: Iterable[str]) -> tuple[str, ...]:
    """List the partitions that are mature now and were not before, sorted."""
    return tuple(sorted(set(now) - set(before)))
