"""Every invariant holds in a sound world and fails on what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stack.torture.invariants import OF_ONE, OF_TWO
from stack.torture.observation import KEYS, World
from tests.stack.torture.worlds import MODEL, entry, event, sound, with_rows

Spoil = Callable[[World], World]


def doubled(table: str) -> Spoil:
    return lambda world: with_rows(world, table, [*world.rows(table), world.rows(table)[0]])


def lost(table: str, place: int = 0) -> Spoil:
    def spoil(world: World) -> World:
        rows = list(world.rows(table))
        del rows[place]
        return with_rows(world, table, rows)

    return spoil


def added(table: str, row: dict[str, object]) -> Spoil:
    return lambda world: with_rows(world, table, [*world.rows(table), row])


def changed(table: str, **values: object) -> Spoil:
    def spoil(world: World) -> World:
        first, *others = world.rows(table)
        return with_rows(world, table, [{**first, **values}, *others])

    return spoil


PLANTED: list[tuple[str, Spoil, str]] = [
    *(("each row once", doubled(table), table) for table in sound().tables),
    ("rows in are kept or quarantined", lost("raw_loans"), "3 rows landed, 1 kept + 1 quar"),
    ("rows in are kept or quarantined", lost("quarantine_loans"), "2 kept + 0 quarantined"),
    ("rows in are kept or quarantined", lost("features"), "features 2020-04: 2 rows, 1 kept"),
    ("rows in are kept or quarantined", lost("predictions"), "predictions 2020-04: 1 of 2"),
    ("labels are those kept", lost("labels"), "2 outcomes kept, 1 labels"),
    ("labels are those kept", lost("raw_outcomes"), "1 outcomes kept, 2 labels"),
    ("versions are complete", lambda w: replace(w, files={MODEL: "b" * 64}), "has digest bbb"),
    ("versions are complete", lambda w: replace(w, files={MODEL: None}), "has digest None"),
    ("versions are complete", lambda w: replace(w, versions=frozenset()), "MLflow does not hold"),
    ("alias is a registered version", lambda w: replace(w, alias=2), "at version 2, which was"),
    ("alias follows the events", lambda w: replace(w, alias=None), "at version None, the events"),
    (
        "alias follows the events",
        added("registry", event("promoted", 2, "2020-05", "2020-06")),
        "at version 1, the events say 2",
    ),
    ("alias follows the events", added("registry", event("rolled_back", 1, "2020-05")), "say None"),
    ("runs have ended", lambda w: replace(w, runs={"r": "RUNNING"}), "not ended: r"),
    ("runs have ended", lambda w: replace(w, runs={"r": "SCHEDULED"}), "not ended: r"),
    ("champion scored", changed("predictions", model_version=2), "by version 2, champion as of"),
    (
        "no old orphans",
        lambda w: replace(w, orphans={"s3://lake/p/features/x.parquet": 8.0}),
        "x.parquet",
    ),
]
PLANTED_BETWEEN: list[tuple[str, Spoil, str]] = [
    ("nothing recorded is lost", lost("ledger", 2), "retraining/2020-04/a is lost"),
    ("nothing recorded is lost", lost("registry"), "registered/1 is lost"),
    ("nothing recorded is lost", changed("ledger", decision="yes"), "was changed"),
    (
        "past champions stay",
        changed("profiles", model_version=2),
        "champion as of 2020-04: was version 1, is 2",
    ),
]


@pytest.mark.parametrize("name", OF_ONE)
def test_a_sound_world_holds(name: str) -> None:
    assert OF_ONE[name](sound()) == []


@pytest.mark.parametrize("name", OF_TWO)
def test_what_is_added_changes_nothing_recorded(name: str) -> None:
    more = added("ledger", entry("retraining/2020-05/b", "retraining", "2020-05", "yes"))
    assert OF_TWO[name](sound(), more(sound())) == []


def test_a_late_promotion_does_not_count_for_what_was_scored_before() -> None:
    late = event("promoted", 2, "2020-04", "2020-05")
    world = added("registry", late)(sound())
    assert OF_TWO["past champions stay"](sound(), world) == []
    assert [world.champion_as_of(name) for name in ("2020-05", "2020-06", None)] == [1, 2, 2]
    world = added("registry", event("rolled_back", 2, "2020-04", sequence=10))(world)
    assert [world.champion_as_of(name) for name in ("2020-05", "2020-06", None)] == [1, 1, 1]


def test_what_was_scored_to_judge_it_only_fixes_no_champion() -> None:
    """Of runs that were marked as failed, a later one scores what it judges in their place."""
    scored = dict(sound().rows("predictions")[0], partition="2020-06", back_scored=True)
    before = added("predictions", scored)(sound())
    after = added("registry", event("promoted", 2, "2020-05", "2020-06"))(before)
    assert (before.champion_as_of("2020-06"), after.champion_as_of("2020-06")) == (1, 2)
    assert OF_TWO["past champions stay"](before, after) == []
    assert OF_ONE["champion scored"](after) == []


def test_a_training_as_of_an_earlier_partition_does_not_take_over() -> None:
    world = added("registry", event("promoted", 2, "2020-02", "2020-06"))(sound())
    assert [world.champion_as_of(name) for name in ("2020-06", None)] == [1, 1]


@pytest.mark.parametrize(("name", "spoil", "told"), PLANTED)
def test_a_planted_violation_is_found(name: str, spoil: Spoil, told: str) -> None:
    assert any(told in line for line in OF_ONE[name](spoil(sound())))


@pytest.mark.parametrize(("name", "spoil", "told"), PLANTED_BETWEEN)
def test_a_planted_loss_is_found(name: str, spoil: Spoil, told: str) -> None:
    assert any(told in line for line in OF_TWO[name](sound(), spoil(sound())))


def test_a_column_that_is_new_since_changes_nothing() -> None:
    rows = [{**row, "attempt": None} for row in sound().rows("ledger")]
    assert OF_TWO["nothing recorded is lost"](sound(), with_rows(sound(), "ledger", rows)) == []


def test_a_young_orphan_may_stay() -> None:
    assert OF_ONE["no old orphans"](replace(sound(), orphans={"x": 0.5})) == []


def test_every_invariant_is_shown_to_fail() -> None:
    assert {name for name, _, _ in PLANTED} == set(OF_ONE)
    assert {name for name, _, _ in PLANTED_BETWEEN} == set(OF_TWO)
    assert set(sound().tables) <= set(KEYS)
