"""What the promotion gate looks at: a challenger and the champion on the same held-out rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from include.bootstrap import Interval, PairedComparison, bootstrap_interval, paired_bootstrap
from include.errors import MonitoringError
from include.evaluation import (
    MINIMUM_PER_CLASS,
    calibration_error,
    check_scores,
    cut_slices,
    has_both_classes,
    metric,
)
from include.specification import Promotion, nearest


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
    labels, ours = check_scores(y, challenger_scores)
    theirs = None if champion_scores is None else check_scores(y, champion_scores)[1]
    for column in policy.guard.slices:
        if column not in slices.columns:
            raise MonitoringError(
                f"slice {column}: must be a column of the held-out rows, got none of that name"
                f"{nearest(column, [str(name) for name in slices.columns])}."
            )
    names = sorted({metric, *policy.require})
    whole = has_both_classes(labels, 1)
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
            for level, inside in cut_slices(slices[column], len(labels))
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
    if has_both_classes(labels, MINIMUM_PER_CLASS):
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
