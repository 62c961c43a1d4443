"""A world equals the reference but for names, numbers, times and attempts, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stack.torture.comparison import differences, first_failure, until
from stack.torture.observation import World
from tests.stack.torture.worlds import MOMENT, entry, event, sound, with_rows


def test_the_same_world_under_another_name() -> None:
    assert differences(sound("torture_0000"), sound("torture_0001")) == []


def test_numbers_of_versions_depend_on_retries() -> None:
    world = sound()
    for table in ("predictions", "profiles", "drift", "registry"):
        column = "version" if table == "registry" else "model_version"
        world = with_rows(world, table, [{**row, column: 5} for row in world.rows(table)])
    drift = [{**row, "reason": "p: version 5 is fine"} for row in world.rows("drift")]
    assert differences(sound(), with_rows(world, "drift", drift)) == []


def test_another_attempt_with_the_same_answer_is_no_difference() -> None:
    again = [
        entry("retraining/2020-04/b", "retraining", "2020-04", "no"),
        {
            **entry("training/2020-03/x/failed", "training", "2020-03", "failed"),
            "recorded_at": MOMENT - timedelta(hours=1),
        },
    ]
    world = with_rows(sound(), "ledger", [*sound().rows("ledger"), *again])
    assert differences(sound(), world) == []


@pytest.mark.parametrize("table", [name for name in sound().tables if name != "registry"])
def test_a_lost_row_is_a_difference(table: str) -> None:
    world = with_rows(sound(), table, sound().rows(table)[:-1])
    (found,) = differences(sound(), world)
    assert table in found


def test_another_value_names_the_column() -> None:
    rows = [{**row, "score": 0.4} for row in sound().rows("predictions")]
    (found,) = differences(sound(), with_rows(sound(), "predictions", rows))
    assert found.startswith("table predictions 2020-04: other values in score")


def test_another_answer_is_a_difference() -> None:
    rows = [*sound().rows("ledger"), entry("retraining/2020-04/c", "retraining", "2020-04", "yes")]
    (found,) = differences(sound(), with_rows(sound(), "ledger", rows))
    assert found.startswith("ledger: missing none, not in the reference ['retraining 2020-04 yes")


def test_a_missing_promotion_is_a_difference() -> None:
    world = with_rows(sound(), "registry", [event("registered", 1, "2020-03")])
    (found,) = differences(sound(), world)
    assert found.startswith("registry: missing ['promoted 2020-03/knn as of 2020-03 from 2020-04']")


def test_a_second_version_of_a_training_is_a_difference() -> None:
    rows = [*sound().rows("registry"), event("registered", 2, "2020-03")]
    (found,) = differences(sound(), with_rows(sound(), "registry", rows))
    assert found.startswith("registry: missing none, not in the reference ['registered 2020-03/knn")


def test_an_empty_world_differs_in_every_table() -> None:
    empty: World = replace(sound(), tables={})
    assert len(differences(sound(), empty)) == len(sound().tables)


def later(decision: str, version: int) -> World:
    """A world in which a training as of the first partition ended so, and what came after it."""
    rows = [
        *sound().rows("ledger"),
        entry("training/2020-04/x/requested", "training", "2020-04", decision),
    ]
    world = with_rows(sound(), "ledger", rows)
    scored = [
        {**row, "model_version": version if row["partition"] == "2020-05" else 1}
        for row in world.rows("predictions")
    ]
    return with_rows(world, "predictions", scored)


def test_after_a_training_that_failed_another_champion_may_score() -> None:
    world = later("failed", 2)
    assert first_failure(world) == "2020-04"
    assert differences(sound(), world) != []
    assert differences(until(sound(), "2020-04"), until(world, "2020-04")) == []


def test_after_a_scoring_run_that_failed_as_well() -> None:
    world = later("refused", 2)
    assert first_failure(world) is None
    assert first_failure(world, {"2020-05", "2020-04"}) == "2020-04"
    assert first_failure(world, {"2019-01"}) is None  # never scored


def test_what_does_not_depend_on_the_champion_is_compared_all_the_same() -> None:
    world = with_rows(later("failed", 2), "labels", sound().rows("labels")[:-1])
    (found,) = differences(until(sound(), "2020-04"), until(world, "2020-04"))
    assert found.startswith("table labels 2020-05")


@pytest.mark.parametrize("decision", ["started", "refused"])
def test_without_a_failure_everything_is_compared(decision: str) -> None:
    assert first_failure(later(decision, 2)) is None


def test_a_first_training_that_failed_has_nothing_after_it() -> None:
    failed = entry("training/2020-03/first/failed", "training", "2020-03", "failed")
    assert first_failure(with_rows(sound(), "ledger", [*sound().rows("ledger"), failed])) is None
