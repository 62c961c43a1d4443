"""What a person does after the first good week, on a running stack, killed half way.

Two worlds of one stack: in one the corrected files land first, in the other they replace what was
trained on and scored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from include.calendar.partitions import Partition
from include.storage.lake_tables import Lake
from stack.embedded.layout import REPOSITORY
from stack.torture import comparison, data, place, project
from stack.torture.gate import Rule
from stack.torture.observation import LEDGER, World
from stack.torture.place import Place
from stack.torture.story import Story
from tests.system.conftest import until

REPROCESS, ROLLBACK = "platform_reprocess", "platform_rollback"
SCORED = 3
# By how many partitions after the first that landed: in the training window, and scored.
WRONG = {"loans": (1, project.HISTORY), "outcomes": (2,)}
KILLED = (
    r"ledger/_delta_log/\d+\.json$",  # what was asked for is on record, and nobody heard it
    r"training_sets/_delta_log/\d+\.json$",
    r"predictions/_delta_log/\d+\.json$",
)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("reprocessing") / "stack"
    with place.running(folder, print) as running:
        yield running


def correct(story: Story) -> None:
    """Land files without some rows, and other labels, in place of those that were wrong."""
    for source, numbers in WRONG.items():
        for number in numbers:
            partition: Partition = story.first.shift(number)
            loans, outcomes = data.rows_of(partition, number)
            if source == "loans":
                data.put(story.place.objects, story.pipeline, source, partition, loans.iloc[:-6])
            else:
                outcomes.loc[20:39, "bad"] = 1 - outcomes.loc[20:39, "bad"]
                known = partition.shift(1)
                data.put(story.place.objects, story.pipeline, source, known, outcomes)


def live(story: Story, *, corrected_first: bool) -> None:
    """Train and score."""
    story.prepare()
    if corrected_first:
        correct(story)
    story.train()
    until(story.begin_scoring, "the first training")
    until(story.is_quiet, f"the scoring of {story.pipeline}")


def unmarked(world: World) -> World:
    """Leave out what says only that something was made later."""

    def plain(row: dict[str, Any]) -> dict[str, Any]:
        row = {name: value for name, value in row.items() if name != "back_scored"}
        if "measured" in row:
            row["details"] = json.dumps({**json.loads(row["details"]), "back_scored": None})
        return row

    tables = {name: [plain(row) for row in rows] for name, rows in world.tables.items()}
    return replace(world, tables=tables)


def ask(held: Place, dag_id: str, conf: dict[str, Any], *killed: str) -> None:
    """Trigger a DAG, kill whoever makes a request as soon as that is done, and wait for the end."""
    for number, path in enumerate(killed):
        rule = Rule(fault=number, action="kill after", method="PUT", path=path)
        held.gates["store"].arm(rule)
    held.gates["store"].hits.clear()
    # It offers the pipelines that are there when it is parsed.
    shutil.copy(REPOSITORY / "dags" / f"{dag_id}.py", held.layout.repository / "dags")
    held.api.wait_for_dag(dag_id, 240)
    held.api.trigger(dag_id, conf, run_id="asked")
    ended = ("success", "failed")
    until(lambda: held.api.dag_run(dag_id, "asked")["state"] in ended, dag_id, 2400)
    assert held.api.dag_run(dag_id, "asked")["state"] == "success"
    assert {hit.fault for hit in held.gates["store"].hits} == set(range(len(killed)))


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_bad_load_is_taken_back_and_a_bad_champion(held: Place) -> None:
    first, late = (Story(held, name, scored=SCORED) for name in ("corrected", "reprocessed"))
    live(first, corrected_first=True)
    live(late, corrected_first=False)
    reprocess(first, late)
    roll_back(late)


def reprocess(first: Story, late: Story) -> None:
    """Every table is that of the world in which the files had landed first."""
    held = late.place
    before = late.observe()
    correct(late)
    conf = {"pipeline": late.pipeline, "partitions": None, "reason": "sent again"}
    ask(held, REPROCESS, conf, *(f"/lake/{late.pipeline}/{path}" for path in KILLED))
    until(late.is_quiet, "trainings that were asked for anew")

    ours, theirs = unmarked(late.observe()), unmarked(first.observe())
    for table in comparison.DATA_TABLES:
        assert comparison.digests(ours, table) == comparison.digests(theirs, table), table
    # What was predicted then is still there, at the version that the ledger names.
    (done,) = [
        row
        for row in ours.rows(LEDGER)
        if (row["kind"], row["decision"]) == ("reprocessing", "done")
    ]
    partition = str(late.partitions[0])
    version = json.loads(done["evidence"])["replaced"][partition]["then"]
    lake = Lake(held.store, late.pipeline)
    then = lake.read("predictions", partitions=[partition], version=version).to_pylist()
    was = {row["loan_id"]: row for row in before.rows("predictions")}
    assert then
    assert all(was[row["loan_id"]] == row for row in then)


def roll_back(story: Story) -> None:
    """The version before is in use again, once, whoever was killed after the event."""
    before = story.observe()
    conf = {"pipeline": story.pipeline, "version": None, "reason": "it scores too high"}
    event = f"/lake/{story.pipeline}/registry/_delta_log/\\d+\\.json$"
    ask(story.place, ROLLBACK, conf, event)

    after = story.observe()
    (restored,) = after.events("restored")
    assert after.alias == restored["version"] != before.alias
    (entry,) = [row for row in after.rows(LEDGER) if row["kind"] == "rollback"]
    assert entry["reason"] == restored["reason"]
    assert after.tables["predictions"] == before.tables["predictions"]
