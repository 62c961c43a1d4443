"""How good scores are: metrics, and what else is told of scores, for every task.

A metric is scikit-learn's function, or one of your own. What labels and scores look like stands in
``include.specification.problem``. A class that the model does not know is simply predicted wrong:
its probability is 0.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics
from numpy.typing import ArrayLike, NDArray

from include.errors import MonitoringError
from include.evaluation.prediction_columns import decided, likeliest
from include.specification.metric_names import Metric, names_for
from include.specification.problem import Problem, Scores
from include.wording import as_sentence, nearest, some

MINIMUM_ROWS = 30
# Single precision leaves the probabilities of many classes about this far from 1.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ClassResult:
    """How one class was predicted.

    Args:
        name: The class.
        rows: Rows of it.
        predicted: Rows that were predicted as it.
        recall: Share of its rows that were predicted as it; None without rows.
        precision: Share of the rows predicted as it that are of it; None without predictions.
    """

    name: str
    rows: int
    predicted: int
    recall: float | None
    precision: float | None


def find_metric(name: str, problem: Problem) -> Metric:
    """Look up a metric that can judge the task.

    Raises:
        MonitoringError: If there is none of that name.
    """
    known = (*names_for(problem.task), *problem.own_metrics)
    if name not in known:
        raise MonitoringError(
            f"metric {name}: must be a metric for task {problem.task}, got {name!r}"
            f"{as_sentence(nearest(name, known))}"
        )
    return problem.metric(name)


def higher_is_better(name: str, problem: Problem) -> bool:
    """Tell in which direction a metric improves.

    Raises:
        MonitoringError: If the task has no metric of that name.
    """
    return find_metric(name, problem).higher_is_better


def measure(name: str, problem: Problem, y: ArrayLike, scores: ArrayLike) -> float:
    """Measure scores by a metric.

    Where a metric takes classes, a binary score means 1 from the problem's threshold on, or from
    0.5 if it has none.

    Args:
        name: Metric of the task, or one of your own.
        problem: What labels and scores mean.
        y: Labels, shape (n_rows,).
        scores: As ``include.specification.problem`` says, float64.

    Raises:
        MonitoringError: If the metric is unknown, your own one fails, labels or scores are wrong,
            or there are too few: classification needs two classes, regression two rows.
    """
    metric = find_metric(name, problem)
    labels, values = check_scores(problem, y, scores)
    if not is_enough(problem, labels, 1):
        raise MonitoringError(
            f"metric {name}: needs {_need(problem)}, got {describe_labels(problem, labels)}. "
            "Wait for more labels."
        )
    return compute(metric, problem, labels, values)


def compute(metric: Metric, problem: Problem, labels: NDArray[Any], values: Scores) -> float:
    """Compute a metric of labels and scores that :func:`check_scores` has returned.

    Raises:
        MonitoringError: If a metric of your own fails.
    """
    given = predict_classes(problem, values) if metric.takes == "classes" else values
    if ":" in metric.function:
        return _compute_own(metric.function, labels, given)
    function = getattr(sklearn.metrics, metric.function)
    options: dict[str, Any] = {key: 0 if value == "0" else value for key, value in metric.options}
    with warnings.catch_warnings():
        # Of classes that are never predicted or absent: normal in a slice or a young partition.
        warnings.simplefilter("ignore", UserWarning)
        if problem.task == "multiclass" and metric.takes == "scores":
            codes, columns = encode(problem, labels, values)
            if metric.function == "roc_auc_score":
                return _one_vs_rest(codes, columns, options["average"])
            return float(function(codes, columns, labels=range(columns.shape[1])))
        return float(function(labels, given, **options))


def predict_classes(problem: Problem, values: Scores) -> NDArray[Any]:
    """Turn scores into classes, shape (n_rows,): int8, or object (strings) if multiclass."""
    if problem.task == "multiclass":
        return np.array(likeliest(problem, values), dtype=object)
    return decided(problem, values)


def encode(
    problem: Problem, labels: NDArray[Any], values: Scores
) -> tuple[NDArray[np.intp], Scores]:
    """Number multiclass labels by score column; unknown classes get columns of zeros at the end.

    Returns:
        Column of each row's label, shape (n_rows,), and the widened scores.
    """
    unknown = sorted(set(labels) - set(problem.classes))
    names = {name: column for column, name in enumerate((*problem.classes, *unknown))}
    codes = np.array([names[label] for label in labels], dtype=np.intp)
    return codes, np.hstack([values, np.zeros((len(values), len(unknown)))])


def is_enough(problem: Problem, labels: NDArray[Any], minimum: int = MINIMUM_ROWS) -> bool:
    """Tell whether labels are enough to judge by.

    Binary needs ``minimum`` rows of either class, multiclass so many rows and two classes,
    regression so many rows and at least two.
    """
    match problem.task:
        case "binary":
            positives = int(labels.sum())
            return min(positives, len(labels) - positives) >= minimum
        case "multiclass":
            return len(labels) >= minimum and len(set(labels)) > 1
        case "regression":
            return len(labels) >= max(minimum, 2)


def describe_labels(problem: Problem, labels: NDArray[Any]) -> str:
    """Say what labels there are, e.g. ``3 positives and 20 negatives``."""
    match problem.task:
        case "binary":
            positives = int(labels.sum())
            return f"{positives} positives and {len(labels) - positives} negatives"
        case "multiclass":
            return f"{len(labels)} rows of {len(set(labels))} classes"
        case "regression":
            return f"{len(labels)} rows"


def unseen_classes(known: Sequence[str], labels: NDArray[Any]) -> dict[str, int]:
    """Count the rows of each class that a model does not know, most frequent first."""
    learned = set(known)
    counts = Counter(str(label) for label in labels if label not in learned)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def describe_unseen(unseen: Mapping[str, int], shown: int = 5) -> str:
    """List classes that a model does not know, e.g. ``PX (12 rows), SF (1 row)``."""
    told = [f"{name} ({rows} row{'s' if rows > 1 else ''})" for name, rows in unseen.items()]
    return some(told, shown, nothing="")


def class_results(
    problem: Problem, labels: NDArray[Any], values: Scores
) -> tuple[ClassResult, ...]:
    """Tell how each class was predicted, most frequent first; unknown classes are included."""
    predicted = predict_classes(problem, values)
    rows, promised = Counter(labels), Counter(predicted)
    hits = Counter(labels[labels == predicted])
    names = {*problem.classes, *rows}
    return tuple(
        ClassResult(
            name=str(name),
            rows=rows[name],
            predicted=promised[name],
            recall=hits[name] / rows[name] if rows[name] else None,
            precision=hits[name] / promised[name] if promised[name] else None,
        )
        for name in sorted(names, key=lambda name: (-rows[name], name))
    )


def mean_error(labels: NDArray[np.float64], values: Scores) -> float:
    """Mean of predicted minus observed; positive where the model promises too much."""
    return float((values - labels).mean())


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


def check_scores(problem: Problem, y: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], Scores]:
    """Return labels and scores as arrays, once nothing is wrong with them.

    Returns:
        Labels as ``problem.encode_labels`` gives them, shape (n_rows,), and scores as
        ``include.specification.problem`` says, those of a multiclass row adding up to 1 to the
        last digit.

    Raises:
        MonitoringError: If the shapes differ, or a value is out of range or not a number.
    """
    labels, values = np.asarray(y), np.asarray(scores, dtype=np.float64)
    multiclass = problem.task == "multiclass"
    expected = (*labels.shape, len(problem.classes)) if multiclass else labels.shape
    if labels.ndim != 1 or values.shape != expected:
        each = f"one score a row for each of {len(problem.classes)} classes"
        raise MonitoringError(
            f"scores: must have the shape {expected} for labels of shape {labels.shape}, got "
            f"{values.shape}. Give {each if multiclass else 'one score a row'}."
        )
    _check_labels(problem, labels)
    if problem.task == "regression":
        _check_values("predictions", "be finite numbers", ~np.isfinite(values), values)
        return problem.encode_labels(labels), values
    _check_values("scores", "lie in [0, 1]", ~((values >= 0) & (values <= 1)), values)
    if multiclass:
        sums = values.sum(axis=1)
        _check_values("scores of a row", "add up to 1", abs(sums - 1) > _SUM_TOLERANCE, sums)
        values = values / sums[:, np.newaxis]
    return problem.encode_labels(labels), values


def _check_labels(problem: Problem, labels: NDArray[Any]) -> None:
    match problem.task:
        case "binary":
            rule, odd = "be 0 or 1", ~np.isin(labels, (0, 1))
        case "multiclass":
            rule, odd = "be names of classes", np.asarray(pd.isna(labels))
        case "regression":
            rule = "be finite numbers"
            odd = ~np.isfinite(pd.to_numeric(pd.Series(labels), errors="coerce").to_numpy(float))
    if odd.any():
        raise MonitoringError(
            f"labels: must {rule}, got {labels[odd][0]!r}. Leave unlabelled rows out."
        )


def _check_values(subject: str, rule: str, odd: NDArray[np.bool_], values: Scores) -> None:
    if odd.any():
        raise MonitoringError(
            f"{subject}: must {rule}, got {values[odd][0]} and {int(odd.sum())} such of "
            f"{odd.size}. Look at the model."
        )


def _one_vs_rest(codes: NDArray[np.intp], columns: Scores, average: str) -> float:
    """Average the area of every class that has rows and does not have all of them."""
    held, counts = np.unique(codes, return_counts=True)
    areas = [sklearn.metrics.roc_auc_score(codes == code, columns[:, code]) for code in held]
    return float(np.average(areas, weights=counts if average == "weighted" else None))


def _compute_own(path: str, labels: NDArray[Any], given: NDArray[Any]) -> float:
    module_name, _, name = path.partition(":")
    try:
        value = float(getattr(importlib.import_module(module_name), name)(labels, given))
    except Exception as error:  # whatever a function of somebody else raises
        raise MonitoringError(
            f"metric function {path}: must take {len(labels)} labels and predictions and return "
            f"a number, got {type(error).__name__}: {error}. Correct the function."
        ) from error
    if not math.isfinite(value):
        raise MonitoringError(
            f"metric function {path}: must return a finite number, got {value}. "
            "Correct the function."
        )
    return value


def _need(problem: Problem) -> str:
    match problem.task:
        case "binary":
            return "both classes"
        case "multiclass":
            return "two classes"
        case "regression":
            return "two rows"
