"""On which bins and levels a reference and all later batches are counted.

Profiles can be merged and compared only if they share a binning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import MAX_PREC, Context, Decimal
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from include.errors import MonitoringError
from include.wording import some

_PREDICTION_BINS = 20
_EXACT = Context(prec=MAX_PREC)  # as many digits as the value has


@dataclass(frozen=True)
class Binning:
    """How values are counted.

    Args:
        numeric: Ascending inner edges by column. Bin ``i`` is ``(edges[i - 1], edges[i]]``; the
            first and the last bin are open, so ``n`` edges make ``n + 1`` bins.
        categorical: Counted levels by column, as strings, most frequent first.
        predictions: Edges of predicted numbers, or None when none were seen.
        prediction_levels: Classes that predictions can name, or None when they are numbers.
    """

    numeric: Mapping[str, tuple[float, ...]]
    categorical: Mapping[str, tuple[str, ...]]
    predictions: tuple[float, ...] | None = None
    prediction_levels: tuple[str, ...] | None = None

    @property
    def counts_predictions(self) -> bool:
        """Whether the reference had predictions."""
        return self.predictions is not None or self.prediction_levels is not None

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, before predictions could be classes, too."""
        predictions, levels = document["predictions"], document.get("prediction_levels")
        return cls(
            numeric={name: tuple(edges) for name, edges in document["numeric"].items()},
            categorical={name: tuple(levels) for name, levels in document["categorical"].items()},
            predictions=None if predictions is None else tuple(predictions),
            prediction_levels=None if levels is None else tuple(levels),
        )


def fit_binning(
    frame: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    bins: int = 20,
    levels: int = 50,
    predictions: NDArray[Any] | None = None,
    classes: Sequence[str] = (),
) -> Binning:
    """Choose the bins and levels on which a reference and all later batches are counted.

    A numeric column with more than ``bins`` distinct values is cut at its quantiles, each an
    observed value (the inverse of the empirical distribution function, so nothing is
    interpolated). One with fewer gets a bin for each value and an empty one below and above,
    so that a code which the reference never held is seen.

    Args:
        frame: The reference, one row per example.
        numeric: Columns of numbers; nulls and infinities do not count.
        categorical: Columns compared as strings.
        bins: Largest number of quantile bins of a numeric column, at least 2.
        levels: Largest number of counted levels; ties are broken by name.
        predictions: What was predicted of the reference, shape (n_rows,): numbers, float64, which
            get 20 quantile bins, or names of classes (object).
        classes: Every class that predictions can name; none where they are numbers.

    Raises:
        MonitoringError: If a column is absent, named twice, or does not hold numbers; or if
            predictions are neither numbers nor come with classes.
    """
    if bins < 2 or levels < 1:
        raise MonitoringError(
            f"binning: needs at least 2 bins and 1 level, got {bins} and {levels}. Ask for more."
        )
    twice = sorted(set(numeric) & set(categorical))
    if twice:
        raise MonitoringError(
            f"column {twice[0]}: must be numeric or categorical, got both. Name it once."
        )
    return Binning(
        numeric={name: _edges(sorted_numbers(frame, name), bins) for name in numeric},
        categorical={name: _levels(*count_values(frame, name), levels) for name in categorical},
        predictions=(
            None
            if predictions is None or classes
            else _edges(sorted_predictions(predictions, len(frame)), _PREDICTION_BINS)
        ),
        prediction_levels=None if predictions is None or not classes else tuple(classes),
    )


def sorted_numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Read a numeric column in ascending order, shape (n_rows,): infinities outside, NaN last.

    Raises:
        MonitoringError: If the column is absent or does not hold numbers.
    """
    column = _column_of(frame, name)
    kind = getattr(column.dtype, "kind", "O")
    try:
        if kind in "mM":
            raise TypeError(column.dtype)
        if kind in "fiub" and isinstance(column.dtype, np.dtype):
            return np.sort(column.to_numpy()).astype(np.float64, copy=False)
        return np.sort(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise MonitoringError(
            f"column {name}: must hold numbers to be numeric, got {column.dtype}. "
            "Make it numeric in the feature function, or profile it as categorical."
        ) from error


def sorted_predictions(predictions: NDArray[Any], rows: int) -> NDArray[np.float64]:
    """Put predicted numbers in ascending order, shape (rows,): NaN last.

    Raises:
        MonitoringError: If there is not one number a row.
    """
    _demand_one_a_row(predictions, rows)
    try:
        return np.sort(np.asarray(predictions, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise MonitoringError(
            f"predictions: must be numbers, got {predictions.dtype}. Name the `classes` when the "
            "binning is fitted."
        ) from error


def count_predictions(predictions: NDArray[Any], rows: int) -> tuple[list[str], NDArray[np.int64]]:
    """List the predicted classes and the rows of each, but no nulls.

    Raises:
        MonitoringError: If there is not one class a row.
    """
    _demand_one_a_row(predictions, rows)
    return _count(pd.Series(predictions, dtype=object))


def finite_part(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut the finite values out of a sorted array (-inf first, then +inf, NaN last)."""
    start = int(np.searchsorted(ordered, -np.inf, side="right"))
    return ordered[start : int(np.searchsorted(ordered, np.inf, side="left"))]


def count_values(frame: pd.DataFrame, name: str) -> tuple[list[str], NDArray[np.int64]]:
    """List the values of a categorical column as strings, and the rows of each, but no nulls.

    Values that share a string are listed apart.

    Raises:
        MonitoringError: If the column is absent.
    """
    return _count(_column_of(frame, name))


def _count(column: pd.Series[Any]) -> tuple[list[str], NDArray[np.int64]]:
    found = column.value_counts(sort=False, dropna=True)
    found = found[found > 0]  # a pandas categorical also lists the levels it does not hold
    texts = [value if type(value) is str else text_of(value) for value in found.index]
    return texts, np.asarray(found, dtype=np.int64)


def _edges(ordered: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    finite = finite_part(ordered)
    if not len(finite):
        return ()
    distinct = np.unique(finite) + 0.0  # minus zero is zero
    if len(distinct) <= bins:
        with np.errstate(over="ignore"):
            below = np.nextafter(distinct[0], -np.inf)
        return tuple(([float(below)] if np.isfinite(below) else []) + distinct.tolist())
    # Whole-number arithmetic: rounding q * n would move an edge on some machines only.
    ranks = [(i * len(finite) + bins - 1) // bins - 1 for i in range(1, bins)]
    return tuple((np.unique(finite[ranks]) + 0.0).tolist())


def _levels(texts: Sequence[str], counts: NDArray[np.int64], limit: int) -> tuple[str, ...]:
    totals: dict[str, int] = {}
    for text, count in zip(texts, counts, strict=True):
        totals[text] = totals.get(text, 0) + int(count)
    return tuple(sorted(totals, key=lambda text: (-totals[text], text))[:limit])


def text_of(value: object) -> str:
    """Write a value as levels and classes are counted and compared: ``1.0`` is ``1``."""
    # Who delivers may turn whole numbers into floats in the one batch that has a null.
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite():
        return format((value or Decimal(0)).normalize(_EXACT), "f")
    return str(value)


def _demand_one_a_row(predictions: NDArray[Any], rows: int) -> None:
    if np.shape(predictions) != (rows,):
        raise MonitoringError(
            f"predictions: must have shape ({rows},), got {np.shape(predictions)}. Give one a row."
        )


def _column_of(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame.columns:
        raise MonitoringError(
            f"column {name}: must be in the batch, got "
            f"{some(map(str, frame.columns), 10, 'nothing')}. "
            "Check what the feature function returns."
        )
    return frame[name]
