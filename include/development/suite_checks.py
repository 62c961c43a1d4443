"""Whether suites can be read, and whether the columns that they expect are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.development.checked_file import Checked
from include.errors import SpecificationError
from include.quality.suites import load_suite
from include.specification.located_yaml import Location
from include.specification.pipeline_file import Finding
from include.wording import nearest, some

_MATCHES_SET = "expect_table_columns_to_match_set"
_ONE = ("column", "column_A", "column_B")
_SEVERAL = ("column_list", "column_set")


@dataclass(frozen=True)
class Columns:
    """The columns that a suite will find.

    Args:
        names: Their names.
        whose: Where they come from, e.g. ``features() returns``.
        advice: What to do about one that is not among them.
    """

    names: Sequence[str]
    whose: str
    advice: str


def check_suites(checked: Checked, folder: Path) -> Iterator[Finding]:
    """Read every suite that the file names."""
    named: dict[str, Location] = {}
    for source, rules in checked.pipeline.sources.items():
        named.setdefault(rules.suite, ("sources", source, "suite"))
    named.setdefault(checked.pipeline.features.suite, ("features", "suite"))
    for suite, location in named.items():
        try:
            load_suite(suite, folder)
        except SpecificationError as error:
            line = getattr(error.__cause__, "lineno", None)  # of a JSON error
            if line is None:
                yield checked.error(location, str(error))
            else:
                yield Finding(f"{suite}.json", line, str(error))


def check_columns(suite: str, folder: Path, columns: Columns) -> Iterator[Finding]:
    """Compare the columns that a suite expects with those that it will find.

    A suite that cannot be read has no finding here; :func:`check_suites` tells it.
    """
    try:
        expectations = load_suite(suite, folder)["expectations"]
    except SpecificationError:
        return
    text = (folder / f"{suite}.json").read_text(encoding="utf-8")
    for item, (start, end) in zip(expectations, _positions(text, len(expectations)), strict=True):
        for name in _expected(item["kwargs"]):
            if name not in columns.names:
                at = text.find(json.dumps(name, ensure_ascii=False), start, end)
                near = nearest(name, columns.names)
                yield Finding(
                    f"{suite}.json",
                    text.count("\n", 0, max(at, start)) + 1,
                    f"{item['type']}: its columns must be among those that {columns.whose}, got "
                    f"{name!r}{near if 'did you mean' in near else '.'} {columns.advice}",
                )
        if item["type"] == _MATCHES_SET and item["kwargs"].get("exact_match", True):
            listed = item["kwargs"].get("column_set") or ()
            unlisted = [name for name in columns.names if name not in listed]
            if unlisted:
                yield Finding(
                    f"{suite}.json",
                    text.count("\n", 0, start) + 1,
                    f"{item['type']}: must list every column that {columns.whose}, got none for "
                    f"{some(map(repr, unlisted))}. Add it, or set exact_match to false.",
                )


def _expected(arguments: Mapping[str, Any]) -> list[str]:
    """Name the columns that the arguments of an expectation name."""
    names = [arguments[key] for key in _ONE if isinstance(arguments.get(key), str)]
    for key in _SEVERAL:
        names += [name for name in arguments.get(key) or () if isinstance(name, str)]
    return list(dict.fromkeys(names))


def _positions(text: str, count: int) -> list[tuple[int, int]]:
    """Find where each of the expectations of a suite begins and ends in its text.

    Where that is not plain, e.g. under a key that is written in escapes, it is the whole text.
    """
    for opening in re.finditer(r'"expectations"\s*:\s*\[', text):
        found = list(_objects(text, opening.end()))
        if len(found) == count:  # other than a list of the same name in meta
            return found
    return [(0, len(text))] * count


def _objects(text: str, at: int) -> Iterator[tuple[int, int]]:
    decoder = json.JSONDecoder()
    while at < len(text):
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        if text[at : at + 1] != "{":
            return
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError:  # the word stands within a text
            return
        yield at, end
        at = end
