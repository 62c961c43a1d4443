"""What a person does after the first good week, on a running stack, killed half way.

Two worlds of one stack: in one the corrected files land first, in the other they replace what was
trained on and scored. Both train by the calendar: drift and performance would tell of the bad load
in one of them only, and a training that took place stays (docs/corrections.md).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.calendar.partitions import Partition
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.steps import erasure
from include.steps.stale import find_stale
from include.storage import ledger
from include.storage.lake_tables import Lake
from stack.embedded.configuration import BUCKETS
from stack.embedded.layout import REPOSITORY
from stack.torture import comparison, data, invariants, place, project
from stack.torture.gate import Rule
from stack.torture.observation import LEDGER, World
from stack.torture.place import Place
from stack.torture.story import Story
from tests.system import secret_search
from tests.system.conftest import until

PIPELINES = Path("include", "pipelines")
REPROCESS, ROLLBACK, ERASE = "platform_reprocess", "platform_rollback", "platform_erase"
# The last of them has labels of rows that drifted, so that the training as of it is promoted.
SCORED = 4
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
                loans = loans.iloc[:-6]
                data.put(story.place.objects, story.pipeline, source, partition, loans)
                story.landed[source][str(partition)] = len(loans)
            else:
                outcomes.loc[20:39, "bad"] = 1 - outcomes.loc[20:39, "bad"]
                known = partition.shift(1)
                data.put(story.place.objects, story.pipeline, source, known, outcomes)


def train_by_calendar(story: Story) -> None:
    """Let the pipeline train as of the last partition by itself, whatever the data say."""
    file = story.place.layout.repository / PIPELINES / f"{story.pipeline}.yaml"
    document = {**yaml.safe_load(file.read_text()), "retraining": {"every": SCORED}}
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def live(story: Story) -> None:
    """Train and score."""
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


def ask(
    held: Place, dag_id: str, conf: dict[str, Any], *killed: str, run_id: str = "asked"
) -> None:
    """Trigger a DAG, kill whoever makes a request as soon as that is done, and wait for the end."""
    for number, path in enumerate(killed):
        rule = Rule(fault=number, action="kill after", method="PUT", path=path)
        held.gates["store"].arm(rule)
    held.gates["store"].hits.clear()
    # It offers the pipelines that are there when it is parsed.
    shutil.copy(REPOSITORY / "dags" / f"{dag_id}.py", held.layout.repository / "dags")
    held.api.wait_for_dag(dag_id, 240)
    held.api.trigger(dag_id, conf, run_id=run_id)
    ended = ("success", "failed")
    until(lambda: held.api.dag_run(dag_id, run_id)["state"] in ended, dag_id, 2400)
    assert held.api.dag_run(dag_id, run_id)["state"] == "success"
    assert {hit.fault for hit in held.gates["store"].hits} == set(range(len(killed)))


def load(story: Story) -> Pipeline:
    """Read the pipeline file of a world."""
    return pipeline_file.load(story.pipeline, story.place.layout.repository / PIPELINES)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_bad_load_is_taken_back_and_a_bad_champion_and_a_person_forgotten(held: Place) -> None:
    first, late = (Story(held, name, scored=SCORED) for name in ("corrected", "reprocessed"))
    for story in (first, late):
        story.prepare()
        train_by_calendar(story)
    correct(first)
    live(first)
    live(late)
    reprocess(first, late)
    roll_back(late)
    erase(late, beside=first)


def reprocess(first: Story, late: Story) -> None:
    """Every table is that of the world in which the files had landed first."""
    held, lake = late.place, Lake(late.place.store, late.pipeline)
    before = late.observe()
    correct(late)
    conf = {"pipeline": late.pipeline, "partitions": None, "reason": "sent again"}
    ask(held, REPROCESS, conf, *(f"/lake/{late.pipeline}/{path}" for path in KILLED))
    until(late.is_quiet, "trainings that were asked for anew")

    after = late.observe()
    ours, theirs = unmarked(after), unmarked(first.observe())
    for table in comparison.DATA_TABLES:
        expected = comparison.digests(theirs, table)
        assert expected, table
        assert comparison.digests(ours, table) == expected, table
    assert {row["partition"] for row in ours.rows("training_sets")} == {
        str(late.partitions[0].shift(-1)),
        str(late.partitions[-1]),
    }
    for name, invariant in invariants.OF_ONE.items():
        assert invariant(after) == [], name
    assert invariants.nothing_recorded_is_lost(before, after) == []
    assert find_stale(lake, load(late)).is_nothing
    # What was predicted then is still there, at the version that the ledger names.
    (done,) = [
        row
        for row in ours.rows(LEDGER)
        if (row["kind"], row["decision"]) == ("reprocessing", "done")
    ]
    replaced = json.loads(done["evidence"])["replaced"]
    assert replaced.keys() == {row["partition"] for row in before.rows("predictions")}
    was = {row["loan_id"]: row for row in before.rows("predictions")}
    for partition, versions in replaced.items():
        version = versions["then"]
        then = lake.read("predictions", partitions=[partition], version=version).to_pylist()
        assert then
        assert all(was.pop(row["loan_id"]) == row for row in then)
    assert was == {}


def roll_back(story: Story) -> None:
    """The version that scored is in use again, once, whoever was killed after the event."""
    before = story.observe()
    (scored,) = {row["model_version"] for row in before.rows("predictions")}
    assert before.alias != scored
    conf = {"pipeline": story.pipeline, "version": scored, "reason": "it scores too high"}
    event = f"/lake/{story.pipeline}/registry/_delta_log/\\d+\\.json$"
    ask(story.place, ROLLBACK, conf, event)

    after = story.observe()
    (restored,) = after.events("restored")
    assert after.alias == restored["version"] == scored
    (entry,) = [row for row in after.rows(LEDGER) if row["kind"] == "rollback"]
    assert entry["reason"] == restored["reason"]
    assert after.tables["predictions"] == before.tables["predictions"]


def erase(story: Story, beside: Story) -> None:
    """Every version is as it was without two people, whoever was killed while their rows went."""
    lake, file, before = Lake(story.place.store, story.pipeline), load(story), story.observe()
    scored = {row["loan_id"] for row in before.rows("predictions")}
    trained = {row["loan_id"] for row in before.rows("training_sets")}
    doubted = {json.loads(row["row"])["loan_id"] for row in before.rows("quarantine_loans")}
    people = {"trained on": min(scored & trained), "in quarantine": min(doubted)}
    names, held = [*people.values()], every_version(lake)
    told = secret_search.search(people, objects_without(beside))
    assert {finding.name for finding in told} == people.keys()
    request = erasure.hand_in(lake, file, names, "a letter")
    conf = {"pipeline": story.pipeline, "request": request, "reason": "a letter"}
    # Rows went, and the log knows nothing of it; the log knows half of it.
    paths = (r"raw_loans/.+\.parquet$", r"training_sets/_delta_log/\d+\.json$")
    ask(story.place, ERASE, conf, *(f"/lake/{story.pipeline}/{path}" for path in paths))

    assert secret_search.search(people, objects_without(beside)) == []
    left = every_version(lake)
    assert left.keys() == held.keys()
    for version, rows in held.items():
        kept = [row for row in rows if whose(row) not in names]
        assert sorted(map(repr, left[version])) == sorted(map(repr, kept)), version
    after = story.observe()
    assert invariants.each_row_once(after) == invariants.versions_are_complete(after) == []
    assert find_stale(lake, file).is_nothing
    # What the first look found is on record, though the last one found less.
    begun, done = ledger.entries(lake, "erasure")
    assert (begun.decision, done.decision) == ("begun", "done")
    assert begun.evidence == done.evidence
    found = done.evidence["found"]
    # Of each a loan and an outcome.
    assert (found["people"], found["files"], found["landed"]) == (2, 4, 4)
    last, registered = str(story.partitions[-1]), before.events("registered")
    made = {row["version"] for row in registered if row["partition"] == last}
    assert set(found["versions"]) == made < {row["version"] for row in registered}


def every_version(lake: Lake) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Read every version of every table of data."""
    return {
        (table, number): lake.read(table, version=number).to_pylist()
        for table in comparison.DATA_TABLES
        for number in range(lake.open(table).version() + 1)
    }


def whose(row: dict[str, Any]) -> str | None:
    """Name the person whom a row is about, also one in quarantine."""
    held: dict[str, Any] = json.loads(row["row"]) if "row" in row else row
    return held.get("loan_id")


def objects_without(beside: Story) -> Iterator[secret_search.Source]:
    """Read all objects but those of the other world, which has the same people."""
    for source in secret_search.unpacked(beside.place.objects.client, BUCKETS):
        if f"/{beside.pipeline}/" not in source[0]:
            yield source
