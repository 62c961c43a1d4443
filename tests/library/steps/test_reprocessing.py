"""Reprocessed, a world is the one in which the corrected files had landed first."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from include.errors import RegistryError, SourceError
from include.registry.model_files import ModelVersion
from include.scoring.reprocessing_requests import Request
from include.steps import reprocessing
from include.steps.history_completion import prepare_again
from include.steps.interventions import freeze, unfreeze
from include.steps.stale import find_stale
from include.storage import ledger
from include.storage.connections import from_environment
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from tests.library.steps.world import HISTORY, ROWS, SCORED, World, quarter

NEXT = quarter("2005-Q2")
ASKED = Origin("platform_reprocess", "manual__1", "ask")
# Who decided, and what it was called, are a world's own; the mark says that it was made later.
OWN = ("ledger", "registry")

pytestmark = pytest.mark.usefixtures("surroundings")


def ask(
    world: World, *wanted: str, origin: Origin = ASKED, forgotten: Collection[str] = ()
) -> Request | None:
    return reprocessing.ask(
        world.lake,
        world.pipeline,
        wanted or None,
        "a bad load",
        "Ada",
        lambda dag_id, run_id: None if run_id in forgotten else (0, False),
        origin,
        connections=from_environment,
    )


def reprocess(world: World, request: Request) -> dict[str, Any]:
    """Do what the DAG does; its runs are those of Airflow."""
    origin = replace(ASKED, dag_run_id=request.run_id)
    prepare_again(None, world.lake, world.pipeline, request.corrected, request.history, origin)
    for run in request.runs:
        steps = world.training() if run.kind == "train" else world.scoring(quarter(run.partition))
        for _, step in steps:
            step()
    replaced, left = reprocessing.finish(
        world.lake, world.pipeline, request, None, origin, connections=from_environment
    )
    assert left.is_nothing
    return dict(replaced)


def correct(world: World) -> None:
    """Land a smaller file of the history, of a scored partition, and of labels."""
    world.land(1, HISTORY[1], loans=ROWS - 2)
    world.land(4, SCORED, loans=ROWS - 3, outcomes=ROWS - 1)


def tables(world: World) -> dict[str, list[Any]]:
    """Read all tables but for who decided, what a version is called, and what was made later."""
    found: dict[str, list[Any]] = {}
    for table, rows in world.content().items():
        if table not in OWN:
            read = [json.loads(row) for row in rows]
            found[table] = sorted(json.dumps(_plain(row), sort_keys=True) for row in read)
    return found


def _plain(row: Any) -> Any:
    if isinstance(row, dict):
        own = ("model_version", "back_scored")
        return {name: _plain(value) for name, value in row.items() if name not in own}
    if isinstance(row, str) and row.startswith("{"):
        return _plain(json.loads(row))
    return [_plain(item) for item in row] if isinstance(row, list) else row


def test_every_table_is_that_of_a_world_in_which_the_files_had_landed_first(
    store_settings: StoreSettings, make_pipeline: Any, version: ModelVersion
) -> None:
    first, late = (World(store_settings, make_pipeline, version) for _ in range(2))
    for world in (first, late):
        world.land(5, NEXT)
    correct(first)
    for world in (first, late):
        world.run()
        for _, step in world.scoring(NEXT):
            step()
    assert tables(late) != tables(first)
    correct(late)
    held = late.lake.reference("predictions", "2005-Q1")
    later, by_hand = datetime(2100, 1, 1), replace(ASKED, dag_run_id="by_hand")
    freeze(late.lake, late.registry, "an audit", "Ada", later, by_hand)
    with pytest.raises(RegistryError, match="must not be frozen to repeat its trainings"):
        ask(late)
    unfreeze(late.lake, late.registry, "over", "Ada", later, by_hand)

    request = ask(late)
    assert request is not None
    assert [run.run_id for run in request.runs] == ["train", "score_2005-Q1", "score_2005-Q2"]
    replaced = reprocess(late, request)

    assert tables(late) == tables(first)
    assert set(replaced) == {"2004-Q4", "2005-Q1", "2005-Q2"}
    # What was predicted then is still readable, and the ledger says where.
    then = late.lake.read(
        "predictions", partitions=["2005-Q1"], version=replaced["2005-Q1"]["then"]
    )
    assert then.num_rows == held.rows != late.lake.reference("predictions", "2005-Q1").rows
    asked, done = ledger.entries(late.lake, "reprocessing")
    assert asked.reason.startswith("Ada: a bad load (loans 2004-Q2: rows.parquet changed, ")
    assert done.evidence["replaced"] == replaced
    champion = late.registry.champion_as_of(SCORED)
    assert champion is not None
    assert champion.version == 2

    # Whoever clears one of the runs later gets the same again.
    for _, step in late.scoring(SCORED):
        step()
    assert tables(late) == tables(first)
    assert ask(late, origin=Origin("platform_reprocess", "manual__2", "ask")) is None


AGAIN = replace(ASKED, dag_run_id="manual__2")


def test_a_second_request_finishes_what_the_first_left(scored_world: World) -> None:
    """The training was repeated, and nobody scored with what came of it."""
    world = scored_world
    world.land(1, HISTORY[1], loans=ROWS - 2)
    request = ask(world)
    assert request is not None
    prepare_again(None, world.lake, world.pipeline, request.corrected, request.history, ASKED)
    for _, step in world.training():
        step()

    second = ask(world, origin=AGAIN)

    assert second is not None
    assert [run.run_id for run in second.runs] == ["score_2005-Q1"]
    # What nobody asked for stays as it is, also in a run that is repeated.
    outcomes = world.lake.reference("raw_outcomes", "2005-Q1")
    world.land(4, SCORED, outcomes=ROWS - 20)
    for _, step in world.scoring(SCORED):
        step()
    assert world.lake.latest(outcomes) == outcomes
    champion = world.registry.champion_as_of(SCORED)
    assert champion is not None
    assert champion.version == 2
    left = find_stale(world.lake, world.pipeline)
    assert [str(item) for item in left.corrections] == ["outcomes 2005-Q1: rows.parquet changed"]


def test_a_training_on_rows_that_stayed_the_same_keeps_its_version(scored_world: World) -> None:
    """The file is another one."""
    world = scored_world
    world.land(1, HISTORY[1], compression="gzip")
    before = tables(world)
    request = ask(world)
    assert request is not None
    assert request.versions == [1]

    assert set(reprocess(world, request)) <= {"2004-Q4"}

    assert tables(world) == before
    assert [row["event"] for row in world.registry.events()].count("registered") == 1


def test_only_what_is_wanted(scored_world: World) -> None:
    world = scored_world
    correct(world)
    with pytest.raises(SourceError, match=r"must have been corrected, got 2004-Q1\. `./relevo"):
        ask(world, "2004-Q1")

    store = ObjectStore(world.lake.settings)
    store.delete(f"s3://landing/{world.lake.pipeline}/loans/2004-Q3/rows.parquet")
    with pytest.raises(SourceError, match="must be there to be ingested, got loans 2004-Q3: rows"):
        ask(world)

    request = ask(world, "2005-Q1")

    assert request is not None
    assert (request.history, [run.run_id for run in request.runs]) == ({}, ["score_2005-Q1"])
    assert ask(world, "2005-Q1") == request  # asked once
    lost = ask(world, "2005-Q1", origin=AGAIN, forgotten=["score_2005-Q1", "train"])
    assert lost is not None
    assert [(run.run_id, run.clear_number) for run in lost.runs] == [
        ("manual__2__score_2005-Q1", None)
    ]
    kept = ask(world, "2004-Q2", origin=replace(AGAIN, dag_run_id="m3"), forgotten=["train"])
    assert kept is not None
    # Without the training its model counts as it is, and so does what that predicted.
    assert (kept.runs, list(kept.history), kept.versions) == ([], ["2004-Q2"], [])
    for _, step in world.scoring(SCORED):
        step()
    left = find_stale(world.lake, world.pipeline)
    assert [item.partition for item in left.corrections] == ["2004-Q2", "2004-Q3"]
