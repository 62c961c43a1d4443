"""An outage of five periods: the tables end as those of a world without it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from croniter import croniter

from include.calendar.partitions import Frequency, latest_closed
from stack.airflow_api import AirflowApi
from stack.embedded.configuration import Configuration
from stack.embedded.environment import store_of
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.torture import comparison, invariants, project
from stack.torture.observation import World
from stack.torture.place import Place
from stack.torture.project import HISTORY
from stack.torture.story import CRON, Story
from tests.system.conftest import until

SCORED = 6
WITHOUT, WITH = "without_outage", "with_outage"


@pytest.mark.proof
@pytest.mark.timeout(2400)
def test_an_outage_of_five_periods(tmp_path: Path) -> None:
    due = croniter(CRON, datetime.now(UTC)).get_prev(datetime)
    first = latest_closed(due, Frequency.MONTHLY).shift(1 - SCORED - HISTORY)
    layout = Layout(tmp_path / "state", project.lay_out(tmp_path / "project"))
    stack = Stack(layout)
    for name in (WITHOUT, WITH):
        end = first.shift(HISTORY + 1).start.date() + timedelta(days=1)
        project.write_pipeline(layout.repository, name, first.start.date(), end)
    try:
        stack.up(print)
        held = connected(layout, stack)
        without = Story(held, WITHOUT, SCORED, first=first)
        started(without)
        for number, partition in enumerate(without.partitions):
            moment = without.due(partition)
            held.api.trigger(without.score_dag, run_id=f"run_{number}", logical_date=moment)
            settled(without)
        reference = seen(without)

        story = Story(held, WITH, SCORED, first=first)
        started(story)
        day = story.due(story.partitions[0])
        held.api.create_backfill(story.score_dag, day, day, max_active_runs=1)
        until(lambda: bool(held.api.dag_runs(story.score_dag)), "the first run")
        settled(story)

        stack.down(print)
        # Five periods pass: the schedule has ended on the first of six dates that lie in the past.
        story.schedule(None)
        stack.up(print)
        story.place = connected(layout, stack)
        until(story.is_quiet, "the missed runs")
        world = seen(story)
        runs = story.place.api.dag_runs(story.score_dag)
    finally:
        stack.down(print)
    made = sorted(run["logical_date"] for run in runs if run["run_type"] == "scheduled")
    assert [datetime.fromisoformat(date) for date in made] == [
        story.due(partition) for partition in story.partitions[1:]
    ]
    assert comparison.differences(reference, world) == []


def connected(layout: Layout, stack: Stack) -> Place:
    """Reach a stack without gates."""
    configuration = Configuration.load(layout)
    api, store = AirflowApi.of(configuration), store_of(configuration)
    return Place(layout, stack, {}, api, store, configuration.mlflow_url)


def started(story: Story) -> None:
    """Train as of the partition before the first scored one; the schedule ends with that one."""
    story.prepare(end=story.due(story.partitions[0]).date())
    story.train()
    settled(story)


def settled(story: Story) -> None:
    def is_settled() -> bool:
        runs = story.runs()
        assert all(run["state"] != "failed" for run in runs), runs
        return all(run["state"] == "success" for run in runs) and not story.requested()

    until(is_settled, f"{story.pipeline} to settle")


def seen(story: Story) -> World:
    world = story.observe()
    for name, check in invariants.OF_ONE.items():
        assert check(world) == [], name
    return world
