"""What the promotion gate looks at: a challenger and the champion on the same held-out rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from include.errors import MonitoringError
from include.evaluation.bootstrap import (
    Interval,
    PairedComparison,
    bootstrap_interval,
    paired_bootstrap,
)
from include.evaluation.calibration import calibration_error
from include.evaluation.decision_threshold import Decided, count_decided
from include.evaluation.metric_values import (
    ClassResult,
    check_scores,
    class_results,
    cut_slices,
    is_enough,
    mean_error,
    measure,
    unseen_classes,
)
from include.specification.metric_names import CALIBRATION_ERROR, Task
from include.specification.problem import Problem, Scores
from include.specification.sections.decision import Costs
from include.specification.sections.promotion import Promotion
from include.wording import as_sentence, nearest

# What is told of every challenger, whatever its pipeline goes by.
METRICS: Mapping[Task, tuple[str, ...]] = {
    "binary": (
        "average_precision",
        "balanced_accuracy",
        "brier_score",
        "f1",
        "log_loss",
        "roc_auc",
    ),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc_ovr"),
    "regression": (
        "mean_absolute_error",
        "median_absolute_error",
        "r2",
        "root_mean_squared_error",
    ),
}
_ERROR_QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class SliceComparison:
    """Both models on one slice; None where it cannot be judged or there is no champion.

    Args:
        column: Column that cuts the slices.
        level: Value of the column in this slice.
        rows: Held-out rows of the slice.
        positives: Positives among them; None unless binary.
        challenger: Metric of the challenger.
        champion: Metric of the champion.
        difference: How much better the challenger is; negative is worse.
        upper: One-sided upper bound of the difference.
        pooled: How many slices that are too small to judge alone it stands for; 0 if it is one
            itself.
    """

    column: str
    level: str
    rows: int
    positives: int | None
    challenger: float | None
    champion: float | None
    difference: float | None
    upper: float | None
    pooled: int = 0


@dataclass(frozen=True)
class Evidence:
    """All that the promotion gate looks at.

    Args:
        metric: Metric that challenger and champion are compared by.
        partitions: Names of the held-out partitions.
        rows: Held-out rows.
        positives: Positives among them; None unless binary.
        challenger: Metrics of the challenger with intervals; empty if there are too few labels.
        champion: Metrics of the champion; None when there is no champion yet.
        comparison: Paired comparison by ``metric``; None without a champion or enough labels.
        slices: Every slice of every guarded column, and of each column the small ones together.
        calibration_error: Expected calibration error of the challenger; None without rows, and
            for regression.
        task: What was predicted.
        classes: Multiclass: how the challenger predicted each class, most frequent first.
        unseen: Multiclass: held-out rows by class that the challenger does not know.
        bias: Regression: mean of predicted minus observed of the challenger; None without rows.
        absolute_error: Regression: quantiles of the challenger's absolute error, by rank.
        decided: Binary: by ``challenger`` and ``champion``, how each decided at its own threshold;
            without those of a model that has none.
        champion_calibration_error: Expected calibration error of the champion; None without one,
            without rows, and for regression.
    """

    metric: str
    partitions: tuple[str, ...]
    rows: int
    positives: int | None
    challenger: Mapping[str, Interval]
    champion: Mapping[str, float] | None
    comparison: PairedComparison | None
    slices: tuple[SliceComparison, ...]
    calibration_error: float | None
    task: Task = "binary"
    classes: tuple[ClassResult, ...] = ()
    unseen: Mapping[str, int] = field(default_factory=dict)
    bias: float | None = None
    absolute_error: Mapping[str, float] = field(default_factory=dict)
    decided: Mapping[str, Decided] = field(default_factory=dict)
    champion_calibration_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, before there were other tasks than binary, too."""
        fields = dict(document)
        comparison = fields["comparison"]
        fields["partitions"] = tuple(fields["partitions"])
        fields["challenger"] = {
            name: Interval(**item) for name, item in fields["challenger"].items()
        }
        fields["comparison"] = None if comparison is None else PairedComparison(**comparison)
        fields["slices"] = tuple(SliceComparison(**item) for item in fields["slices"])
        fields["classes"] = tuple(ClassResult(**item) for item in fields.get("classes", ()))
        decided = fields.get("decided", {})
        fields["decided"] = {model: Decided(**item) for model, item in decided.items()}
        return cls(**fields)


def gather_evidence(
    problem: Problem,
    y: ArrayLike,
    challenger_scores: ArrayLike,
    champion_scores: ArrayLike | None,
    slices: pd.DataFrame,
    *,
    policy: Promotion,
    metric: str,
    seed: int,
    partitions: Sequence[str] = (),
    also: Collection[str] = (),
    challenger_classes: Sequence[str] | None = None,
    champion_threshold: float | None = None,
    costs: Costs | None = None,
) -> Evidence:
    """Measure a challenger, and the champion on the same rows, for the promotion gate.

    Absent rows or an absent class make evidence without metrics, which the gate refuses.

    Args:
        problem: What labels and scores mean; multiclass: with the classes of both models; binary:
            with the challenger's threshold.
        y: Labels of the held-out rows, shape (n_rows,).
        challenger_scores: As ``include.specification.problem`` says.
        champion_scores: The same of the champion; None when there is no champion yet.
        slices: Columns to cut by, at least those of ``policy.guard.slices``, n_rows rows.
        policy: What the gate will ask for.
        metric: Metric that the two are compared by.
        seed: Seed of the bootstrap.
        partitions: Names of the held-out partitions, for the record.
        also: Further metrics to put on record.
        challenger_classes: Multiclass: those of the classes that the challenger knows; all by
            default.
        champion_threshold: Binary: from which score on the champion decides a row as 1.
        costs: Binary: what wrong decisions cost, if the pipeline file says so.

    Raises:
        MonitoringError: If labels or scores are wrong, a metric is unknown, or a column is absent.
    """
    labels, ours = check_scores(problem, y, challenger_scores)
    theirs = None if champion_scores is None else check_scores(problem, y, champion_scores)[1]
    of_theirs = replace(problem, threshold=champion_threshold)
    for column in policy.guard.slices:
        if column not in slices.columns:
            raise MonitoringError(
                f"slice {column}: must be a column of the held-out rows, got none of that name"
                f"{as_sentence(nearest(column, [str(name) for name in slices.columns]))}"
            )
    asked = {metric, *policy.require, *also, *problem.own_metrics, *METRICS[problem.task]}
    asked.discard(CALIBRATION_ERROR)
    names = sorted(asked) if is_enough(problem, labels, 1) else []
    confidence = policy.beat_champion.confidence
    evidence = Evidence(
        metric=metric,
        partitions=tuple(partitions),
        rows=len(labels),
        positives=_positives(problem, labels),
        challenger={
            name: bootstrap_interval(name, problem, labels, ours, confidence=confidence, seed=seed)
            for name in names
        },
        champion=(
            None
            if theirs is None
            else {name: measure(name, of_theirs, labels, theirs) for name in names}
        ),
        comparison=(
            paired_bootstrap(
                metric,
                problem,
                labels,
                ours,
                theirs,
                confidence=confidence,
                seed=seed,
                champion_problem=of_theirs,
            )
            if names and theirs is not None
            else None
        ),
        slices=tuple(
            _compare_slice(
                slice_,
                metric,
                problem,
                of_theirs,
                labels[slice_.inside],
                ours[slice_.inside],
                None if theirs is None else theirs[slice_.inside],
                confidence,
                seed,
            )
            for column in policy.guard.slices
            for slice_ in _cut(problem, slices[column], labels)
        ),
        calibration_error=calibration_error(problem, labels, ours) if len(labels) else None,
        champion_calibration_error=(
            calibration_error(problem, labels, theirs)
            if theirs is not None and len(labels)
            else None
        ),
        task=problem.task,
        decided={
            model: count_decided(threshold, labels, scores, costs)
            for model, threshold, scores in (
                ("challenger", problem.threshold, ours),
                ("champion", champion_threshold, theirs),
            )
            if threshold is not None and scores is not None and len(labels)
        },
    )
    if problem.task == "multiclass":
        known = problem.classes if challenger_classes is None else challenger_classes
        return replace(
            evidence,
            classes=class_results(problem, labels, ours),
            unseen=unseen_classes(known, labels),
        )
    if problem.task == "regression" and len(labels):
        errors = np.abs(ours - labels)
        return replace(
            evidence,
            bias=mean_error(labels, ours),
            absolute_error={str(q): float(np.quantile(errors, q)) for q in _ERROR_QUANTILES},
        )
    return evidence


def _positives(problem: Problem, labels: NDArray[Any]) -> int | None:
    return int(labels.sum()) if problem.task == "binary" else None


@dataclass(frozen=True)
class _Slice:
    column: str
    level: str
    inside: NDArray[np.bool_]
    pooled: int = 0


def _cut(problem: Problem, values: pd.Series[Any], labels: NDArray[Any]) -> list[_Slice]:
    """Cut held-out rows by a column; those too small to judge alone are also one slice together."""
    column = str(values.name)
    cut = [_Slice(column, *item) for item in cut_slices(values, len(labels))]
    small = [item.inside for item in cut if not is_enough(problem, labels[item.inside])]
    if len(small) > 1:
        level = f"({len(small)} small slices together)"
        cut.append(_Slice(column, level, np.logical_or.reduce(small), len(small)))
    return cut


def _compare_slice(
    slice_: _Slice,
    name: str,
    problem: Problem,
    of_theirs: Problem,
    labels: NDArray[Any],
    ours: Scores,
    theirs: Scores | None,
    confidence: float,
    seed: int,
) -> SliceComparison:
    value = paired = None
    if is_enough(problem, labels):
        value = measure(name, problem, labels, ours)
        if theirs is not None:
            paired = paired_bootstrap(
                name,
                problem,
                labels,
                ours,
                theirs,
                confidence=confidence,
                seed=seed,
                champion_problem=of_theirs,
            )
    return SliceComparison(
        column=slice_.column,
        level=slice_.level,
        pooled=slice_.pooled,
        rows=len(labels),
        positives=_positives(problem, labels),
        challenger=value,
        champion=paired.champion if paired else None,
        difference=paired.difference if paired else None,
        upper=paired.upper if paired else None,
    )
