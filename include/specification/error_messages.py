"""What pydantic finds wrong with a pipeline file, in the words of the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from include.specification.located_yaml import Document, Location, Problem
from include.specification.pipeline import Pipeline
from include.specification.sections.section import SectionError
from include.wording import nearest

_VALUE_LENGTH = 80
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "date_type": "a date such as 2005-01-31",
    "date_parsing": "a date such as 2005-01-31",
    "date_from_datetime_parsing": "a date such as 2005-01-31",
    "date_from_datetime_inexact": "a date without a time, such as 2005-01-31",
    "tuple_type": "a list such as [a, b]",
    "mapping_type": "names with a value each, such as {name: value}",
    "dict_type": "names with a value each, such as {name: value}",
    "string_too_short": "one character",
    "string_too_long": "one character",
}
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def problems(error: ValidationError, document: Document) -> list[Problem]:
    """Turn pydantic's errors into problems of the file, one for each mistake.

    Args:
        error: What validating the file's content raised.
        document: The file.
    """
    found: dict[Location, list[Problem]] = {}
    unknown = [item["loc"] for item in error.errors() if item["type"] == "extra_forbidden"]
    for item in error.errors():
        if item["type"] == "missing" and _is_misspelt(item["loc"], unknown):
            continue
        # Members of a union report one by one; the last, the widest, tells what is allowed.
        found[_locate(item, document)] = list(_problems(item, document))
    return [problem for several in found.values() for problem in several]


def _is_misspelt(missing: Location, unknown: Sequence[Location]) -> bool:
    """Tell whether a missing key stands in its section under a near name."""
    *section, key = missing
    near = [str(at[-1]) for at in unknown if list(at[:-1]) == section]
    return bool(difflib.get_close_matches(str(key), near, n=1))


def _locate(item: ErrorDetails, document: Document) -> Location:
    """Leave out what pydantic adds to a location: names of union members, marks of keys."""
    location: Location = ()
    for part in item["loc"]:
        if (*location, part) in document.lines:
            location = (*location, part)
    return (*location, item["loc"][-1]) if item["type"] == "missing" else location


def _problems(item: ErrorDetails, document: Document) -> Iterator[Problem]:
    location, kind, value = _locate(item, document), item["type"], item["input"]
    context = item.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, SectionError):
        for key, rule in cause.rules.items():
            yield Problem((*location, key), _sentence(rule))
        return
    yield Problem(location or item["loc"], _rule(kind, location, value, context, item))


def _rule(
    kind: str, location: Location, value: Any, context: Mapping[str, Any], item: ErrorDetails
) -> str:
    got = "" if isinstance(value, Mapping) else f", got {shown(value)}"
    if kind == "extra_forbidden":
        return f"unknown key{_known_key(location)}"
    if kind == "missing":
        return "required. Add it."
    if kind == "too_short":
        return f"must hold at least one item, got {shown(value)}."
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']+)'", str(context.get("expected", "")))
        return f"not a valid value, got {shown(value)}{nearest(str(value), choices)}"
    if kind in ("model_type", "model_attributes_type"):
        keys = ", ".join(_keys(location))
        return f"must be a section, got {shown(value)}. Its keys are {keys}."
    if kind in _LIMITS:
        words, bound = _LIMITS[kind]
        return f"must be {words} {context[bound]:g}, got {shown(value)}."
    if kind in _EXPECTED:
        quotes = " Put it in quotes." if kind == "string_type" and value is not None else ""
        return f"must be {_EXPECTED[kind]}, got {shown(value)}.{quotes}"
    if kind == "value_error":
        return _sentence(f"{context['error']}{got}")
    return f"{item['msg'][0].lower()}{item['msg'][1:]}, got {shown(value)}."


def _sentence(rule: str) -> str:
    """End a rule by a full stop, unless it ends by a suggestion."""
    return rule if re.search(r"; (did you mean|choose from) ", rule) else f"{rule}."


def shown(value: Any) -> str:
    """Render a value as the file spells it, bounded."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a section" if value else "an empty section"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list" if value else "an empty list"
    if isinstance(value, date):
        return value.isoformat()
    text = repr(value)
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}..."


def _known_key(location: Location) -> str:
    """Suggest the nearest key of the section, else the section that the key belongs to."""
    *section, key = location
    suggestion = nearest(str(key), _keys(section))
    home = next((".".join(at) for at in _homes(Pipeline, ()) if at[-1] == key), "")
    if "did you mean" in suggestion or not home:
        return suggestion
    return f"; it is written as {home}"


def _keys(location: Sequence[str | int]) -> list[str]:
    """List the keys that are valid in the section at a location of the file."""
    annotations: list[Any] = [Pipeline]
    for part in location:
        below: list[Any] = []
        for annotation in _members(annotations):
            if _is_section(annotation):
                field = annotation.model_fields.get(str(part))
                below += [field.annotation] if field else []
            elif get_args(annotation):
                below.append(get_args(annotation)[-1])
        annotations = below
    sections = [item for item in _members(annotations) if _is_section(item)]
    return [key for section in sections for key in section.model_fields if key != "name"]


def _homes(section: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Walk over the locations of all keys; ``<name>`` stands for one that the file chooses."""
    for key, field in section.model_fields.items():
        if key != "name":
            yield (*above, key)
        for annotation in _members([field.annotation]):
            if _is_section(annotation):
                yield from _homes(annotation, (*above, key))
            for below in _members(get_args(annotation)[-1:]):
                if _is_section(below):
                    yield from _homes(below, (*above, key, "<name>"))


def sections_below(section: Any) -> Iterator[type[BaseModel]]:
    """Walk over the models of the sections below one, in the file's order, with repetitions."""
    for field in section.model_fields.values():
        for annotation in _members([field.annotation]):
            inside = [annotation, *_members(get_args(annotation)[-1:])]
            for item in (item for item in inside if _is_section(item)):
                yield item
                yield from sections_below(item)


def _members(annotations: Sequence[Any]) -> Iterator[Any]:
    """Take unions and annotations apart."""
    for annotation in annotations:
        origin = get_origin(annotation)
        if origin is Annotated:
            yield from _members(get_args(annotation)[:1])
        elif origin in (Union, UnionType):
            yield from _members(get_args(annotation))
        else:
            yield annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
