"""Columns that hold the answer: they predict the target almost alone."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

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
# A class, or a value of the target, with fewer rows says nothing about what it always comes with.
_FEWEST = 5
_MOST_LEVELS = 20
# Rows in which pairs are looked at first: those that differ there are not looked at again.
_PROBES = 12
_FEW = 3
_HALF = 0.5
_LARGEST = 3e38
# Shares of rows that are what the target says: told, left out, and that with ranges.
_ALIKE = 0.95
_SAME = 0.99
_ORDERED = 0.97
# Of a column with one common value, the others must be right as well.
_WRONG_OF_RARE = 0.1
_MISSING = "\0"
_WORDS: dict[str, Callable[[Any, Any], Any]] = {
    "plus": operator.add,
    "minus": operator.sub,
    "times": operator.mul,
    "over": operator.truediv,
}
# Of the middle half of the target: parts that were rounded add up to it nearly.
_ROUNDED = 1e-3


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
    an accuracy of 0.995 (several) or an R2 of 0.98 (a number); or it follows from the target, or
    with another column makes it, in 99 % of the rows; or the name is the target's but for its
    digits. Values from 0.95, 0.95 and 0.9 on are told, too.

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
    stem = _stem(target.column)
    # A few at most, as bad24 and bad36: else all columns are numbered, and the target as well.
    by_name = [column.name for column in columns if _stem(column.name) == stem]
    for column in columns:
        if column.name in by_name and len(by_name) <= _FEW:
            found[column.name] = Disguise(
                f"its name is that of {target.column}, but for digits", True
            )
            continue
        values = frame[column.name].reindex(labelled.index)
        function, is_sure = _function_of(values, labelled, target)
        if function and is_sure:
            found[column.name] = Disguise(f"it is a function of {target.column}: {function}", True)
            continue
        score = _predictive_value(values, labelled, target)
        if score >= told:
            found[column.name] = Disguise(f"alone it reaches {measure} {score:.3f}", score >= sure)
        elif function:
            found[column.name] = Disguise(f"in nearly all rows, {function}", False)
    sure_ones = {name for name, disguise in found.items() if disguise.is_sure}
    others = [column.name for column in columns if column.name not in sure_ones]
    return {**found, **_pairs(frame, others, target)}


def _function_of(values: pd.Series, labels: pd.Series, target: Target) -> tuple[str, bool]:
    """Say how a column follows from the target alone, and whether surely; '' if it does not.

    Args:
        values: The column, shape (n_rows,).
        labels: The target, none missing, shape (n_rows,).
        target: What is predicted.
    """
    if target.task != "regression":
        frequent = labels.map(labels.value_counts()) >= _FEWEST
        texts = values.map(str, na_action="ignore")[frequent]
        classes = labels[frequent]
        # A missing value may be one of the values, or hide some of them.
        whole = _agreement(texts.fillna(_MISSING), classes)
        known = texts.notna()
        held = _agreement(texts[known], classes[known]) if known.mean() >= _HALF else 0.0
        best = max(whole, held)
        return ("each class has one value" if best >= _ALIKE else "", best >= _SAME)
    numbers = pd.Series(_numbers(values).ravel(), values.index)
    is_held = numbers.notna() & np.isfinite(labels.astype("float64"))
    numbers, labels = numbers[is_held], labels[is_held].astype("float64")
    levels = numbers.value_counts()
    if len(levels) < 2 or levels.max() > len(numbers) - _FEWEST or is_held.mean() < _MOSTLY:
        return "", False
    if levels.size > _MOST_LEVELS:
        ranks, wanted = numbers.rank(), labels.rank()
        is_same = ranks.equals(wanted) or (len(numbers) + 1 - ranks).equals(wanted)
        return ("the same order" if is_same else "", True)
    # The levels in the order of the target, as often as each occurs, beside the ordered target.
    places = numbers.map(labels.groupby(numbers).median().rank(method="first"))
    ordered = places.iloc[labels.argsort(kind="stable")].to_numpy()
    wrong = float((ordered != np.sort(ordered)).mean())
    alike = _alike(wrong, places)
    return ("each value is a range of it" if alike >= _ALIKE else "", alike >= _ORDERED)


def _agreement(values: pd.Series, classes: pd.Series) -> float:
    """Give the share of rows that have the value of their class; 0 if most have one value anyway.

    Args:
        values: The column as texts, none missing, shape (n_rows,).
        classes: The target, shape (n_rows,).
    """
    if values.nunique() < 2:
        return 0.0
    usual = values.groupby(classes).agg(lambda column: column.value_counts().index[0])
    if usual.nunique() < 2:
        return 0.0
    return _alike(float((values != classes.map(usual)).mean()), values)


def _alike(wrong: float, values: pd.Series) -> float:
    """Give the share of rows that are right, 0 if that is no better than the commonest value."""
    rare = 1 - float(values.value_counts(normalize=True).iloc[0])
    return 1 - wrong if wrong <= _WRONG_OF_RARE * rare else 0.0


def _pairs(frame: pd.DataFrame, names: list[str], target: Target) -> dict[str, Disguise]:
    """Find pairs of numeric columns whose sum, difference, product or ratio is the target."""
    wanted = frame[target.column]
    numeric = [
        name for name in names if _is_number(frame[name]) and frame[name].notna().mean() >= _HALF
    ]
    if not _is_number(wanted) or wanted.nunique() <= 2 or len(numeric) < 2:
        return {}
    held = frame[[target.column, *numeric]].astype("float64")
    held = held[held[target.column].notna()].iloc[:: max(1, len(held) // _ROWS)]
    probes = held.sample(frac=1, random_state=_SEED).head(_PROBES)
    low, high = held[target.column].quantile([0.25, 0.75])
    within = _ROUNDED * float(high - low)
    found: dict[str, Disguise] = {}
    columns, aims = probes[numeric].to_numpy(), probes[target.column].to_numpy()[:, None]
    with np.errstate(all="ignore"):
        for (at, name), (word, combine) in product(enumerate(numeric), _WORDS.items()):
            made = combine(columns[:, [at]], columns)
            differs = np.isfinite(made) & ~np.isclose(made, aims, rtol=1e-6, atol=within)
            likely = (np.isfinite(made).sum(axis=0) >= _FEW) & (differs.sum(axis=0) <= 1)
            for other in (numeric[index] for index in np.flatnonzero(likely) if index != at):
                parts = held[[name, other]]
                if _is_target(combine(held[name], held[other]), held[target.column], parts, within):
                    reason = f"{name} {word} {other} is {target.column}"
                    for part in (name, other):
                        found.setdefault(part, Disguise(reason, True))
    return found


def _is_target(made: pd.Series, wanted: pd.Series, parts: pd.DataFrame, within: float) -> bool:
    """Tell whether what is made of two parts is the target in nearly all rows.

    Neither part may be a mere 0 or 1, which would let the other one be the target by itself.
    """
    both = np.isfinite(made) & np.isfinite(wanted)
    plain = max(float((parts[both] == number).mean().max()) for number in (0, 1))
    if both.sum() < _FEWEST or plain > _MOSTLY:
        return False
    same = np.isclose(made[both], wanted[both], rtol=1e-6, atol=within)
    return _alike(1 - float(same.mean()), wanted[both]) > _SAME


def _is_number(values: pd.Series) -> bool:
    is_numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return bool(is_numeric)


def _predictive_value(values: pd.Series, labels: pd.Series, target: Target) -> float:
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    # Trees hold 32 bits; marks for missing such as the largest double have more.
    numbers = _numbers(values).clip(-_LARGEST, _LARGEST)
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
    is_numbered = re.search(r"\d", name) and re.search(r"[^\W\d_]", name)
    return re.sub(r"\d+", "#", name) if is_numbered else f"{name} "
