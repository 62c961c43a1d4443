"""Expectation suites as files, checked before anything runs on them.

Great Expectations is imported inside the functions: it takes seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from include.errors import SpecificationError
from include.wording import nearest

EXPECTATIONS = Path(__file__).parents[2] / "expectations"
SEVERITIES = ("critical", "warning", "info")
_SUITE_KEYS = ("name", "expectations", "meta")
_EXPECTATION_KEYS = ("type", "kwargs", "severity", "meta")
_OWN_ARGUMENTS = frozenset(
    {"batch_id", "catch_exceptions", "id", "meta", "rendered_content", "result_format", "severity"}
)
_TEXT = 200


def load_suite(name: str, folder: Path = EXPECTATIONS) -> dict[str, Any]:
    """Read ``<name>.json`` and check every expectation of it.

    Great Expectations itself drops an expectation of unknown type with a line in the log; here it
    is an error. A date without a time as ``min_value`` or ``max_value`` becomes midnight, since
    Great Expectations cannot compare timestamps with dates.

    Returns:
        ``{"name", "expectations": [{"type", "kwargs", "severity", "meta"}, ...], "meta"}``.

    Raises:
        SpecificationError: If the file is missing, is no JSON, has no expectation, or holds an
            unknown key, type, argument or severity, or a value that does not fit.
    """
    path = folder / f"{name}.json"
    known = sorted(item.stem for item in folder.glob("*.json"))
    if name not in known:
        raise SpecificationError(
            f"suite {name}: its file must be {path.name} in {folder}, got none"
            f"{nearest(name, known)}"
        )
    try:
        suite = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
        )
    except (ValueError, OSError, RecursionError) as error:
        raise SpecificationError(
            f"suite {path.name}: must be JSON, got {error}. Correct the line."
        ) from error
    held = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(held, list) or not held:
        raise SpecificationError(
            f"suite {path.name}: must be an object with at least one of expectations, got none. "
            "A suite that expects nothing would pass anything."
        )
    _check_keys(f"suite {path.name}", suite, _SUITE_KEYS)
    if suite.get("name") != name:
        raise SpecificationError(
            f"suite {path.name}: its name must be that of the file, got {suite.get('name')!r}. "
            "Rename one of them."
        )
    expectations = [
        _checked_expectation(f"suite {path.name}: expectation {number}", item)
        for number, item in enumerate(suite["expectations"], start=1)
    ]
    return {"name": name, "expectations": expectations, "meta": suite.get("meta") or {}}


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Take an object as JSON does, which would keep the last of two values of a key only."""
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the key {twice[0]!r} twice in one object")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name}, which is no number of JSON and nothing could be compared with")


def _checked_expectation(subject: str, item: Any) -> dict[str, Any]:
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise SpecificationError(f"{subject}: must be an object with a type, got {item!r:.100}.")
    kind = item["type"]
    types = list_registered_expectation_implementations()
    if kind not in types:
        near = nearest(kind, types)
        hint = near if "did you mean" in near else "; see the Great Expectations gallery"
        raise SpecificationError(f"{subject}: its type must be a known one, got {kind!r}{hint}")
    subject = f"{subject} ({kind})"
    _check_keys(subject, item, _EXPECTATION_KEYS)
    severity = item.get("severity", "critical")
    if severity not in SEVERITIES:
        raise SpecificationError(
            f"{subject}: severity must be one of {', '.join(SEVERITIES)}, got {severity!r}"
            f"{nearest(str(severity), SEVERITIES)}"
        )
    implementation = get_expectation_impl(kind)
    arguments = sorted(set(implementation.__fields__) - _OWN_ARGUMENTS)
    given = item.get("kwargs") or {}
    if not isinstance(given, dict):
        raise SpecificationError(f"{subject}: kwargs must be an object, got {given!r:.100}.")
    kwargs = {key: _midnight(key, value) for key, value in given.items()}
    for key in kwargs:
        if key not in arguments:
            raise SpecificationError(
                f"{subject}: must have known arguments only, got {key!r}{nearest(key, arguments)}"
            )
    meta = item.get("meta") or {}
    try:
        implementation(**kwargs, severity=severity, meta=meta)
    except (ValueError, TypeError) as error:
        raise SpecificationError(
            f"{subject}: its arguments must fit, got {_first_problem(error)}. Correct them."
        ) from error
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": meta}


def _check_keys(subject: str, item: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in item:
        if key not in known:
            raise SpecificationError(
                f"{subject}: must have known keys only, got {key!r}{nearest(key, known)}"
            )


def _midnight(key: str, value: Any) -> Any:
    is_day = isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value)
    return f"{value}T00:00:00" if is_day and key in ("min_value", "max_value") else value


def _first_problem(error: Exception) -> str:
    """Render a pydantic error (of its version 1, as Great Expectations uses) in a few words."""
    problems: Any = error.errors() if hasattr(error, "errors") else []
    if not problems:
        return str(error).splitlines()[0][:_TEXT]
    place = ".".join(str(part) for part in problems[0]["loc"] if part != "__root__")
    return f"{place}: {problems[0]['msg']}" if place else str(problems[0]["msg"])
