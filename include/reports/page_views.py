"""Which part of a long list a page shows: the latest first, a page at a time, and by filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar
from urllib.parse import urlencode

Item = TypeVar("Item")


@dataclass(frozen=True)
class View:
    """What a person asked to see of the decisions.

    Args:
        page: Page of the partitions, from 1, the latest ones.
        entries: Page of the ledger, from 1, the latest entries.
        partition: What names of partitions begin with; '' for all.
        kind: Kind of the ledger's entries; '' for all.
        badge: Badge that partitions must have; '' for all.
    """

    page: int = 1
    entries: int = 1
    partition: str = ""
    kind: str = ""
    badge: str = ""

    def query(self, **changed: int | str) -> str:
        """Spell the view with changes as the query of an address, without what goes unsaid."""
        view = replace(self, **changed)  # type: ignore[arg-type]
        said = {name: value for name, value in vars(view).items() if value != getattr(LATEST, name)}
        return f"?{urlencode(said)}" if said else "?"


LATEST = View()


@dataclass(frozen=True)
class Part(Generic[Item]):
    """One page of a list.

    Args:
        items: What is on it.
        number: Its number, from 1.
        pages: How many there are, at least 1.
        total: Items on all pages.
    """

    items: Sequence[Item]
    number: int
    pages: int
    total: int


def latest_part(items: Sequence[Item], number: int, size: int) -> Part[Item]:
    """Take a page of a list that is in time order; page 1 has the latest, each is in time order.

    Args:
        items: The whole list.
        number: Which page; one beyond the last is the last.
        size: Items on a page.
    """
    pages = max(1, -(-len(items) // size))
    number = min(max(1, number), pages)
    end = len(items) - (number - 1) * size
    return Part(items[max(0, end - size) : end], number, pages, len(items))
