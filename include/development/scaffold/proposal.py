"""Every choice of a first pipeline, and why, from a sample."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import pyarrow as pa

from include.calendar.moments import MOMENT, check_years, to_moments
from include.calendar.partitions import Frequency
from include.development.scaffold.calendar import Calendar, choose_calendar
from include.development.scaffold.disguise import Disguise, find_disguises
from include.development.scaffold.inspection import Column, inspect, to_frame
from include.development.scaffold.sampling import MOST_CODES, Sample
from include.development.scaffold.target import Target, choose_target
from include.errors import SourceError
from include.specification.own_columns import BESIDE_KEYS, may_be_key
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import ROW_ID
from include.storage.data_frames import to_series
from include.wording import nearest

SOURCE = "records"
SMALL = 5_000
RARE = 0.10
_TOLERATED = 0.01
TimeKind = Literal["moment", "date", "text", "year"]


@dataclass(frozen=True)
class Wish:
    """What the user said.

    Args:
        name: The pipeline's name.
        target: Column to predict.
        time: Column with the time of the row; None for snapshots.
        entity: Column that identifies a row; None to look for one.
        known_at: Column with the time at which the label became known.
        positive: Value of the target that means 1, as text.
        partition: Length of a partition; None to choose one.
    """

    name: str
    target: str
    time: str | None = None
    entity: str | None = None
    known_at: str | None = None
    positive: str | None = None
    partition: Frequency | None = None


@dataclass(frozen=True)
class Place:
    """Where the pipeline will find its data.

    Args:
        uri: Address on the store; None for a query.
        connection: Airflow connection of a query.
        query: The query.
    """

    uri: str | None = None
    connection: str | None = None
    query: str | None = None


@dataclass(frozen=True)
class Feature:
    """A column that the feature function keeps; ``review`` is what a person should think about."""

    column: Column
    review: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A column that the feature function leaves out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Proposal:
    """A first pipeline.

    Args:
        wish: What was asked for.
        place: Where the data are.
        sample: What was looked at.
        frame: Typed rows of the sample.
        target: Column to predict.
        entity: Column that identifies a row.
        time: How the time column is written; None without one.
        calendar: Rhythm; None for snapshots.
        features: Columns kept.
        left_out: Columns left out.
        types: Types that the pipeline file states, by column.
        quarantined: Share of the sample's rows that the proposed suite moves to quarantine.
    """

    wish: Wish
    place: Place
    sample: Sample
    frame: pd.DataFrame
    target: Target
    entity: str
    time: TimeKind | None
    calendar: Calendar | None
    features: tuple[Feature, ...]
    left_out: tuple[LeftOut, ...]
    types: dict[str, ColumnType]
    quarantined: float

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column of the data, as it was found."""
        return tuple(inspect(self.frame[name]) for name in self.frame.columns)

    @property
    def has_hours(self) -> bool:
        """Whether event times are more than dates."""
        if self.time in (None, "year", "date"):
            return False
        return self.time == "text" or not inspect(self.frame[self.wish.time]).is_date

    @property
    def is_small(self) -> bool:
        """Whether a random forest is quick."""
        return self.sample.rows < SMALL

    @property
    def is_imbalanced(self) -> bool:
        """Whether one of two classes is rare."""
        return self.target.task == "binary" and self.target.rarest < RARE


def propose(wish: Wish, place: Place, sample: Sample) -> Proposal:
    """Choose task, keys, partition, columns and types.

    Raises:
        SourceError: If a named column does not exist or does not fit its role.
    """
    _check_columns(wish, place, sample)
    frame = to_frame(sample.table)
    columns = {str(name): inspect(frame[name]) for name in frame.columns}
    target = choose_target(frame[wish.target], columns[wish.target], wish.positive)
    moments, time = _moments(wish.time, sample, frame, columns)
    if moments is not None:
        check_years(_arrow(moments), f"--time {wish.time}")
    known_at = None
    if wish.known_at is not None:
        known_at, _ = _moments(wish.known_at, sample, frame, columns, optional=True)
    entity = _entity(wish, place, frame, columns, moments)
    calendar = None
    if moments is not None:
        calendar = choose_calendar(
            moments,
            target.labels,
            known_at,
            finest=_finest(moments, time),
            rows=sample.rows,
            wanted=wish.partition,
        )
    keys = {wish.target, entity, *filter(None, (wish.time, wish.known_at))}
    features, left_out = _features(frame, columns, keys, target, moments, calendar)
    if not features and time in (None, "year"):
        raise SourceError(
            f"pipeline {wish.name}: at least one column must be usable as a feature, got none of "
            f"{len(columns)}. Bring more columns."
        )
    bad = pd.Series(False, index=frame.index)
    if sample.text is not None:
        bad |= sample.text.unparsed.to_numpy(zero_copy_only=False)
    bad |= frame[wish.target].isin(target.strays)
    if entity in frame:
        bad |= frame[entity].isna() | _repeated(frame[entity], moments)
    return Proposal(
        wish,
        place,
        sample,
        frame,
        target,
        entity,
        time,
        calendar,
        features,
        left_out,
        _types(sample, columns, {entity, *_exact(wish, target)}),
        float(bad.mean()),
    )


def _check_columns(wish: Wish, place: Place, sample: Sample) -> None:
    if sample.table.num_rows == 0:
        raise SourceError(f"pipeline {wish.name}: the data must hold rows, got none.")
    names = sample.table.column_names
    for option in ("target", "time", "entity", "known_at"):
        name = getattr(wish, option)
        if name is not None and name not in names:
            raise SourceError(
                f"--{option.replace('_', '-')} {name}: must be a column of the data"
                f"{nearest(name, names)}"
            )
    for option in ("time", "entity"):
        name = getattr(wish, option)
        if name is not None and not may_be_key(name):
            raise SourceError(
                f"--{option} {name}: must not be a column that Relevo adds beside it "
                f"({', '.join(BESIDE_KEYS)}), got {name!r}. Rename the column."
            )
    if wish.time is None and wish.known_at is not None:
        raise SourceError("--known-at: needs --time. Name the column with the time of the row.")
    if wish.time is None and wish.partition not in (None, Frequency.NONE):
        raise SourceError(f"--partition {wish.partition}: needs --time. Name its column.")
    if wish.time is not None and wish.partition is Frequency.NONE:
        raise SourceError("--partition none: is for data without --time. Leave one of them out.")
    roles = [wish.target, wish.time, wish.entity, wish.known_at]
    twice = {name for name in roles if name is not None and roles.count(name) > 1}
    if twice:
        raise SourceError(f"column {', '.join(twice)}: must have one role only. Correct the names.")


def _exact(wish: Wish, target: Target) -> set[str]:
    """Name the columns whose numbers must stay whole: times, and the target if it is a class."""
    classes = wish.target if target.task != "regression" else None
    return {name for name in (wish.time, wish.known_at, classes) if name is not None}


def _types(
    sample: Sample, columns: dict[str, Column], exact: Collection[str]
) -> dict[str, ColumnType]:
    """Name the types that the pipeline file states; of other numbers a later 2.5 is no error."""
    is_text = sample.text is not None
    return {
        name: "number"
        if is_text and kind == "integer" and name not in exact and not columns[name].is_long
        else kind
        for name, kind in sample.types.items()
    }


def _moments(
    name: str | None,
    sample: Sample,
    frame: pd.DataFrame,
    columns: dict[str, Column],
    *,
    optional: bool = False,
) -> tuple[pd.Series | None, TimeKind | None]:
    if name is None:
        return None, None
    column = columns[name]
    if column.missing and not optional:
        raise SourceError(
            f"--time {name}: must be set in every row, got {column.missing} without. Leave those "
            "rows out of the data, or name another column."
        )
    if column.kind == "moment":
        moments = frame[name]
        is_date = pa.types.is_date(sample.table[name].type)
        return moments, "date" if is_date else "moment"
    values = (
        frame[name].astype("Int64") if column.kind == "number" and column.whole else frame[name]
    )
    held = pa.chunked_array([pa.array(values.dropna(), from_pandas=True)])
    read = to_series(to_moments(held, f"--{'known-at' if optional else 'time'} {name}"))
    moments = pd.Series(read.to_numpy(), index=values.dropna().index, name=name).reindex(
        frame.index
    )
    return moments, "year" if column.kind == "number" else "text"


def _arrow(moments: pd.Series) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(moments.astype("datetime64[us]"), MOMENT)])


def _finest(moments: pd.Series, time: TimeKind | None) -> Frequency:
    if time == "year":
        return Frequency.YEARLY
    return Frequency.DAILY if (moments == moments.dt.normalize()).all() else Frequency.HOURLY


def _entity(
    wish: Wish,
    place: Place,
    frame: pd.DataFrame,
    columns: dict[str, Column],
    moments: pd.Series | None,
) -> str:
    roles = {wish.target, wish.time, wish.known_at}
    if wish.entity is not None:
        repeated = _repeated(frame[wish.entity], moments)
        bad = int((repeated | frame[wish.entity].isna()).sum())
        if bad > _TOLERATED * len(frame):
            raise SourceError(
                f"--entity {wish.entity}: must identify a row, got {bad} of {len(frame)} rows "
                "that share it or lack it. Name another column, or leave it out: Relevo then "
                "numbers the rows."
            )
        return wish.entity
    keys = [column for column in columns.values() if column.looks_like_key]
    found = [column.name for column in keys if column.name not in roles and may_be_key(column.name)]
    if not found and place.query is not None:
        raise SourceError(
            "--entity: is needed for a query, whose rows come in no order, got no column that "
            "looks like a key. Name the column that identifies a row."
        )
    if not found and any(name.lower() == ROW_ID for name in columns):
        raise SourceError(
            f"column {ROW_ID}: must identify a row, because Relevo numbers rows under that name, "
            "got values that do not. Rename the column, or name another one by --entity."
        )
    return found[0] if found else ROW_ID


def _repeated(entities: pd.Series, moments: pd.Series | None) -> pd.Series:
    """Mark rows that share their entity, with another row of the same day if there are times."""
    keys = {"entity": entities}
    if moments is not None:
        keys["day"] = moments.dt.normalize()
    return pd.DataFrame(keys).duplicated(keep=False) & entities.notna()


def _features(
    frame: pd.DataFrame,
    columns: dict[str, Column],
    keys: set[str],
    target: Target,
    moments: pd.Series | None,
    calendar: Calendar | None,
) -> tuple[tuple[Feature, ...], tuple[LeftOut, ...]]:
    kept: list[Feature] = []
    left_out: list[LeftOut] = []
    others = [column for column in columns.values() if column.name not in keys]
    disguises = find_disguises(frame, [c for c in others if c.distinct > 1], target)
    for column in others:
        reason = _reason(column, disguises, frame, moments)
        if reason:
            left_out.append(LeftOut(column.name, reason))
        else:
            kept.append(Feature(column, _review(column, target, disguises.get(column.name))))
    return tuple(kept), tuple(left_out)


def _reason(
    column: Column, disguises: dict[str, Disguise], frame: pd.DataFrame, moments: pd.Series | None
) -> str:
    """Say why a column is left out; '' if it is kept."""
    if column.distinct <= 1:
        return "constant" if column.distinct else "empty"
    disguise = disguises.get(column.name)
    if disguise is not None and disguise.is_sure:
        return f"looks like the target in disguise: review ({disguise.reason})"
    if column.kind == "moment":
        role = "" if moments is not None else f"if the row came then, --time {column.name}; else "
        return f"a time: {role}turn it into a duration if it is known when the row comes"
    if column.looks_like_key:
        return "a key: every row has its own value"
    if column.is_long:
        return "an identifier: whole numbers of more than 15 digits"
    if column.is_text:
        return f"free text: {column.distinct:,} different values in {column.rows:,} rows"
    if moments is not None and column.kind == "string" and _follows(frame[column.name], moments):
        return "follows the calendar: new times bring new values"
    return ""


def _follows(values: pd.Series, moments: pd.Series) -> bool:
    """Tell whether values are names of times: each comes for a while and never again."""
    ordered = values.iloc[moments.argsort(kind="stable")].dropna()
    changes = int((ordered != ordered.shift()).sum())
    levels = ordered.nunique()
    return levels >= 3 and changes <= 2 * levels


def _review(column: Column, target: Target, disguise: Disguise | None) -> str:
    if disguise is not None:
        return f"review: {disguise.reason}; is it known before the target is?"
    if target.column.lower() in column.name.lower():
        return f"review: its name holds {target.column}; is it known before the target is?"
    if column.kind == "number" and column.whole and 2 < column.distinct <= MOST_CODES:
        return f"review: {column.distinct} whole numbers, perhaps codes"
    return ""
