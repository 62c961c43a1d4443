"""Columns that hold the answer: they predict the target almost alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from include.development.scaffold.inspection import Column
from include.development.scaffold.target import Target
from include.specification.metric_names import Task

_ROWS = 20_000
_SEED = 7
# By task: the measure, from which value on a person is told, from which on the column is left out.
_LIMITS: dict[Task, tuple[str, float, float]] = {
    "binary": ("ROC AUC", 0.95, 0.995),
    "multiclass": ("accuracy", 0.95, 0.995),
    "regression": ("R2", 0.9, 0.98),
}
_FOLDS = 3
_MOSTLY = 0.95


@dataclass(frozen=True)
class Disguise:
    """A column that may hold the answer.

    Args:
        reason: What gave it away.
        is_sure: Whether to leave it out; otherwise a person should look at it.
    """

    reason: str
    is_sure: bool


def find_disguises(
    frame: pd.DataFrame, columns: list[Column], target: Target
) -> dict[str, Disguise]:
    """Find columns that are the target in disguise.

    A shallow tree on the column alone, cross-validated, reaches a ROC AUC of 0.995 (two classes),
    an accuracy of 0.995 (several) or an R2 of 0.98 (a number); or the name is the target's but
    for its digits. Values from 0.95, 0.95 and 0.9 on are told, too.

    Args:
        frame: The sample.
        columns: Columns to look at.
        target: What is predicted.

    Returns:
        By column, what gave it away.
    """
    found = {}
    labelled = target.labels.dropna()
    if len(labelled) > _ROWS:
        labelled = labelled.sample(_ROWS, random_state=_SEED)
    measure, told, sure = _LIMITS[target.task]
    for column in columns:
        if _stem(column.name) == _stem(target.column):
            found[column.name] = Disguise(
                f"its name is that of {target.column}, but for digits", True
            )
            continue
        values = frame[column.name].reindex(labelled.index)
        score = _predictive_value(values, labelled, target)
        if score >= told:
            found[column.name] = Disguise(f"alone it reaches {measure} {score:.3f}", score >= sure)
    return found


def _predictive_value(values: pd.Series, labels: pd.Series, target: Target) -> float:
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    numbers = _numbers(values)
    if target.task == "regression":
        # A few absurd values would decide R2 alone.
        bounds = np.quantile(labels, [0.005, 0.995])
        tree = DecisionTreeRegressor(max_leaf_nodes=64, min_samples_leaf=5, random_state=_SEED)
        folds = KFold(_FOLDS, shuffle=True, random_state=_SEED)
        return float(
            cross_val_score(tree, numbers, labels.clip(*bounds), cv=folds, scoring="r2").mean()
        )
    counts = labels.value_counts()
    kept = labels.isin(counts[counts >= _FOLDS].index).to_numpy()
    shares = labels[kept].value_counts(normalize=True)
    if len(shares) < 2 or (target.task == "multiclass" and shares.iloc[0] > _MOSTLY):
        return 0.0  # always naming the largest class would be accurate, too
    tree = DecisionTreeClassifier(max_leaf_nodes=64, min_samples_leaf=2, random_state=_SEED)
    scoring = "roc_auc" if target.task == "binary" else "accuracy"
    splits = StratifiedKFold(_FOLDS, shuffle=True, random_state=_SEED)
    return float(
        cross_val_score(tree, numbers[kept], labels[kept], cv=splits, scoring=scoring).mean()
    )


def _numbers(values: pd.Series) -> np.ndarray:
    """Render a column for a tree, shape (n_rows, 1); strings as codes, the frequent ones first."""
    if pd.api.types.is_datetime64_any_dtype(values):
        numbers = values.astype("int64").astype("float64").mask(values.isna())
    elif pd.api.types.is_integer_dtype(values):
        # A tree sees the order only, and floats would make different numbers one.
        numbers = values.rank(method="dense").astype("float64")
    elif pd.api.types.is_numeric_dtype(values):
        numbers = values.astype("float64")
    else:
        text = values.map(str, na_action="ignore")
        order = {level: code for code, level in enumerate(text.value_counts().index)}
        numbers = text.map(order).astype("float64")
    return numbers.replace([np.inf, -np.inf], np.nan).to_numpy().reshape(-1, 1)


def _stem(name: str) -> str:
    return re.sub(r"\d+", "#", name) if re.search(r"\d", name) else f"{name} "
