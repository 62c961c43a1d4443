"""Teams with pools of their own do not wait for each other; with one pool they do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from croniter import croniter

from include.calendar.partitions import Frequency, latest_closed
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.torture import project
from stack.torture.project import HISTORY
from stack.torture.story import CRON, Story
from tests.system.conftest import until
from tests.system.test_outage import connected, settled

BUSY, OTHER = "busy_team", "other_team"
SCORED = 4


@pytest.mark.proof
@pytest.mark.timeout(1500)
def test_two_pools(tmp_path: Path) -> None:
    due = croniter(CRON, datetime.now(UTC)).get_prev(datetime)
    first = latest_closed(due, Frequency.MONTHLY).shift(1 - SCORED - HISTORY)
    layout = Layout(tmp_path / "state", project.lay_out(tmp_path / "project"))
    stack = Stack(layout)
    try:
        stack.up(print)
        place = connected(layout, stack)
        for name in (BUSY, OTHER):
            place.api._post("pools", {"name": name, "slots": 1, "include_deferred": False})
        stories = {name: Story(place, name, SCORED, first=first) for name in (BUSY, OTHER)}
        for name, story in stories.items():
            story.prepare()
            choose_pool(layout, name, name)
            until(lambda story=story, name=name: pools(story) == {name}, f"{name} in its pool")
            story.train()
        for story in stories.values():
            settled(story)

        assert ended_beside(stories, 0)
        choose_pool(layout, OTHER, BUSY)
        until(lambda: pools(stories[OTHER]) == {BUSY}, "both in one pool")
        settled(stories[BUSY])
        assert not ended_beside(stories, 2)
    finally:
        stack.down(print)


def ended_beside(stories: dict[str, Story], number: int) -> bool:
    """Let the busy team score two partitions and then the other one; tell who ended first."""
    busy, other = stories[BUSY], stories[OTHER]
    for partition in busy.partitions[number : number + 2]:
        run_id = f"run_{partition}"
        moment = busy.due(partition)
        busy.place.api.trigger(busy.score_dag, run_id=run_id, logical_date=moment)
    until(lambda: waiting(busy) > 0, "tasks of the busy team that wait for a slot", 120)
    partition = other.partitions[number // 2]
    run_id = f"run_{partition}"
    other.place.api.trigger(other.score_dag, run_id=run_id, logical_date=other.due(partition))
    while True:
        mine = other.place.api.dag_run(other.score_dag, run_id)["state"]
        theirs = {run["state"] for run in busy.runs()}
        if mine == "success" or theirs == {"success"}:
            return theirs != {"success"}
        assert "failed" not in {mine, *theirs}


def choose_pool(layout: Layout, name: str, pool: str) -> None:
    file = layout.repository / "include" / "pipelines" / f"{name}.yaml"
    held = file.read_text().partition("execution:")[0]
    file.write_text(f"{held}execution: {{pool: {pool}}}\n")
    dags = layout.repository / "dags" / f"{name}.py"
    dags.write_text(dags.read_text() + "\n")  # or it would be parsed again later


def pools(story: Story) -> set[str]:
    return {task["pool"] for task in story.place.api.tasks(story.score_dag)}


def waiting(story: Story) -> int:
    return story.place.api.count_task_instances(story.score_dag, state=["scheduled", "queued"])
