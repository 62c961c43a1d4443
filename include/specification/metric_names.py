"""The metrics that a pipeline file can name: scikit-learn's, by its own names.

Only names and facts stand here, so that reading a pipeline file needs no scikit-learn;
``include.evaluation.metric_values`` measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]
Takes = Literal["scores", "classes", "values"]

_PROBABILITY = (0.0, 1.0)
_CORRELATION = (-1.0, 1.0)
_LOSS = (0.0, float("inf"))
_EXPLAINED = (float("-inf"), 1.0)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        function: Function of ``sklearn.metrics``, or ``module:function`` for one of your own.
        options: Arguments besides labels and predictions.
        tasks: Tasks that it can judge.
        takes: What it is given beside the labels: ``scores`` (probability of 1, or one column a
            class), ``classes`` (the predicted class) or ``values`` (the predicted number).
        higher_is_better: Direction of improvement.
        bounds: Least and largest possible value.
    """

    function: str
    tasks: tuple[Task, ...]
    takes: Takes
    higher_is_better: bool = True
    bounds: tuple[float, float] = _PROBABILITY
    options: tuple[tuple[str, str], ...] = ()


_BINARY: tuple[Task, ...] = ("binary",)
_MULTICLASS: tuple[Task, ...] = ("multiclass",)
_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_REGRESSION: tuple[Task, ...] = ("regression",)


def _error(function: str) -> Metric:
    return Metric(function, _REGRESSION, "values", higher_is_better=False, bounds=_LOSS)


def _averaged(name: str) -> dict[str, Metric]:
    found = {name: Metric(f"{name}_score", _BINARY, "classes")}
    for average in ("macro", "micro", "weighted"):
        options = (("average", average), ("zero_division", "0"))
        found[f"{name}_{average}"] = Metric(
            f"{name}_score", _MULTICLASS, "classes", options=options
        )
    return found


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy_score", _CLASSES, "classes"),
    "average_precision": Metric("average_precision_score", _BINARY, "scores"),
    "balanced_accuracy": Metric("balanced_accuracy_score", _CLASSES, "classes"),
    "brier_score": Metric("brier_score_loss", _BINARY, "scores", higher_is_better=False),
    "cohen_kappa": Metric("cohen_kappa_score", _CLASSES, "classes", bounds=_CORRELATION),
    "explained_variance": Metric(
        "explained_variance_score", _REGRESSION, "values", bounds=_EXPLAINED
    ),
    **_averaged("f1"),
    "log_loss": Metric("log_loss", _CLASSES, "scores", higher_is_better=False, bounds=_LOSS),
    "matthews_corrcoef": Metric("matthews_corrcoef", _CLASSES, "classes", bounds=_CORRELATION),
    "max_error": _error("max_error"),
    "mean_absolute_error": _error("mean_absolute_error"),
    "mean_absolute_percentage_error": _error("mean_absolute_percentage_error"),
    "mean_squared_error": _error("mean_squared_error"),
    "median_absolute_error": _error("median_absolute_error"),
    **_averaged("precision"),
    "r2": Metric("r2_score", _REGRESSION, "values", bounds=_EXPLAINED),
    **_averaged("recall"),
    "roc_auc": Metric("roc_auc_score", _BINARY, "scores"),
    "roc_auc_ovr": Metric("roc_auc_score", _MULTICLASS, "scores", options=(("average", "macro"),)),
    "roc_auc_ovr_weighted": Metric(
        "roc_auc_score", _MULTICLASS, "scores", options=(("average", "weighted"),)
    ),
    "root_mean_squared_error": _error("root_mean_squared_error"),
}

# Of classification, and for ``promotion.require`` only: a search would make constants of scores.
CALIBRATION_ERROR = "calibration_error"

DEFAULT: dict[Task, str] = {
    "binary": "roc_auc",
    "multiclass": "balanced_accuracy",
    "regression": "mean_absolute_error",
}


def names_for(task: Task, takes: Takes | None = None) -> tuple[str, ...]:
    """List the metrics that can judge a task, or those of them that take one thing, sorted."""
    fit = [name for name, metric in METRICS.items() if task in metric.tasks]
    return tuple(sorted(name for name in fit if takes in (None, METRICS[name].takes)))


def requirable(task: Task) -> tuple[str, ...]:
    """List what a challenger can be required to show by default, sorted."""
    beside = () if task == "regression" else (CALIBRATION_ERROR,)
    return tuple(sorted((*names_for(task), *beside)))
