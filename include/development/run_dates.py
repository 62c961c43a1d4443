"""On which dates the schedule of a pipeline asks for a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from include.calendar.due_dates import due_dates
from include.specification.pipeline import Pipeline


def run_dates(pipeline: Pipeline, after: datetime | None = None) -> Iterator[datetime]:
    """Walk over the dates on which scoring is due, naive UTC; none without a schedule.

    Args:
        pipeline: The pipeline file.
        after: First moment that counts, naive UTC; the schedule's start if that is later or None.
    """
    schedule = pipeline.schedule
    if schedule is None:
        return
    first = datetime.combine(schedule.start, datetime.min.time())
    # An expression that comes true once in some years must not search forever.
    last = first + timedelta(days=366 * 100)
    if schedule.end is not None:
        last = datetime.combine(schedule.end, datetime.min.time()) + timedelta(days=1)
    yield from due_dates(schedule.cron, max(first, after or first), last)
