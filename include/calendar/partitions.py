"""The calendar of partitions, and which partition a run is about.

A partition is a closed slice of time with a name: ``2005``, ``2005-Q3``, ``2005-07``,
``2005-W27``, ``2005-07-14``, ``2005-07-14T06``. Times are UTC and naive. Partitions have the years
1000 to 9998: a time outside stands for "never" or "always", and the end of a partition of 9999 is
no moment that Python, Spark or a database could hold.

Data without a time come in numbered snapshots instead: ``snapshot-0001``, ``snapshot-0002``, ...
So that they have an order and a close like every other partition, snapshot n stands for the n-th
day of an axis that begins on 1970-01-01; nobody sees its dates.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from include.errors import PartitionError


class Frequency(enum.StrEnum):
    """How long one partition is."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"
    NONE = "none"


_EXAMPLES = {
    Frequency.HOURLY: "2005-07-14T06",
    Frequency.DAILY: "2005-07-14",
    Frequency.WEEKLY: "2005-W27",
    Frequency.MONTHLY: "2005-07",
    Frequency.QUARTERLY: "2005-Q3",
    Frequency.YEARLY: "2005",
    Frequency.NONE: "snapshot-0001",
}
_PATTERNS = {
    Frequency.HOURLY: re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2})"),
    Frequency.DAILY: re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})"),
    Frequency.WEEKLY: re.compile(r"([0-9]{4})-W([0-9]{2})"),
    Frequency.MONTHLY: re.compile(r"([0-9]{4})-([0-9]{2})"),
    Frequency.QUARTERLY: re.compile(r"([0-9]{4})-Q([1-4])"),
    Frequency.YEARLY: re.compile(r"([0-9]{4})"),
    Frequency.NONE: re.compile(r"snapshot-([0-9]{4})"),
}
_FIRST_DAY = datetime(1970, 1, 1)
FIRST_YEAR, LAST_YEAR = 1000, 9998


@dataclass(frozen=True, order=True)
class Partition:
    """One slice of time, ``[start, end)``; orders by time, prints as its name.

    Args:
        start: First moment of the slice, naive UTC.
        frequency: Length of the slice.
    """

    start: datetime
    frequency: Frequency

    @property
    def end(self) -> datetime:
        """The moment the partition closed: first moment that is no longer in it.

        Raises:
            PartitionError: If that would be after the year 9999.
        """
        return _advance(self.start, self.frequency, 1)

    def shift(self, steps: int) -> Partition:
        """Name the partition ``steps`` later (earlier if negative).

        Raises:
            PartitionError: If it would lie outside the years 1 to 9999.
        """
        return Partition(_advance(self.start, self.frequency, steps), self.frequency)

    def __str__(self) -> str:
        """Render the name, e.g. ``2005-Q3``."""
        start = self.start
        # Not %Y and %G, which do not pad years below 1000 everywhere.
        match self.frequency:
            case Frequency.HOURLY:
                return start.isoformat()[:13]
            case Frequency.DAILY:
                return start.isoformat()[:10]
            case Frequency.WEEKLY:
                year, week, _ = start.isocalendar()
                return f"{year:04d}-W{week:02d}"
            case Frequency.MONTHLY:
                return start.isoformat()[:7]
            case Frequency.QUARTERLY:
                return f"{start.year:04d}-Q{(start.month + 2) // 3}"
            case Frequency.YEARLY:
                return f"{start.year:04d}"
            case Frequency.NONE:
                return f"snapshot-{(start - _FIRST_DAY).days:04d}"


def example(frequency: Frequency) -> str:
    """Show how partitions of a frequency are named."""
    return _EXAMPLES[frequency]


def snapshot(number: int) -> Partition:
    """Name the ``number``-th snapshot of data without a time, from 1 to 9999.

    Raises:
        PartitionError: If the number is out of range.
    """
    if not 1 <= number <= 9999:
        raise PartitionError(
            f"snapshot {number}: its number must lie between 1 and 9999, got {number}. "
            "Start a new pipeline for more."
        )
    return Partition(_FIRST_DAY + timedelta(days=number), Frequency.NONE)


def parse(name: str, frequency: Frequency) -> Partition:
    """Read a partition name.

    Raises:
        PartitionError: If the name is not one of this frequency's, or of a year before 1000 or
            after 9998.
    """
    match = _PATTERNS[frequency].fullmatch(name)
    try:
        if match is None:
            raise ValueError("unknown form")
        parts = [int(group) for group in match.groups()]
        match frequency:
            case Frequency.WEEKLY:
                start = datetime.fromisocalendar(parts[0], parts[1], 1)
            case Frequency.QUARTERLY:
                start = datetime(parts[0], 3 * parts[1] - 2, 1)
            case Frequency.NONE:
                return snapshot(parts[0])
            case _:
                year, month, day, hour = (*parts, *(1, 1, 1, 0)[len(parts) :])
                start = datetime(year, month, day, hour)
    except ValueError as error:
        raise PartitionError(
            f"partition {name!r}: a {_called(frequency)} reads like "
            f"{_EXAMPLES[frequency]!r}, got {name!r}. Name a partition of that form."
        ) from error
    if not FIRST_YEAR <= parts[0] <= LAST_YEAR:
        raise PartitionError(
            f"partition {name!r}: years must be {FIRST_YEAR} to {LAST_YEAR}, got {parts[0]}. "
            "Name a partition of those years."
        )
    return Partition(start, frequency)


def _called(frequency: Frequency) -> str:
    return "snapshot" if frequency is Frequency.NONE else f"{frequency} partition"


def containing(moment: datetime, frequency: Frequency) -> Partition:
    """Name the partition that a moment falls into (aware moments are taken to UTC first).

    Any moment falls into one; only those of the years 1000 to 9998 are landed and run.

    Raises:
        PartitionError: If partitions are snapshots: no moment falls into one.
    """
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    day = datetime(moment.year, moment.month, moment.day)
    match frequency:
        case Frequency.HOURLY:
            start = day + timedelta(hours=moment.hour)
        case Frequency.DAILY:
            start = day
        case Frequency.WEEKLY:
            start = day - timedelta(days=day.weekday())
        case Frequency.MONTHLY:
            start = day.replace(day=1)
        case Frequency.QUARTERLY:
            start = datetime(day.year, 3 * ((day.month - 1) // 3) + 1, 1)
        case Frequency.YEARLY:
            start = datetime(day.year, 1, 1)
        case Frequency.NONE:
            raise PartitionError(
                f"moment {moment}: a pipeline with `partition: none` has snapshots, got a time. "
                "Name the snapshot, e.g. 'snapshot-0001'."
            )
    return Partition(start, frequency)


def latest_closed(moment: datetime, frequency: Frequency) -> Partition:
    """Name the latest partition that had closed at a moment."""
    return containing(moment, frequency).shift(-1)


def span(first: Partition, last: Partition) -> Iterator[Partition]:
    """Walk from ``first`` to ``last``, both included; nothing if ``first`` is later."""
    current = first
    while current < last:
        yield current
        current = current.shift(1)
    if current == last:
        yield last


def of_run(
    frequency: Frequency,
    *,
    requested: str | None = None,
    partition_key: str | None = None,
    logical_date: datetime | None = None,
    now: datetime | None = None,
) -> Partition:
    """Decide which partition a run is about.

    In this order: the partition that a person asked for (the run's ``partition`` parameter),
    the key of the partitioned asset event that started the run, the latest partition that was
    closed at the logical date.

    Args:
        frequency: What the pipeline's partitions are.
        requested: Name that a person gave.
        partition_key: Key of the event.
        logical_date: Of the run, aware.
        now: The present moment, naive UTC: a partition that was named must have closed by then.

    Raises:
        PartitionError: If the run carries none of the three, or a name of another form or of a
            partition that has not closed.
    """
    name = requested or partition_key
    if name:
        partition = parse(name, frequency)
        if now is not None and frequency is not Frequency.NONE and partition.end > now:
            raise PartitionError(
                f"partition {partition}: must have closed, got one that ends at {partition.end} "
                "(UTC). Name an earlier one, or run again after that."
            )
        return partition
    if logical_date is None:
        raise PartitionError(
            "run without a partition: it must have a logical date, a partition key or a parameter, "
            f"got none. Trigger it with {{'partition': '{_EXAMPLES[frequency]}'}}."
        )
    return latest_closed(logical_date, frequency)


def _advance(start: datetime, frequency: Frequency, steps: int) -> datetime:
    try:
        match frequency:
            case Frequency.HOURLY:
                return start + timedelta(hours=steps)
            case Frequency.DAILY | Frequency.NONE:
                return start + timedelta(days=steps)
            case Frequency.WEEKLY:
                return start + timedelta(weeks=steps)
            case Frequency.MONTHLY:
                return _add_months(start, steps)
            case Frequency.QUARTERLY:
                return _add_months(start, 3 * steps)
            case Frequency.YEARLY:
                return _add_months(start, 12 * steps)
    except (OverflowError, ValueError) as error:
        raise PartitionError(
            f"partition {Partition(start, frequency)}: the one {steps} later must lie in the "
            f"years 1 to 9999, got none. Name one of the years {FIRST_YEAR} to {LAST_YEAR}."
        ) from error


def _add_months(start: datetime, months: int) -> datetime:
    index = start.year * 12 + start.month - 1 + months
    return start.replace(year=index // 12, month=index % 12 + 1)
