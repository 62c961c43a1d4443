"""The schedule as Airflow's scheduler, its backfills and its pages ask for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.types import DagRunType

from relevo import timetables
from relevo.timetables import DueDatesTimetable

# Airflow reads .airflowignore with a class that its own dependency deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
Clock = Callable[[str], datetime]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the time of day that timetables see."""

    def put(moment: str) -> datetime:
        now = datetime.fromisoformat(moment).replace(tzinfo=UTC)

        class Stopped(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return now

        monkeypatch.setattr(timetables, "datetime", Stopped)
        return now

    return put


def stored(timetable: DueDatesTimetable, start: str = "2005-01-01") -> Any:
    """Make a DAG and read it as the scheduler does."""
    with DAG("p_score", schedule=timetable, start_date=pendulum.parse(start), catchup=False) as dag:
        pass
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


class Scheduler:
    """What Airflow's scheduler and dag-processor do with one DAG, by their own function."""

    def __init__(self, dag: Any) -> None:
        self.dag = dag
        self.model = DagModel(dag_id=dag.dag_id)
        self.runs: list[DagRun] = []

    def parse(self) -> None:
        """Look at the file again, as after a start."""
        latest = max(self.runs, key=lambda run: run.logical_date, default=None)
        self.model.calculate_dagrun_date_fields(self.dag, reference_run=latest)

    def tick(self, now: datetime) -> list[str]:
        """Make the runs that are due; returns their dates."""
        made = []
        while (due := self.model.next_dagrun_create_after) is not None and due <= now:
            made.append(due.strftime("%Y-%m-%d"))
            self.ran(self.model.next_dagrun, DagRunType.SCHEDULED)
            self.model.calculate_dagrun_date_fields(self.dag, reference_run=self.runs[-1])
        return made

    def ran(self, moment: datetime, kind: DagRunType) -> None:
        """Have a run of a date."""
        at = pendulum.instance(moment)
        self.runs.append(
            DagRun(
                dag_id=self.dag.dag_id,
                run_type=kind,
                logical_date=at,
                run_after=at,
                data_interval=(at, at),
            )
        )


class TestScheduler:
    def test_unpausing_a_dag_whose_start_is_long_ago_makes_one_run(self, clock: Clock) -> None:
        scheduler = Scheduler(stored(DueDatesTimetable("0 6 * * *", end=None, catch_up=24)))
        now = clock("2026-03-09 07:00")
        scheduler.parse()
        assert scheduler.tick(now) == ["2026-03-09"]
        assert scheduler.model.next_dagrun == datetime(2026, 3, 10, 6, tzinfo=UTC)

    @pytest.mark.parametrize("parsed", [True, False])
    @pytest.mark.parametrize("end", [None, date(2026, 12, 31)])
    def test_an_outage_of_five_periods(self, clock: Clock, end: date | None, parsed: bool) -> None:
        scheduler = Scheduler(stored(DueDatesTimetable("0 6 * * *", end=end, catch_up=24)))
        now = clock("2026-03-09 07:00")
        scheduler.parse()
        scheduler.tick(now)
        now = clock("2026-03-14 07:00")
        if parsed:  # whichever part comes back first
            scheduler.parse()
        missed = [f"2026-03-{day}" for day in range(10, 15)]
        assert scheduler.tick(now) == missed
        assert scheduler.tick(now) == []
        assert scheduler.tick(clock("2026-03-15 06:00")) == ["2026-03-15"]

    def test_a_longer_one_is_made_up_for_as_far_as_the_file_says(self, clock: Clock) -> None:
        scheduler = Scheduler(stored(DueDatesTimetable("0 6 * * *", end=None, catch_up=2)))
        scheduler.ran(datetime(2026, 3, 1, 6, tzinfo=UTC), DagRunType.SCHEDULED)
        now = clock("2026-03-14 07:00")
        scheduler.parse()
        assert scheduler.tick(now) == ["2026-03-12", "2026-03-13", "2026-03-14"]

    def test_nothing_is_made_up_for_if_the_file_says_so(self, clock: Clock) -> None:
        scheduler = Scheduler(stored(DueDatesTimetable("0 6 * * *", end=None, catch_up=0)))
        scheduler.ran(datetime(2026, 3, 1, 6, tzinfo=UTC), DagRunType.SCHEDULED)
        now = clock("2026-03-14 07:00")
        scheduler.parse()
        assert scheduler.tick(now) == ["2026-03-14"]

    def test_a_replay_of_history_starts_nothing_else(self, clock: Clock) -> None:
        history = DueDatesTimetable("0 6 5 1,4,7,10 *", end=date(2009, 1, 31), catch_up=24)
        scheduler = Scheduler(stored(history))
        now = clock("2009-06-01 00:00")
        scheduler.parse()
        assert scheduler.model.next_dagrun is None
        scheduler.ran(datetime(2005, 4, 5, 6, tzinfo=UTC), DagRunType.BACKFILL_JOB)
        scheduler.parse()
        assert scheduler.tick(now) == []


class TestAskedByOthers:
    @pytest.mark.parametrize(("end", "count"), [(None, 5), (date(2005, 12, 31), 4)])
    def test_a_backfill_gets_every_date_of_its_range(self, end: date | None, count: int) -> None:
        dag = stored(DueDatesTimetable("0 6 5 1,4,7,10 *", end=end, catch_up=0))
        first, last = datetime(2004, 1, 1, tzinfo=UTC), datetime(2006, 1, 6, tzinfo=UTC)
        found = list(dag.iter_dagrun_infos_between(datetime(2005, 1, 5, 6, tzinfo=UTC), last))
        assert len(found) == count
        assert found[0].run_after == datetime(2005, 1, 5, 6, tzinfo=UTC)
        # An instant is no slice of time: a run names its partition by its date alone.
        assert found[0].data_interval.start == found[0].data_interval.end == found[0].run_after
        assert len(list(dag.iter_dagrun_infos_between(first, last))) == count + 4

    def test_a_run_that_a_person_triggers(self) -> None:
        at = pendulum.datetime(2026, 3, 9, 12, 34)
        timetable = DueDatesTimetable("0 6 * * *", end=None, catch_up=3)
        assert timetable.infer_manual_data_interval(run_after=at) == (at, at)

    def test_it_is_stored_and_told(self) -> None:
        live = stored(DueDatesTimetable("0 6 * * *", end=None, catch_up=3)).timetable
        assert (live.cron, live.end, live.catch_up) == ("0 6 * * *", None, 3)
        assert (live.summary, live.description) == ("0 6 * * *", "At 06:00")
        over = stored(DueDatesTimetable("0 6 * * *", end=date(2009, 1, 31), catch_up=0)).timetable
        assert (over.end, over.catch_up) == (date(2009, 1, 31), 0)
        assert over.summary == "0 6 * * * until 2009-01-31"
        assert over.description == "At 06:00, until 2009-01-31"

    def test_a_dag_without_a_start_goes_on_from_its_last_run(self, clock: Clock) -> None:
        now = clock("2026-03-09 07:00")
        scheduler = Scheduler(stored(DueDatesTimetable("0 6 * * *", end=None, catch_up=3)))
        scheduler.dag.start_date = None
        scheduler.ran(now - timedelta(days=1), DagRunType.SCHEDULED)
        scheduler.parse()
        assert scheduler.tick(now) == ["2026-03-09"]
