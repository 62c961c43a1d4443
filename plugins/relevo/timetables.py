"""When scoring runs: the dates of the schedule in order, missed ones made up for."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from airflow.timetables.trigger import CronTriggerTimetable

from include.calendar.due_dates import next_due

_ALWAYS = datetime(1000, 1, 1)


class DueDatesTimetable(Timetable):
    """Asks for a run on each date of a cron expression (UTC), the one after the last run first.

    Airflow's own timetables make up for all runs since the DAG's start (``catchup``), or for none:
    then a stack that was down skips what was due meanwhile. With ``catchup=False`` this one makes
    up for the latest ``catch_up`` of them. History stays a backfill: without a run so far the
    latest that is due comes first, and a schedule that is over starts nothing.

    Args:
        cron: Cron expression of five fields.
        end: Last day on which a run may be due; None without one.
        catch_up: How many missed runs, the latest aside, are made up for.
    """

    def __init__(self, cron: str, *, end: date | None, catch_up: int) -> None:
        self.cron = cron
        self.end = end
        self.catch_up = catch_up
        told = CronTriggerTimetable(cron, timezone="UTC").description
        self.description = f"{told}, until {end}" if end else told

    @property
    def summary(self) -> str:
        """What lists of DAGs show."""
        return f"{self.cron} until {self.end}" if self.end else self.cron

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """Name the next run after the last scheduled or backfilled one; None if there is none.

        A backfill asks with ``catchup`` set, and gets every date in its range.
        """
        due = next_due(
            self.cron,
            _naive(restriction.earliest) or _ALWAYS,
            min(self._last(), _naive(restriction.latest) or datetime.max),
            last=_naive(last_automated_data_interval and last_automated_data_interval.end),
            now=None if restriction.catchup else datetime.now(UTC).replace(tzinfo=None),
            catch_up=self.catch_up,
        )
        return None if due is None else DagRunInfo.exact(pendulum.instance(due, tz="UTC"))

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Take a run that a person triggers as one of its own date."""
        return DataInterval.exact(run_after)

    def serialize(self) -> dict[str, Any]:
        """Render as JSON, for the DAG that Airflow stores."""
        return {
            "cron": self.cron,
            "end": self.end and self.end.isoformat(),
            "catch_up": self.catch_up,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Read what :meth:`serialize` gave."""
        end = data["end"] and date.fromisoformat(data["end"])
        return cls(data["cron"], end=end, catch_up=data["catch_up"])

    def _last(self) -> datetime:
        if self.end is None:
            return datetime.max
        return datetime.combine(self.end + timedelta(days=1), time())


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
