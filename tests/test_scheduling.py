"""Tests that share servers stay together, and what is named for it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.scheduling import LONG, SHARED, group_of, in_order, misplaced

PROJECT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Item:
    """What the order looks at."""

    nodeid: str
    fixturenames: tuple[str, ...] = ()


def items(*found: Item) -> list[pytest.Item]:
    return cast(Any, found)


def test_what_is_named_is_there() -> None:
    named = [*LONG, *(path for paths in SHARED.values() for path in paths)]
    assert [path for path in named if not (PROJECT / path).exists()] == []


def test_tests_that_share_servers_are_one_group_and_others_go_by_module() -> None:
    assert group_of("tests/system/test_browser.py::test_a") == "stack"
    assert group_of("tests/pipelines/test_trip_duration.py::test_a[1::2]") == "services"
    assert group_of("tests/library/wide/test_a.py::test_b") == "tests/library/wide/test_a.py"


def test_the_stack_is_lost_last_and_what_is_short_comes_after_what_is_long() -> None:
    paths = [
        *("tests/library/calendar/test_moments.py", "tests/stack/access/test_roles.py"),
        *("tests/pipelines/test_trip_duration.py", "tests/system/test_backup.py"),
        "tests/system/test_browser.py",
    ]
    ordered = in_order(items(*(Item(f"{path}::test_a") for path in paths)))
    assert [item.nodeid.partition("::")[0] for item in ordered] == paths[::-1]


def test_who_asks_for_servers_outside_their_group_is_told_where_to_stand() -> None:
    placed = items(
        Item("tests/system/test_browser.py::test_a", ("stack",)),
        Item("tests/library/features/test_point_in_time.py::test_a", ("spark", "services")),
        Item("tests/system/test_new.py::test_a", ("store_settings",)),
    )
    assert list(misplaced(placed)) == []
    wrong = items(
        Item("tests/system/test_new.py::test_a", ("tmp_path", "stack")),
        Item("tests/system/test_browser.py::test_b", ("services",)),
    )
    assert list(misplaced(wrong)) == [
        "tests/system/test_new.py::test_a asks for stack: name its module in "
        "tests/scheduling.py, below stack",
        "tests/system/test_browser.py::test_b asks for services: name its module in "
        "tests/scheduling.py, below services",
    ]
