"""How messages name things: a bounded list, the nearest valid spelling, the words of a person."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

# Longest reason that a person may give, in characters.
LONGEST_REASON = 1000
# What a terminal obeys instead of showing it, but for tabs and ends of lines: control characters,
# and those that turn the direction of writing.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


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


def as_sentence(text: str) -> str:
    """End words with a full stop, unless they end as a sentence does."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def counted(count: int, noun: str) -> str:
    """Tell how many there are; the noun is one whose plural takes an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def harmless(text: str) -> str:
    """Replace by spaces what could rewrite somebody's terminal."""
    return _OBEYED.sub(" ", text)


def take_reason(text: str) -> str:
    """Take a reason that a person gives as it goes on record, in one line.

    Raises:
        ValueError: If it says nothing, or too much.
    """
    reason = " ".join(harmless(text).split())
    if not reason:
        raise ValueError("must say why, got nothing. Name the reason.")
    if len(reason) > LONGEST_REASON:
        raise ValueError(
            f"must have at most {LONGEST_REASON} characters, got {len(reason)}. Say it shorter."
        )
    return reason
