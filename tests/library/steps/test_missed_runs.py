"""Runs that are missing, late or broken: in the end every table is that of runs in order."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from include.calendar.due_dates import next_due
from include.calendar.partitions import latest_closed, span
from include.errors import MonitoringError
from include.scoring import batch_scoring
from include.specification.pipeline import Pipeline
from include.steps import monitoring
from include.storage.lake_tables import Lake
from include.storage.settings import StoreSettings
from tests.library.steps.replay import Replay, back_score, quarter

MakePipeline = Callable[..., Pipeline]
# Trained as of 2004-Q4; what had matured by then is the history of the first model.
HISTORY = [str(item) for item in span(quarter("2004-Q1"), quarter("2004-Q4"))]
SCORED = [str(item) for item in span(quarter("2005-Q1"), quarter("2006-Q3"))]
JUDGED = {name: [str(quarter(name).shift(-2))] for name in SCORED}


@pytest.fixture
def world(
    store_settings: StoreSettings, make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Replay]:
    """Make worlds with the same history, and what else is to be prepared; no two share tables."""
    monkeypatch.setattr(batch_scoring, "score", back_score)

    def make(*prepared: str) -> Replay:
        lake = Lake(store_settings, f"p{uuid.uuid4().hex[:12]}")
        replay = Replay(lake, make_pipeline(name=lake.pipeline))
        replay.prepare(*HISTORY, *prepared)
        return replay

    return make


def scheduled(pipeline: Pipeline, looks: list[datetime]) -> list[str]:
    """Name the partitions whose runs the scheduler makes when it is up at these moments."""
    assert pipeline.schedule is not None
    made: list[datetime] = []
    for now in looks:
        while True:
            last = made[-1] if made else None
            schedule = pipeline.schedule
            due = next_due(schedule.cron, datetime(2005, 4, 1), last=last, now=now, catch_up=24)
            if due is None or due > now:
                break
            made.append(due)
    return [str(latest_closed(due, pipeline.partition)) for due in made]


def test_an_outage_of_five_periods_leaves_the_tables_of_a_world_without_it(world: Any) -> None:
    without, outage = world(), world()
    # Up in April of 2005, then down until July of 2006, when five runs are due; up again.
    looks = [(2005, 4), (2006, 7), (2006, 10)]
    names = scheduled(outage.pipeline, [datetime(year, month, 6) for year, month in looks])
    assert names == SCORED
    for replay, order in ((without, SCORED), (outage, names)):
        for name in order:
            replay.run(name)
    assert without.judged() == JUDGED
    assert outage.tables() == without.tables()


class TestMeasuringBroke:
    @pytest.fixture
    def broken(self, world: Any) -> Replay:
        """Nothing was judged in 2005-Q2 and Q3: both runs failed there."""
        replay: Replay = world(*SCORED[:4])
        replay.score(*SCORED[:4])
        replay.measure(SCORED[0])
        return replay

    def test_the_next_run_judges_what_is_left_until_its_own_run_takes_it_over(
        self, broken: Replay
    ) -> None:
        left = ["2004-Q4", "2005-Q1", "2005-Q2"]
        for _ in range(2):  # cleared, it judges the same
            assert broken.measure("2005-Q4") == left
            assert broken.judged() == {"2005-Q1": ["2004-Q3"], "2005-Q4": left}
        broken.measure("2005-Q3")
        assert broken.judged()["2005-Q3"] == left[:2]
        broken.measure("2005-Q2")
        assert broken.judged() == {name: JUDGED[name] for name in SCORED[:4]}

    def test_what_cannot_be_judged_stops_no_later_run(
        self, broken: Replay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        measure = monitoring._measure

        def refuse(*args: Any) -> Any:
            if args[4] == "2004-Q4":
                raise MonitoringError("Its predictions are gone.")
            return measure(*args)

        monkeypatch.setattr(monitoring, "_measure", refuse)
        assert broken.measure("2005-Q4") == ["2005-Q1", "2005-Q2"]
        assert "2004-Q4 matured before 2005-Q4 and stays unjudged: Its pred" in caplog.text
        with pytest.raises(MonitoringError):  # its own run says so as ever
            broken.measure("2005-Q2")

    def test_two_runs_that_judged_the_same_at_once_leave_one_record(self, broken: Replay) -> None:
        broken.measure("2005-Q4")
        read_before = broken.lake.read(monitoring.PERFORMANCE, partitions=["2005-Q4"])
        broken.measure("2005-Q3")
        # 2005-Q4 had read the table before 2005-Q3 wrote it, and writes last.
        origin = broken.origin("2005-Q4")
        broken.lake.write(
            monitoring.PERFORMANCE, read_before, partitions=["2005-Q4"], origin=origin
        )
        monitoring._keep_first(broken.lake, {"2004-Q4", "2005-Q1", "2005-Q2"}, origin)
        assert broken.judged() == {
            "2005-Q1": ["2004-Q3"],
            "2005-Q3": ["2004-Q4", "2005-Q1"],
            "2005-Q4": ["2005-Q2"],
        }


class TestRunsAreMissing:
    def test_run_late_and_cleared_the_tables_are_those_of_runs_in_order(self, world: Any) -> None:
        late, in_order = world(), world()
        for name in ("2005-Q1", "2005-Q4"):
            late.run(name)
        # Without the labels that landed meanwhile nothing else has matured.
        assert late.judged() == {"2005-Q1": ["2004-Q3"]}
        for name in ("2005-Q2", "2005-Q3"):
            late.run(name)
        # What had to wait for labels that came late is judged when its own run is cleared.
        assert late.measure("2005-Q4") == ["2005-Q2"]
        for name in SCORED[:4]:
            in_order.run(name)
        assert late.tables() == in_order.tables()

    def test_a_partition_long_ago_is_no_business_of_a_run_today(
        self, world: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(monitoring, "_ARREARS", 2)
        replay = world(*SCORED)
        replay.score("2005-Q1", "2006-Q3")  # the first on trial, before everything else
        assert replay.measure("2005-Q1") == ["2004-Q3"]
        assert replay.measure("2006-Q3") == ["2005-Q3", "2005-Q4", "2006-Q1"]
