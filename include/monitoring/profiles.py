"""Mergeable profiles: what monitoring keeps of a batch instead of its rows.

A profile is small (about 10 kB a numeric column), is made in one pass over a batch, and adds up:
the profile of a partition is the merge of the profiles of its files, the reference is the merge
of its partitions. Every count is exact. Sums and sketches depend on the order of merging in
their last digits only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from include.errors import MonitoringError
from include.monitoring.binning import (
    Binning,
    count_predictions,
    count_values,
    finite_part,
    sorted_numbers,
    sorted_predictions,
)
from include.monitoring.sketches import estimate_quantile, merge_sketches, sketch_values
from include.wording import some


@dataclass(frozen=True)
class NumericProfile:
    """One numeric column of a batch.

    Args:
        counts: Finite values by bin.
        missing: Nulls and NaN.
        non_finite: Positive and negative infinities.
        total: Sum of the finite values; None when it overflows.
        minimum: Smallest finite value; None without one.
        maximum: Largest finite value; None without one.
        sketch: Serialised t-digest of the finite values, in base64.
    """

    counts: tuple[int, ...]
    missing: int
    non_finite: int
    total: float | None
    minimum: float | None
    maximum: float | None
    sketch: str

    @property
    def count(self) -> int:
        """Number of finite values."""
        return sum(self.counts)

    @property
    def rows(self) -> int:
        """Number of rows, whatever they hold."""
        return self.count + self.missing + self.non_finite

    @property
    def mean(self) -> float | None:
        """Mean of the finite values; None without one or when the sum overflows."""
        return self.total / self.count if self.count and self.total is not None else None

    def quantile(self, q: float) -> float:
        """Estimate the value at rank ``q`` in [0, 1]; exact at 0 and 1.

        Raises:
            MonitoringError: If ``q`` is outside [0, 1] or there is no finite value.
        """
        if not 0 <= q <= 1:
            raise MonitoringError(f"quantile {q}: must lie in [0, 1], got {q}. Ask for a rank.")
        if self.minimum is None or self.maximum is None:
            raise MonitoringError(
                f"quantile {q}: needs at least one finite value, got none. Check `count` first."
            )
        if q in (0, 1):
            return self.maximum if q else self.minimum
        value = estimate_quantile(self.sketch, q)
        return min(max(value, self.minimum), self.maximum)

    def merge(self, other: NumericProfile) -> NumericProfile:
        """Add the rows of another batch that was counted on the same bins."""
        totals = (self.total, other.total)
        return NumericProfile(
            counts=_added(self.counts, other.counts),
            missing=self.missing + other.missing,
            non_finite=self.non_finite + other.non_finite,
            total=None if None in totals else _finite(sum(filter(None, totals))),
            minimum=min((v for v in (self.minimum, other.minimum) if v is not None), default=None),
            maximum=max((v for v in (self.maximum, other.maximum) if v is not None), default=None),
            sketch=merge_sketches(self.sketch, other.sketch),
        )


@dataclass(frozen=True)
class CategoricalProfile:
    """One categorical column of a batch.

    Args:
        counts: Rows by counted level.
        other: Rows with any other value: rare in the reference, or never seen there.
        missing: Nulls.
    """

    counts: tuple[int, ...]
    other: int
    missing: int

    @property
    def rows(self) -> int:
        """Number of rows, whatever they hold."""
        return sum(self.counts) + self.other + self.missing

    def merge(self, other: CategoricalProfile) -> CategoricalProfile:
        """Add the rows of another batch that was counted on the same levels."""
        return CategoricalProfile(
            counts=_added(self.counts, other.counts),
            other=self.other + other.other,
            missing=self.missing + other.missing,
        )


@dataclass(frozen=True)
class Profile:
    """A batch as monitoring remembers it.

    Args:
        binning: How its values were counted.
        rows: Number of rows.
        numeric: Profile by numeric column.
        categorical: Profile by categorical column.
        predictions: Profile of what was predicted, numbers or classes, of the rows that tell (see
            :func:`profile`); None for a batch that was not scored.
    """

    binning: Binning
    rows: int
    numeric: Mapping[str, NumericProfile]
    categorical: Mapping[str, CategoricalProfile]
    predictions: NumericProfile | CategoricalProfile | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the profiled columns, numeric ones first."""
        return (*self.numeric, *self.categorical)

    def merge(self, other: Profile) -> Profile:
        """Add the rows of another batch.

        Raises:
            MonitoringError: If the two were not counted the same way, or only one was scored.
        """
        if self.binning != other.binning:
            raise MonitoringError(
                "profile merge: both sides must be counted on the same binning, got two. "
                "Profile the batches again with the binning of one reference."
            )
        if (self.predictions is None) != (other.predictions is None):
            raise MonitoringError(
                "profile merge: both sides must be scored or neither, got one. "
                "Give `predictions` to both."
            )
        return Profile(
            binning=self.binning,
            rows=self.rows + other.rows,
            numeric={name: self.numeric[name].merge(other.numeric[name]) for name in self.numeric},
            categorical={
                name: self.categorical[name].merge(other.categorical[name])
                for name in self.categorical
            },
            predictions=_merged(self.predictions, other.predictions),
        )

    def missing_share(self, column: str) -> float:
        """Share of rows without a value, in [0, 1]; 0 for no rows."""
        return self._column(column).missing / self.rows if self.rows else 0.0

    def unseen_share(self, column: str) -> float:
        """Share of rows outside the counted levels, in [0, 1]; 0 for a numeric column."""
        column_profile = self._column(column)
        if isinstance(column_profile, NumericProfile) or not self.rows:
            return 0.0
        return column_profile.other / self.rows

    def quantile(self, column: str, q: float) -> float:
        """Estimate the value of a numeric column at rank ``q`` in [0, 1].

        Raises:
            MonitoringError: If the column is not numeric or has no finite value.
        """
        column_profile = self._column(column)
        if not isinstance(column_profile, NumericProfile):
            raise MonitoringError(
                f"column {column}: a quantile needs a numeric column, got a categorical one. "
                f"Choose from {some(self.numeric, 10, 'nothing')}."
            )
        return column_profile.quantile(q)

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        numeric, categorical = document["numeric"], document["categorical"]
        predictions = document["predictions"]
        return cls(
            binning=Binning.from_dict(document["binning"]),
            rows=document["rows"],
            numeric={name: _read(NumericProfile, item) for name, item in numeric.items()},
            categorical={
                name: _read(CategoricalProfile, item) for name, item in categorical.items()
            },
            predictions=predictions and _read_predictions(predictions),
        )

    def _column(self, name: str) -> NumericProfile | CategoricalProfile:
        found = self.numeric.get(name) or self.categorical.get(name)
        if found is None:
            raise MonitoringError(
                f"column {name}: must be in the profile, got none of that name. "
                f"Choose from {some(self.columns, 10, 'nothing')}."
            )
        return found


_Column = TypeVar("_Column", NumericProfile, CategoricalProfile)


def profile(
    frame: pd.DataFrame,
    binning: Binning,
    predictions: NDArray[Any] | None = None,
    telling: NDArray[np.bool_] | None = None,
) -> Profile:
    """Profile a batch in one pass; columns that the binning does not name are ignored.

    Costs one sort of each numeric column and one hash count of each categorical one.

    Args:
        frame: One row per example; may be empty.
        binning: From :func:`~include.monitoring.binning.fit_binning` on the reference.
        predictions: What was predicted, shape (n_rows,): numbers, float64, or names of classes
            (object), as in the reference; NaN and None count as missing.
        telling: Rows whose predictions count, shape (n_rows,): a model knows what it was fitted
            on, so its predictions of that say nothing of those to come. All by default.

    Raises:
        MonitoringError: If a column is absent or does not hold numbers, if the predictions do not
            match the rows, or if there are some that the binning cannot count.
    """
    if predictions is not None and not binning.counts_predictions:
        raise MonitoringError(
            "binning: must have prediction edges or levels to count predictions, got none. "
            "Fit it again with the reference's `predictions`."
        )
    counted = len(frame)
    if predictions is not None and telling is not None:
        predictions, counted = predictions[telling], int(telling.sum())
    return Profile(
        binning=binning,
        rows=len(frame),
        numeric={
            name: _profile_numbers(sorted_numbers(frame, name), edges)
            for name, edges in binning.numeric.items()
        },
        categorical={
            name: _profile_levels(*count_values(frame, name), len(frame), levels)
            for name, levels in binning.categorical.items()
        },
        predictions=(
            None if predictions is None else _profile_predictions(predictions, counted, binning)
        ),
    )


def merge_all(profiles: Sequence[Profile]) -> Profile:
    """Merge one or more profiles from left to right.

    Raises:
        MonitoringError: If there is none, or they cannot be merged.
    """
    if not profiles:
        raise MonitoringError("profile merge: needs at least one profile, got none. Profile first.")
    return functools.reduce(Profile.merge, profiles)


def _read(kind: type[_Column], document: Mapping[str, Any]) -> _Column:
    return kind(**{**document, "counts": tuple(document["counts"])})


def _read_predictions(document: Mapping[str, Any]) -> NumericProfile | CategoricalProfile:
    if "sketch" in document:  # only numbers have one
        return _read(NumericProfile, document)
    return _read(CategoricalProfile, document)


def _merged(
    left: NumericProfile | CategoricalProfile | None,
    right: NumericProfile | CategoricalProfile | None,
) -> NumericProfile | CategoricalProfile | None:
    if isinstance(left, NumericProfile) and isinstance(right, NumericProfile):
        return left.merge(right)
    if isinstance(left, CategoricalProfile) and isinstance(right, CategoricalProfile):
        return left.merge(right)
    return None


def _profile_predictions(
    predictions: NDArray[Any], rows: int, binning: Binning
) -> NumericProfile | CategoricalProfile:
    if binning.prediction_levels is not None:
        counted = count_predictions(predictions, rows)
        return _profile_levels(*counted, rows, binning.prediction_levels)
    return _profile_numbers(sorted_predictions(predictions, rows), binning.predictions or ())


def _profile_numbers(ordered: NDArray[np.float64], edges: tuple[float, ...]) -> NumericProfile:
    finite = finite_part(ordered)
    inner = np.searchsorted(finite, np.asarray(edges, dtype=np.float64), side="right")
    missing = int(np.isnan(ordered).sum())
    with np.errstate(over="ignore"):
        total = _finite(float(finite.sum()))
    return NumericProfile(
        counts=tuple(np.diff(inner, prepend=0, append=len(finite)).tolist()),
        missing=missing,
        non_finite=len(ordered) - missing - len(finite),
        total=total,
        minimum=float(finite[0]) + 0.0 if len(finite) else None,
        maximum=float(finite[-1]) + 0.0 if len(finite) else None,
        sketch=sketch_values(finite),
    )


def _profile_levels(
    texts: Sequence[str], counts: NDArray[np.int64], rows: int, levels: tuple[str, ...]
) -> CategoricalProfile:
    lookup = {level: position for position, level in enumerate(levels)}
    positions = np.array([lookup.get(text, len(levels)) for text in texts], dtype=np.intp)
    by_level = np.zeros(len(levels) + 1, dtype=np.int64)
    np.add.at(by_level, positions, counts)
    *known, other = by_level.tolist()
    return CategoricalProfile(tuple(known), other, rows - int(counts.sum()))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _added(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
