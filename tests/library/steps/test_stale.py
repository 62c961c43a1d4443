"""What was made from data that was corrected since, in a world of landed files."""

from __future__ import annotations

from typing import Any

import pytest

from include.steps.stale import find_stale
from include.storage.object_store import ObjectStore
from tests.library.steps.world import HISTORY, ROWS, SCORED, World, quarter

NEXT = quarter("2005-Q2")
RAW = ("raw_loans", "quarantine_loans")
OUTCOMES = ("raw_outcomes", "quarantine_outcomes", "labels")
SCORES = ("predictions", "profiles", "drift")

pytestmark = pytest.mark.usefixtures("surroundings")


@pytest.fixture
def world(scored_world: World) -> World:
    """A world in which a model was trained, and two quarters scored."""
    scored_world.land(5, NEXT)
    for _, step in scored_world.scoring(NEXT):
        step()
    return scored_world


def told(world: World) -> tuple[list[str], dict[str, Any], list[Any]]:
    found = find_stale(world.lake, world.pipeline)
    return (
        [f"{item.source} {item.partition}: {item.what}" for item in found.corrections],
        dict(found.history),
        [(run.run_id, run.tables) for run in found.runs],
    )


NOTHING: Any = ([], {}, [])
# What depends on the model, of 2004-Q4, too, which nobody scored then.
JUDGED_BACK = {"2004-Q4": ("predictions",)}
TRAINED_ON = [
    ("train", ("training_sets",)),
    ("score_2005-Q1", (*SCORES, "performance")),
    ("score_2005-Q2", (*SCORES, "performance")),
]


def test_what_depends_on_a_correction_and_nothing_else(world: World) -> None:
    assert told(world) == NOTHING

    for land, corrected, history, runs in (
        (
            lambda rows: world.land(4, SCORED, loans=rows),
            "loans 2005-Q1: rows.parquet changed",
            {},
            [
                ("score_2005-Q1", (*RAW, "features", *SCORES)),
                ("score_2005-Q2", ("performance",)),  # which judged those predictions
            ],
        ),
        (
            lambda rows: world.land(1, HISTORY[1], loans=rows),
            "loans 2004-Q2: rows.parquet changed",
            {"2004-Q2": (*RAW, "features"), **JUDGED_BACK},
            TRAINED_ON,
        ),
        (
            lambda rows: world.land(3, HISTORY[3], outcomes=rows),
            "outcomes 2004-Q4: rows.parquet changed",
            {"2004-Q4": (*OUTCOMES, "predictions")},
            TRAINED_ON,
        ),
        (
            lambda rows: world.land(4, SCORED, outcomes=rows),
            "outcomes 2005-Q1: rows.parquet changed",
            {},
            [
                ("score_2005-Q1", (*OUTCOMES, "performance")),
                # It judged 2005-Q1, whose labels may land in it.
                ("score_2005-Q2", ("performance",)),
            ],
        ),
    ):
        land(ROWS - 2)
        assert told(world) == ([corrected], history, runs)
        land(ROWS)  # as it was
        assert told(world) == NOTHING


def test_files_that_came_later_or_were_taken_away(world: World) -> None:
    store = ObjectStore(world.lake.settings)
    folder = f"s3://landing/{world.lake.pipeline}/loans/2005-Q2"
    held = store.read(f"{folder}/rows.parquet")
    store.write(f"{folder}/more.parquet", held)
    assert told(world)[0] == ["loans 2005-Q2: more.parquet came later"]
    store.delete(f"{folder}/rows.parquet")
    assert told(world)[0] == ["loans 2005-Q2: more.parquet came later, rows.parquet taken away"]
    store.delete(f"{folder}/more.parquet")
    assert told(world)[0] == ["loans 2005-Q2: rows.parquet taken away"]


def test_landed_files_that_are_deleted_by_their_age(world: World) -> None:
    store = ObjectStore(world.lake.settings)
    for name in ("2004-Q1", "2004-Q2"):
        store.delete(f"s3://landing/{world.lake.pipeline}/loans/{name}/rows.parquet")
    assert told(world) == NOTHING
    found = find_stale(world.lake, world.pipeline)
    assert found.expired == (("loans", "2004-Q1", "2004-Q2"),)


def test_whoever_made_a_part_anew_leaves_the_rest_stale(world: World) -> None:
    world.land(4, SCORED, loans=ROWS - 2)
    again = list(world.scoring(SCORED))
    for task, step in again:
        step()
        if task == "validate_loans":
            assert told(world) == (
                [],
                {},
                [("score_2005-Q1", ("features", *SCORES)), ("score_2005-Q2", ("performance",))],
            )

    # A run that somebody clears leaves the judgement on what was predicted then.
    assert told(world) == NOTHING
