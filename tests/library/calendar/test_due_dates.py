"""Which run comes next: in order, missed ones made up for, history left alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from include.calendar import due_dates as module
from include.calendar.due_dates import due_dates

DAILY = "0 6 * * *"
START = datetime(2026, 1, 1)


def at(day: int, hour: int = 6, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute)


def next_due(*args: Any, **how: Any) -> datetime | None:
    """Ask as a backfill does, unless a test says otherwise."""
    return module.next_due(*args, **{"last": None, "now": None, "catch_up": 0, **how})


class TestDueDates:
    def test_both_ends_are_included(self) -> None:
        assert list(due_dates(DAILY, at(1), at(3))) == [at(1), at(2), at(3)]
        assert list(due_dates(DAILY, at(1), at(1))) == [at(1)]

    def test_a_range_that_is_empty(self) -> None:
        assert list(due_dates(DAILY, at(3), at(1))) == []
        assert list(due_dates("0 0 31 2 *", START, at(1))) == []


class TestFirstRun:
    def test_it_is_the_latest_that_is_due_however_long_ago_the_schedule_began(self) -> None:
        assert next_due(DAILY, START, now=at(9, 7), catch_up=24) == at(9)

    def test_it_is_due_at_its_minute(self) -> None:
        assert next_due(DAILY, START, now=at(9)) == at(9)
        assert next_due(DAILY, START, now=at(9, 5, 59)) == at(8)

    def test_a_schedule_that_has_not_begun_starts_with_its_first_date(self) -> None:
        assert next_due(DAILY, at(20, 6), now=at(9)) == at(20)
        assert next_due(DAILY, at(20, 6, 1), now=at(9)) == at(21)


class TestNextRun:
    def test_it_comes_after_the_last_one(self) -> None:
        assert next_due(DAILY, START, last=at(8), now=at(8, 7), catch_up=24) == at(9)

    def test_an_outage_is_made_up_for_in_order(self) -> None:
        last: datetime | None = at(3)
        for day in (4, 5, 6, 7, 8, 9):
            last = next_due(DAILY, START, last=last, now=at(8, 12), catch_up=24)
            assert last == at(day)

    @pytest.mark.parametrize(("catch_up", "first"), [(0, 8), (1, 7), (3, 5), (4, 4), (24, 4)])
    def test_no_more_than_so_many_before_the_latest(self, catch_up: int, first: int) -> None:
        assert next_due(DAILY, START, last=at(3), now=at(8, 12), catch_up=catch_up) == at(first)

    def test_dates_before_the_start_are_not_made_up_for(self) -> None:
        assert next_due(DAILY, at(6, 0), last=at(1), now=at(8, 12), catch_up=24) == at(6)

    def test_a_backfill_walks_through_all_dates(self) -> None:
        assert next_due(DAILY, START, catch_up=1) == datetime(2026, 1, 1, 6)
        assert next_due(DAILY, START, last=datetime(2026, 1, 1, 6)) == datetime(2026, 1, 2, 6)


class TestEnd:
    END = at(9, 0)

    def test_the_last_date(self) -> None:
        assert next_due(DAILY, START, self.END, last=at(7), now=at(7, 8)) == at(8)
        assert next_due(DAILY, START, self.END, last=at(8), now=at(8, 8)) is None
        assert next_due(DAILY, START, self.END, last=at(8)) is None

    def test_an_outage_before_it_is_made_up_for(self) -> None:
        assert next_due(DAILY, START, self.END, last=at(5), now=at(8, 8), catch_up=9) == at(6)

    def test_it_may_be_a_date_itself(self) -> None:
        assert next_due(DAILY, START, at(9), last=at(8), now=at(9)) == at(9)
        assert next_due(DAILY, START, at(9), now=at(9), catch_up=3) == at(9)
        assert next_due(DAILY, START, at(9), last=at(9), now=at(9)) is None

    @pytest.mark.parametrize("last", [None, at(5), at(8)])
    def test_a_schedule_that_is_over_starts_nothing(self, last: datetime | None) -> None:
        assert next_due(DAILY, START, self.END, last=last, now=at(9, 6), catch_up=24) is None

    def test_an_expression_that_never_comes_true(self) -> None:
        assert next_due("0 0 31 2 *", START, now=at(1)) is None
