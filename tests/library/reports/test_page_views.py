"""Pages of a long list: nothing is left out, nothing comes twice, and links keep the filters."""

from __future__ import annotations

import pytest

from include.reports.page_views import View, latest_part


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 30, 31])
def test_all_pages_together_are_the_list(count: int) -> None:
    items = list(range(count))
    first = latest_part(items, 1, 10)
    parts = [latest_part(items, number, 10) for number in range(first.pages, 0, -1)]
    assert [item for part in parts for item in part.items] == items
    assert all(len(part.items) <= 10 and part.total == count for part in parts)
    assert list(first.items) == items[-10:]
    assert latest_part(items, 99, 10) == latest_part(items, first.pages, 10)


def test_a_link_says_what_is_not_usual() -> None:
    assert View().query() == "?"
    assert View(partition="2005", kind="rollback").query(page=2) == (
        "?page=2&partition=2005&kind=rollback"
    )
    assert View(page=2, partition="a b&c").query(page=1) == "?partition=a+b%26c"
