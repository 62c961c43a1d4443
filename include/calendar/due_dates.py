"""When runs are due: the dates of a cron expression, in UTC and naive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta


def due_dates(cron: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """Walk over the dates from ``first`` to ``last``, both included; none if ``first`` is later."""
    from croniter import croniter_range

    if first <= last:  # else croniter walks backwards
        yield from croniter_range(first, last, cron)


def next_due(
    cron: str,
    earliest: datetime,
    end: datetime = datetime.max,
    *,
    last: datetime | None,
    now: datetime | None,
    catch_up: int,
) -> datetime | None:
    """Name the date of the next run; None if there is none.

    Runs follow each other in order. Of those that were missed, the latest that is due is made, and
    before it the ``catch_up`` ones that precede it. History is no missed run: where none was made
    yet, the first is the latest that is due, and a schedule that is over starts nothing.

    Args:
        cron: Cron expression of five fields.
        earliest: First moment at which a run may be due.
        end: Last moment at which one may be due.
        last: Date of the latest run; None if none was made yet.
        now: The present moment; None to walk through all dates, however long ago they were.
        catch_up: How many missed runs are made up for, >= 0.
    """
    from croniter import CroniterBadDateError, croniter

    def after(moment: datetime) -> datetime:
        found: datetime = croniter(cron, moment).get_next(datetime)
        return found

    def before(moment: datetime) -> datetime:
        found: datetime = croniter(cron, moment).get_prev(datetime)
        return found

    try:
        due = after(earliest - timedelta.resolution)
        if last is not None:
            due = max(due, after(last))
        if now is not None:
            oldest = before(now + timedelta.resolution)
            if oldest > end:
                return None
            left = 0 if last is None else catch_up
            while left and oldest > due:
                oldest = before(oldest)
                left -= 1
            due = max(due, oldest)
    except CroniterBadDateError:
        return None
    return due if due <= end else None
