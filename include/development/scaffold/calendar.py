"""How often a pipeline runs, and on how much it learns, from the times in a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from include.calendar.moments import to_moments
from include.calendar.partitions import LAST_YEAR, Frequency, Partition, containing
from include.errors import SourceError
from include.specification.sections.schedule import Schedule
from include.specification.sections.training import Training
from include.storage.data_frames import to_series

FINEST_FIRST = (
    Frequency.HOURLY,
    Frequency.DAILY,
    Frequency.WEEKLY,
    Frequency.MONTHLY,
    Frequency.QUARTERLY,
    Frequency.YEARLY,
)
_UNITS = {
    Frequency.HOURLY: "h",
    Frequency.DAILY: "D",
    Frequency.MONTHLY: "M",
    Frequency.YEARLY: "Y",
}
# The run comes some time after the partition has closed, when its data have landed.
_CRONS = {
    Frequency.HOURLY: "15 * * * *",
    Frequency.DAILY: "0 6 * * *",
    Frequency.WEEKLY: "0 6 * * 1",
    Frequency.MONTHLY: "0 6 2 * *",
    Frequency.QUARTERLY: "0 6 5 1,4,7,10 *",
    Frequency.YEARLY: "0 6 5 1 *",
}
# Partitions to learn from, and how many of them only judge.
_WINDOWS = {
    Frequency.HOURLY: (168, 24),
    Frequency.DAILY: (28, 7),
    Frequency.WEEKLY: (26, 4),
    Frequency.MONTHLY: (12, 2),
    Frequency.QUARTERLY: (8, 2),
    Frequency.YEARLY: (5, 1),
}
ENOUGH_ROWS = 500
ENOUGH_PARTITIONS = 6
FEWEST_PARTITIONS = 4
# Held-out partitions must hold this many rows of either class to judge a model.
ENOUGH_OF_CLASS = 30
_STRAY = 0.05
# Share of a partition's labels that a training asks for unless the pipeline file says otherwise.
COVERAGE: float = Training.model_fields["coverage"].default


@dataclass(frozen=True)
class Calendar:
    """The rhythm of a pipeline.

    Args:
        frequency: Length of a partition.
        partitions: Partitions of the sample, without strays before and after.
        median_rows: Rows of the median partition, all rows of the data counted.
        window: Partitions that a training sees.
        holdout: How many of them only judge.
        coverage: Share of a partition's rows whose label must be known; None for the default.
        schedule: When scoring runs; it ends if the data ended long ago.
        first: First partition that can be scored.
    """

    frequency: Frequency
    partitions: int
    median_rows: int
    window: int
    holdout: int
    coverage: float | None
    schedule: Schedule
    first: Partition


def choose_calendar(
    moments: pd.Series,
    labels: pd.Series,
    known_at: pd.Series | None,
    *,
    finest: Frequency,
    rows: int,
    wanted: Frequency | None = None,
    today: date | None = None,
) -> Calendar:
    """Choose partition, window and schedule.

    The partition is the finest whose median holds 500 rows, if there are six of them and, for two
    classes, nine in ten hold 30 rows of the rarer one.

    Args:
        moments: Event times, naive UTC, shape (n_rows,).
        labels: What a model is asked for; 0 and 1 as float for two classes.
        known_at: When each label became known; None means with the row.
        finest: Finest partition that the times can tell apart.
        rows: Rows in all, of which the sample may be a part.
        wanted: The partition that a person asked for.
        today: Day from which data count as past; today if None.

    Raises:
        SourceError: If the times give fewer than four partitions, or labels come too late.
    """
    subject = f"time {moments.name}"
    if known_at is not None:  # without a time, or with one such as 9999-12-31, it never is
        labels = labels.where(known_at < datetime(LAST_YEAR + 1, 1, 1))
    scale = rows / max(1, len(moments))
    settled = _settled(moments, labels, known_at)
    frequency = wanted or _frequency(subject, moments, labels.where(settled), finest, scale)
    counts = _counts(moments, frequency)
    if len(counts) < FEWEST_PARTITIONS:
        longest = _longest(moments, FINEST_FIRST[FINEST_FIRST.index(finest) :])
        shorter = f"Choose --partition {longest}" if longest else "Bring more data"
        raise SourceError(
            f"{subject}: must give at least {FEWEST_PARTITIONS} {frequency} partitions (the "
            f"smallest training.window is {FEWEST_PARTITIONS - 1}, and one more is scored), got "
            f"{len(counts)}. {shorter}, or leave --time out: the data are then snapshots."
        )
    names = [_partition(start, frequency) for start in counts.index]
    partition = _starts(moments, frequency)
    whole = settled.groupby(partition).all()[counts.index]
    known_share = labels.notna().groupby(partition).mean()[whole[whole].index]
    coverage = None
    if len(known_share) and known_share.quantile(0.1) < COVERAGE:
        coverage = max(0.05, round(float(known_share.quantile(0.1)) * 0.9, 2))
    window, holdout = _WINDOWS[frequency]
    window = max(3, min(window, len(names) // 2))
    holdout = min(holdout, max(1, window // 4))
    matured = _matured(
        *(moments, labels, known_at, frequency, names, counts.index),
        coverage=COVERAGE if coverage is None else coverage,
    )
    first = _first_scored(subject, names, matured, window)
    while first is None and window > 3:
        window -= 1
        holdout = min(holdout, max(1, window // 4))
        first = _first_scored(subject, names, matured, window)
    if first is None:
        raise SourceError(
            f"{subject}: labels of at least 3 partitions must be known before the last one closes "
            f"({names[-1]}), got fewer. Bring more data, or check --known-at."
        )
    schedule = _schedule(frequency, first, names[-1], today or datetime.now(UTC).date())
    median = int(counts.median() * scale)
    return Calendar(frequency, len(names), median, window, holdout, coverage, schedule, first)


def varying_parts(times: pd.Series) -> frozenset[str]:
    """Name the parts of times that differ between rows: ``hour``, ``weekday``, ``month``.

    Args:
        times: Event times as they stand in the data: moments, dates or text; shape (n_rows,).
    """
    held = times.dropna()
    if not pd.api.types.is_datetime64_any_dtype(held):
        values = pa.chunked_array([pa.array(held, from_pandas=True)])
        held = to_series(to_moments(values, f"time {times.name}"))
    parts = {"hour": held.dt.hour, "weekday": held.dt.dayofweek, "month": held.dt.month}
    return frozenset(name for name, values in parts.items() if values.nunique() > 1)


def _frequency(
    subject: str, moments: pd.Series, labels: pd.Series, finest: Frequency, scale: float
) -> Frequency:
    possible = FINEST_FIRST[FINEST_FIRST.index(finest) :]
    counts = {frequency: _counts(moments, frequency) * scale for frequency in possible}
    for frequency in possible:
        enough = counts[frequency].median() >= ENOUGH_ROWS
        if (
            enough
            and len(counts[frequency]) >= ENOUGH_PARTITIONS
            and _holds_both(moments, labels, frequency, counts[frequency].index, scale)
        ):
            return frequency
    for least in (ENOUGH_PARTITIONS, FEWEST_PARTITIONS):
        for frequency in reversed(possible):
            if len(counts[frequency]) >= least:
                return frequency
    raise SourceError(
        f"{subject}: must give at least {FEWEST_PARTITIONS} partitions, got "
        f"{len(counts[possible[0]])} {possible[0]}. Bring more data, or leave --time out: the "
        "data are then snapshots."
    )


def _longest(moments: pd.Series, possible: Sequence[Frequency]) -> Frequency | None:
    """Name the longest partition of which there are enough to begin with."""
    for frequency in reversed(possible):
        if len(_counts(moments, frequency)) >= FEWEST_PARTITIONS:
            return frequency
    return None


def _holds_both(
    moments: pd.Series,
    labels: pd.Series,
    frequency: Frequency,
    starts: pd.Index,
    scale: float,
) -> bool:
    if labels.dtype != "float64" or set(labels.dropna().unique()) != {0.0, 1.0}:
        return True
    rarer = 1.0 if labels.mean() <= 0.5 else 0.0
    at = _starts(moments, frequency)
    held = (labels == rarer).groupby(at).sum()[starts] * scale
    # Labels that are still to come tell nothing of their partition.
    held = held[labels.groupby(at).count()[starts] > 0]
    return bool(held.quantile(0.1) >= ENOUGH_OF_CLASS)


def _starts(moments: pd.Series, frequency: Frequency) -> pd.Series:
    """Give the first moment of each row's partition, datetime64[us] (pandas' periods end in 2262).

    Numpy's units cut at their beginning, before 1970 as well.
    """
    at = moments.to_numpy("datetime64[us]")
    match frequency:
        case Frequency.WEEKLY:  # 1970-01-01 was a Thursday
            monday = (at.astype("datetime64[D]").astype("int64") + 3) // 7 * 7 - 3
            starts = monday.astype("datetime64[D]")
        case Frequency.QUARTERLY:
            quarter = at.astype("datetime64[M]").astype("int64") // 3 * 3
            starts = quarter.astype("datetime64[M]")
        case _:
            starts = at.astype(f"datetime64[{_UNITS[frequency]}]")
    return pd.Series(starts.astype("datetime64[us]"), index=moments.index, name=moments.name)


def _counts(moments: pd.Series, frequency: Frequency) -> Any:
    """Count rows by partition start; stray partitions at both ends are left out."""
    counts: Any = _starts(moments, frequency).value_counts().sort_index()
    full = counts[counts >= _STRAY * counts.median()]
    return counts[full.index[0] : full.index[-1]]


def _partition(start: pd.Timestamp, frequency: Frequency) -> Partition:
    return containing(start.to_pydatetime(), frequency)


def _matured(
    moments: pd.Series,
    labels: pd.Series,
    known_at: pd.Series | None,
    frequency: Frequency,
    names: Sequence[Partition],
    starts: pd.Index,
    coverage: float,
) -> list[datetime]:
    """Say when as many labels of each partition were known as a training asks for."""
    if known_at is None:
        return [name.start for name in names]
    partition = _starts(moments, frequency)
    known = known_at[labels.notna()].groupby(partition)
    # As training counts: rows whose label never comes are rows.
    share = known.rank(method="first") / partition.map(partition.value_counts())
    reached = known_at[share >= coverage].groupby(partition).min().reindex(starts)
    return [
        datetime.max if pd.isna(at) else max(name.start, at.to_pydatetime())
        for name, at in zip(names, reached, strict=True)
    ]


def _settled(moments: pd.Series, labels: pd.Series, known_at: pd.Series | None) -> pd.Series:
    """Mark the rows whose label has had the time that labels take to come."""
    held = labels.notna()
    settled: pd.Series
    if known_at is None:
        settled = moments <= moments[held].max()
    else:
        reach = max(moments.max(), known_at[held].max())
        settled = moments + (known_at - moments)[held].quantile(0.99) <= reach
    return settled


def _first_scored(
    subject: str, names: Sequence[Partition], matured: Sequence[datetime], window: int
) -> Partition | None:
    """Find the partition after the first one as of which a window of partitions is mature."""
    for name in names[:-1]:
        if sum(at < name.end for at in matured) >= window:
            return name.shift(1)
    return None


def _schedule(frequency: Frequency, first: Partition, last: Partition, today: date) -> Schedule:
    from croniter import croniter

    cron = _CRONS[frequency]
    is_midnight = first.end == datetime(first.end.year, first.end.month, first.end.day)
    start = first.end.date() if is_midnight else first.end.date() + timedelta(days=1)
    due = croniter(cron, last.end - timedelta(seconds=1)).get_next(datetime)
    ended = last.shift(2).end.date() < today - timedelta(days=31)
    end = max(due.date(), start + timedelta(days=1)) if ended else None
    return Schedule(cron=cron, start=start, end=end)
