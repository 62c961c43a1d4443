"""Mergeable profiles: what monitoring keeps of a batch instead of its rows.

A profile is small (about 10 kB a numeric column), is made in one pass over a batch, and adds up:
the profile of a partition is the merge of the profiles of its files, the reference is the merge
of its partitions. Every count is exact. Sums and sketches depend on the order of merging in
their last digits only.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd
from datasketches import tdigest_double
from numpy.typing import NDArray

from include.errors import MonitoringError

PREDICTION_BINS = 20

# The t-digest is the one quantile sketch of DataSketches that draws no random numbers. At this
# size its worst error was 2.5 % of rank over 2,000 to 3 million normal values, and it takes 6 kB.
_SKETCH_SIZE = 300
# Sketching every value would cost ten times the sort; so many order statistics lose nothing.
_SKETCHED_VALUES = 4096


@dataclass(frozen=True)
class Binning:
    """How values are counted; profiles can be merged and compared only if it is the same.

    Args:
        numeric: Ascending inner edges by column. Bin ``i`` is ``(edges[i - 1], edges[i]]``; the
            first and the last bin are open, so ``n`` edges make ``n + 1`` bins.
        categorical: Counted levels by column, as strings, most frequent first.
        predictions: Edges of the scores, or None when none were seen.
    """

    numeric: Mapping[str, tuple[float, ...]]
    categorical: Mapping[str, tuple[str, ...]]
    predictions: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        predictions = document["predictions"]
        return cls(
            numeric={name: tuple(edges) for name, edges in document["numeric"].items()},
            categorical={name: tuple(levels) for name, levels in document["categorical"].items()},
            predictions=None if predictions is None else tuple(predictions),
        )


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
        value = float(_digest(self.sketch).get_quantile(q))
        return min(max(value, self.minimum), self.maximum)

    def merge(self, other: NumericProfile) -> NumericProfile:
        """Add the rows of another batch that was counted on the same bins."""
        sketch = _digest(self.sketch)
        sketch.merge(_digest(other.sketch))
        totals = (self.total, other.total)
        return NumericProfile(
            counts=_added(self.counts, other.counts),
            missing=self.missing + other.missing,
            non_finite=self.non_finite + other.non_finite,
            total=None if None in totals else _finite(sum(filter(None, totals))),
            minimum=min((v for v in (self.minimum, other.minimum) if v is not None), default=None),
            maximum=max((v for v in (self.maximum, other.maximum) if v is not None), default=None),
            sketch=_encoded(sketch),
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
        predictions: Profile of the scores, or None for a batch that was not scored.
    """

    binning: Binning
    rows: int
    numeric: Mapping[str, NumericProfile]
    categorical: Mapping[str, CategoricalProfile]
    predictions: NumericProfile | None = None

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
            predictions=(
                self.predictions.merge(other.predictions)
                if self.predictions is not None and other.predictions is not None
                else None
            ),
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
                f"Choose from {_some(self.numeric)}."
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
            predictions=None if predictions is None else _read(NumericProfile, predictions),
        )

    def _column(self, name: str) -> NumericProfile | CategoricalProfile:
        found = self.numeric.get(name) or self.categorical.get(name)
        if found is None:
            raise MonitoringError(
                f"column {name}: must be in the profile, got none of that name. "
                f"Choose from {_some(self.columns)}."
            )
        return found


_Column = TypeVar("_Column", NumericProfile, CategoricalProfile)


def fit_binning(
    frame: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    bins: int = 20,
    levels: int = 50,
    predictions: NDArray[np.float64] | None = None,
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
        predictions: Scores of the reference, float64, shape (n_rows,); 20 quantile bins.

    Raises:
        MonitoringError: If a column is absent, named twice, or does not hold numbers.
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
        numeric={name: _edges(_sorted_numbers(frame, name), bins) for name in numeric},
        categorical={name: _levels(_column_of(frame, name), levels) for name in categorical},
        predictions=(
            None
            if predictions is None
            else _edges(np.sort(_as_scores(predictions, len(frame))), PREDICTION_BINS)
        ),
    )


def profile(
    frame: pd.DataFrame, binning: Binning, predictions: NDArray[np.float64] | None = None
) -> Profile:
    """Profile a batch in one pass; columns that the binning does not name are ignored.

    Costs one sort of each numeric column and one hash count of each categorical one.

    Args:
        frame: One row per example; may be empty.
        binning: From :func:`fit_binning` on the reference.
        predictions: Scores, float64, shape (n_rows,); NaN counts as missing.

    Raises:
        MonitoringError: If a column is absent or does not hold numbers, if the scores do not
            match the rows, or if there are scores that the binning cannot count.
    """
    if predictions is not None and binning.predictions is None:
        raise MonitoringError(
            "binning: must have prediction edges to count scores, got none. "
            "Fit it again with the reference's `predictions`."
        )
    return Profile(
        binning=binning,
        rows=len(frame),
        numeric={
            name: _profile_numbers(_sorted_numbers(frame, name), edges)
            for name, edges in binning.numeric.items()
        },
        categorical={
            name: _profile_levels(_column_of(frame, name), levels)
            for name, levels in binning.categorical.items()
        },
        predictions=(
            None
            if predictions is None or binning.predictions is None
            else _profile_numbers(np.sort(_as_scores(predictions, len(frame))), binning.predictions)
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


def _profile_numbers(ordered: NDArray[np.float64], edges: tuple[float, ...]) -> NumericProfile:
    finite = _finite_part(ordered)
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
        sketch=_sketch(finite),
    )


def _sketch(ordered: NDArray[np.float64]) -> str:
    """Sketch evenly spaced order statistics, each standing for ``stride`` values.

    The sketch takes no weights: adding it to itself in powers of two gives every value its own.
    """
    stride = max(1, math.ceil(len(ordered) / _SKETCHED_VALUES))
    power = tdigest_double(_SKETCH_SIZE)
    power.update(np.ascontiguousarray(ordered[stride // 2 :: stride]))
    whole = tdigest_double(_SKETCH_SIZE)
    while True:
        copy = tdigest_double.deserialize(power.serialize())
        if stride & 1:
            whole.merge(copy)
        stride >>= 1
        if not stride:
            return _encoded(whole)
        power.merge(tdigest_double.deserialize(power.serialize()))


def _encoded(sketch: Any) -> str:
    return base64.b64encode(sketch.serialize()).decode("ascii")


def _digest(encoded: str) -> Any:
    return tdigest_double.deserialize(base64.b64decode(encoded))


def _profile_levels(column: pd.Series[Any], levels: tuple[str, ...]) -> CategoricalProfile:
    texts, counts = _counted(column)
    lookup = {level: position for position, level in enumerate(levels)}
    positions = np.array([lookup.get(text, len(levels)) for text in texts], dtype=np.intp)
    by_level = np.zeros(len(levels) + 1, dtype=np.int64)
    np.add.at(by_level, positions, counts)
    *known, other = by_level.tolist()
    return CategoricalProfile(tuple(known), other, len(column) - int(counts.sum()))


def _edges(ordered: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    finite = _finite_part(ordered)
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


def _levels(column: pd.Series[Any], limit: int) -> tuple[str, ...]:
    totals: dict[str, int] = {}
    for text, count in zip(*_counted(column), strict=True):
        totals[text] = totals.get(text, 0) + int(count)
    return tuple(sorted(totals, key=lambda text: (-totals[text], text))[:limit])


def _counted(column: pd.Series[Any]) -> tuple[list[str], NDArray[np.int64]]:
    found = column.value_counts(sort=False, dropna=True)
    found = found[found > 0]  # a pandas categorical also lists the levels it does not hold
    texts = [value if type(value) is str else _text(value) for value in found.index]
    return texts, np.asarray(found, dtype=np.int64)


def _text(value: object) -> str:
    # A column of whole numbers turns into floats in the one batch that has a null.
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _sorted_numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
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


def _column_of(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame.columns:
        raise MonitoringError(
            f"column {name}: must be in the batch, got {_some(map(str, frame.columns))}. "
            "Check what the feature function returns."
        )
    return frame[name]


def _as_scores(predictions: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    scores = np.asarray(predictions, dtype=np.float64)
    if scores.shape != (rows,):
        raise MonitoringError(
            f"predictions: must have shape ({rows},), got {scores.shape}. Give one score a row."
        )
    return scores


def _finite_part(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut the finite values out of a sorted array (-inf first, then +inf, NaN last)."""
    start = int(np.searchsorted(ordered, -np.inf, side="right"))
    return ordered[start : int(np.searchsorted(ordered, np.inf, side="left"))]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _added(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _some(names: Any, limit: int = 10) -> str:
    listed = list(names)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "") or "nothing"
