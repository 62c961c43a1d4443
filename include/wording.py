"""How messages name things: a bounded list, the nearest valid spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def some(names: Iterable[str], limit: int = 5, nothing: str = "none") -> str:
    """List the first few names and count the others.

    Args:
        names: What to list.
        limit: How many are named.
        nothing: What to say if there are none.
    """
    listed = list(names)
    more = len(listed) - limit
    told = ", ".join(listed[:limit]) or nothing
    return f"{told} and {more} more" if more > 0 else told


def nearest(value: str, choices: Sequence[str]) -> str:
    """Suggest the nearest valid spelling, as the end of a sentence ('' if nothing is near)."""
    near = difflib.get_close_matches(value, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(sorted(choices))}"


def renamed(missing: Sequence[str], new: Sequence[str]) -> list[str]:
    """Name what is missing, each with the new name that it may have now.

    Args:
        missing: Names that were there before.
        new: Names that were not.
    """
    told = []
    for name in missing:
        near = difflib.get_close_matches(name, sorted(new), n=1)
        if not near and len(missing) == len(new) == 1:
            near = list(new)
        told.append(f"{name} (perhaps now {near[0]!r})" if near else name)
    return told
