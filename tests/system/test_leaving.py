"""Rows of quarantine come back, and a pipeline is retired and taken back, killed half way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.registry.champions import Registry
from include.steps.quarantined_rows import quarantined_rows
from include.steps.release import hand_in
from include.steps.retirement_archive import demand_archive
from include.steps.stale import find_stale
from include.storage.lake_tables import Lake
from stack.torture import data, invariants, place, project
from stack.torture.observation import LEDGER, PREDICTIONS
from stack.torture.place import Place
from stack.torture.story import Story
from tests.system.conftest import until
from tests.system.test_day_two import REPROCESS, ask, live, load

RELEASE, RETIRE = "platform_release", "platform_retire"
LOG = r"_delta_log/\d+\.json$"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("leaving") / "stack"
    with place.running(folder, print) as running:
        yield running


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_rows_come_back_and_a_pipeline_leaves_and_comes_back(held: Place) -> None:
    story = Story(held, "leaving", scored=2)
    story.prepare()
    live(story)
    release(story)
    retire(story)


def release(story: Story) -> None:
    """Repaired rows are back once, and what was made without them is made anew when asked."""
    lake, file, partition = lake_of(story), load(story), str(story.partitions[-1])
    rows = {row.id: {"x": "1.5"} for row in quarantined_rows(lake, "quarantine_loans", partition)}
    assert len(rows) == data.BAD_ROWS // 2
    before = counts(lake, partition)
    request = hand_in(lake, file, "loans", partition, rows)
    conf = {"pipeline": story.pipeline, "dataset": "loans", "partition": partition}
    # What is begun is on record, and nobody heard it; the rows have left quarantine alone.
    killed = (f"/lake/{story.pipeline}/{table}/{LOG}" for table in ("ledger", "quarantine_loans"))
    ask(story.place, RELEASE, {**conf, "request": request, "reason": "a typing error"}, *killed)
    assert told(story, "release") == ["begun", "done"]
    assert [run.partition for run in find_stale(lake, file).runs] == [partition]

    conf = {"pipeline": story.pipeline, "partitions": None, "reason": "rows came back"}
    ask(story.place, REPROCESS, conf)
    until(story.is_quiet, "what was made anew")
    after = story.observe()
    for name, invariant in invariants.OF_ONE.items():
        assert invariant(after) == [], name
    assert find_stale(lake, file).is_nothing
    moved = dict.fromkeys(("raw_loans", "features", PREDICTIONS), len(rows))
    moved["quarantine_loans"] = -len(rows)
    found = counts(lake, partition)
    assert {table: found[table] - before[table] for table in before} == moved


def retire(story: Story) -> None:
    """Nothing of it runs or is in use until it is taken back; then it goes on where it was."""
    lake, before, name = lake_of(story), story.observe(), {"pipeline": story.pipeline}
    ends: dict[str, Any] = {**name, "reason": "the product ends", "keep_days": 30, "undo": False}
    # The event is on record, and nobody heard it.
    ask(story.place, RETIRE, ends, f"/lake/{story.pipeline}/registry/{LOG}")
    assert story.observe().alias is None
    assert Registry(lake).retired()
    demand_archive(lake)
    run_id = score(story, project.HISTORY + story.scored, expect="failed")

    again = {**ends, "reason": "it goes on", "undo": True}
    ask(story.place, RETIRE, again, f"/lake/{story.pipeline}/registry/{LOG}", run_id="undone")
    assert told(story, "retirement") == ["retired", "reinstated"]
    after = story.observe()
    assert after.alias == before.alias
    assert after.tables[PREDICTIONS] == before.tables[PREDICTIONS]
    story.place.api.clear_failed_tasks(story.score_dag, run_id)
    ended(story, run_id, "success")


def score(story: Story, number: int, *, expect: str) -> str:
    """Land another partition and score it; returns the run."""
    partition = story.first.shift(number)
    loans, _ = data.rows_of(partition, number)
    _, outcomes = data.rows_of(partition.shift(-1), number - 1)
    data.put(story.place.objects, story.pipeline, "loans", partition, loans)
    data.put(story.place.objects, story.pipeline, "outcomes", partition, outcomes)
    run_id = f"later_{partition}"
    story.place.api.trigger(story.score_dag, {"partition": str(partition)}, run_id=run_id)
    ended(story, run_id, expect)
    return run_id


def ended(story: Story, run_id: str, state: str) -> None:
    """Wait until a scoring run has ended like this."""
    api = story.place.api
    until(lambda: api.dag_run(story.score_dag, run_id)["state"] in ("success", "failed"), run_id)
    assert api.dag_run(story.score_dag, run_id)["state"] == state


def lake_of(story: Story) -> Lake:
    return Lake(story.place.store, story.pipeline)


def counts(lake: Lake, partition: str) -> dict[str, int]:
    """Count the rows of a partition by table."""
    tables = ("raw_loans", "quarantine_loans", "features", PREDICTIONS)
    return {table: lake.row_counts(table).get(partition, 0) for table in tables}


def told(story: Story, kind: str) -> list[str]:
    """Name the answers on record of a kind, in their order."""
    rows = [row for row in story.observe().rows(LEDGER) if row["kind"] == kind]
    return [row["decision"] for row in sorted(rows, key=lambda row: row["sequence"])]
