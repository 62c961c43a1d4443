"""What the column to predict asks for: two classes, several, or a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from include.development.scaffold.inspection import Column
from include.errors import SourceError
from include.specification.metric_names import Task
from include.specification.sections.section import Scalar
from include.wording import nearest

MOST_CLASSES = 100
_MOST_CODES = 20
_NEARLY_ALL = 0.95
_STRAY = 0.01


@dataclass(frozen=True)
class Target:
    """The column to predict.

    Args:
        column: Its name.
        task: Kind of target.
        labels: What a model is asked for, aligned with the sample: 0 and 1 (float), classes
            (object) or numbers (float); missing where there is no label.
        classes: The values that are classes, most frequent first; empty for regression.
        positive: The value to write as ``labels.positive``; None if 1 and true say it.
        strays: Values that are no class, because next to no row has them.
        rarest: Share of the rarest class among the labelled rows; 1 for regression.
    """

    column: str
    task: Task
    labels: pd.Series
    classes: tuple[Any, ...]
    positive: Scalar
    strays: tuple[Any, ...]
    rarest: float


def choose_target(values: pd.Series, column: Column, positive: str | None) -> Target:
    """Decide the task.

    Args:
        values: The column to predict.
        column: What stands in it.
        positive: The value that means 1, as text; None lets the rarer one be it, unless the
            values are 0 and 1 or true and false.

    Raises:
        SourceError: If nothing can be learned from the column, or ``positive`` is not in it.
    """
    _check(column)
    classes, strays = _classes(values, column)
    if len(classes) == 2:
        return _binary(values, column, classes, strays, positive)
    if positive is not None:
        raise SourceError(
            f"target {column.name}: --positive is for two classes, got {column.distinct} values. "
            "Leave it out."
        )
    if column.kind == "number" and not (column.whole and column.distinct <= _MOST_CODES):
        numbers = values.astype("float64").replace([np.inf, -np.inf], np.nan)
        return Target(column.name, "regression", numbers, (), None, (), 1.0)
    counts = values.value_counts()
    if len(counts) > MOST_CLASSES:
        raise SourceError(
            f"target {column.name}: must have at most {MOST_CLASSES} classes, got {len(counts)}. "
            "Group them, or name a column of numbers."
        )
    labels = values.astype(object).map(_text, na_action="ignore").astype(object)
    share = float(counts.min() / counts.sum())
    return Target(column.name, "multiclass", labels, tuple(counts.index), None, (), share)


def _check(column: Column) -> None:
    if column.kind == "empty":
        raise SourceError(
            f"target {column.name}: must have values, got {column.rows} rows without any. "
            "Name another column."
        )
    if column.distinct == 1:
        raise SourceError(
            f"target {column.name}: must have at least two values, got only one: "
            f"{_scalar(column.levels[0])!r}. Name another column, or take a sample with both."
        )
    if column.kind == "moment":
        raise SourceError(
            f"target {column.name}: must be classes or a number, got times. Name another column, "
            "or compute a duration from it (labels.expression)."
        )


def _classes(values: pd.Series, column: Column) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Name the two classes if there are two, apart from values that next to no row has."""
    counts = values.value_counts()
    if column.distinct == 2:
        return tuple(counts.index), ()
    is_coded = column.kind == "string" or column.whole
    shares = counts / counts.sum()
    few = is_coded and shares.iloc[:2].sum() >= _NEARLY_ALL and (shares.iloc[2:] < _STRAY).all()
    if few and shares.iloc[1] > 5 * shares.iloc[2]:
        return tuple(counts.index[:2]), tuple(counts.index[2:])
    return (), ()


def _binary(
    values: pd.Series,
    column: Column,
    classes: tuple[Any, ...],
    strays: tuple[Any, ...],
    positive: str | None,
) -> Target:
    one = _positive(column.name, classes, positive)
    held = values.where(values.isin(classes))
    labels = held.map(lambda value: float(value == one), na_action="ignore").astype("float64")
    mean = float(labels.mean())
    is_plain = one == 1 and set(classes) == {0, 1}
    written = None if is_plain else _scalar(one)
    return Target(column.name, "binary", labels, classes, written, strays, min(mean, 1 - mean))


def _positive(name: str, classes: Sequence[Any], positive: str | None) -> Any:
    if positive is None:
        return 1 if set(classes) == {0, 1} else classes[-1]  # the rarer one comes last
    known = {_text(value): value for value in classes}
    if positive not in known:
        raise SourceError(
            f"target {name}: --positive must be one of its values, got {positive!r}"
            f"{nearest(positive, tuple(known))}"
        )
    return known[positive]


def _scalar(value: Any) -> Scalar:
    """Spell a value as plain Python does; whole floats as whole numbers."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return plain  # type: ignore[no-any-return]


def _text(value: Any) -> str:
    return str(_scalar(value))
