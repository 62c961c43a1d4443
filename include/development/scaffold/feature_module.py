"""The proposed feature function."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from include.calendar.partitions import Frequency
from include.development.scaffold.calendar import varying_parts
from include.development.scaffold.proposal import SOURCE, Feature, Proposal
from include.development.scaffold.rendering import one_line, prose, quoted, rendered, seen
from include.spark.column_names import backticked

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CODE = 92


def selected(proposal: Proposal) -> tuple[list[str], list[str]]:
    """Write the columns of the feature function; returns its lines and the names it returns."""
    entity, time = proposal.entity, proposal.wish.time
    lines, columns = [f"{_column(entity)},"], [entity]
    if time is not None:
        lines.append(f"{_moment(proposal, time)},")
        columns.append(time)
    for feature in proposal.features:
        line, review = f"{_feature(feature)},", one_line(feature.review)
        if review and len(f"{line}  # {review}") > _CODE:
            lines.append(f"# {review}")
        elif review:
            line = f"{line}  # {review}"
        lines.append(line)
        columns.append(feature.column.name)
    held = {str(name).casefold() for name in proposal.frame}
    for part, function in _parts(proposal):
        name = f"{time}_{part}"
        if name.casefold() not in held:
            moment = "".join(_as_moment(proposal))
            lines.append(f"{_aliased([f'f.{function}({moment})'], name)},")
            columns.append(name)
    return lines, columns


def feature_module(proposal: Proposal, lines: Sequence[str], columns: Sequence[str]) -> str:
    """Render the module with the feature function.

    Args:
        proposal: The proposal.
        lines: What the function selects, as :func:`selected` wrote it.
        columns: What it returns.
    """
    keys = [f"``{prose(name)}``" for name in keys_of(proposal)]
    count = len(columns) - len(keys)
    left_out = [f"{item.name}: {item.reason}" for item in proposal.left_out]
    return rendered(
        "features.py",
        name=proposal.wish.name,
        seen=seen(proposal),
        uses_functions=any("f." in line for line in lines),
        source=SOURCE,
        count=count,
        entity=f"``{prose(proposal.entity)}``",
        returned=f"{', '.join(keys)} and {count} feature{'' if count == 1 else 's'}",
        lines=[part for line in lines for part in line.split("\n")],
        left_out=[line for text in left_out for line in textwrap.wrap(one_line(text), _CODE)],
    )


def keys_of(proposal: Proposal) -> list[str]:
    """Name the entity and, if there is one, the event time."""
    return [name for name in (proposal.entity, proposal.wish.time) if name is not None]


def _column(name: str) -> str:
    """Name a column in a select; one with a dot would be taken for a structure."""
    return quoted(name) if _PLAIN.fullmatch(name) else f"f.col({quoted(backticked(name))})"


def _feature(feature: Feature) -> str:
    name, kind = feature.column.name, feature.column.kind
    reference = _column(name)
    column = reference if reference.startswith("f.") else f"f.col({reference})"
    match kind:
        case "string":
            return _aliased([f"f.trim({reference})"], name)
        case "boolean":
            return _aliased([column, '.cast("int")'], name)
        case _:
            return reference


def _aliased(calls: Sequence[str], name: str) -> str:
    """Chain calls and name the result; what is too long for a line is broken as ruff does."""
    alias = f".alias({quoted(name)})"
    line = "".join([*calls, alias])
    if len(line) < _CODE:
        return line
    if len(calls) > 1:
        return "\n".join([*calls, alias])
    return f"{calls[0]}.alias(\n    {quoted(name)}\n)"


def _moment(proposal: Proposal, name: str) -> str:
    is_raw = proposal.time == "moment"
    return _column(name) if is_raw else _aliased(_as_moment(proposal), name)


def _as_moment(proposal: Proposal) -> list[str]:
    """Write the event time as a moment, as calls to chain."""
    reference = _column(str(proposal.wish.time))
    match proposal.time:
        case "text":
            # Spark knows dates with dashes only.
            if proposal.frame[proposal.wish.time].str.contains("/").any():
                reference = f'f.translate({reference}, "/", "-")'
            # Through a moment with a zone, so that an offset in the text counts.
            return [f"f.to_timestamp({reference})", '.cast("timestamp_ntz")']
        case "year":
            return [f"f.make_date({reference}, f.lit(1), f.lit(1))", '.cast("timestamp_ntz")']
        case "date":
            column = reference if reference.startswith("f.") else f"f.col({reference})"
            return [column, '.cast("timestamp_ntz")']
        case _:
            return [reference]


def _parts(proposal: Proposal) -> list[tuple[str, str]]:
    """List the parts of the event time that vary within a partition; others would always drift."""
    if proposal.calendar is None or proposal.time == "year":
        return []
    frequency = proposal.calendar.frequency
    parts = []
    if proposal.has_hours and frequency is not Frequency.HOURLY:
        parts.append(("hour", "hour"))
    if frequency not in (Frequency.HOURLY, Frequency.DAILY):
        parts.append(("weekday", "dayofweek"))
    if frequency is Frequency.YEARLY:
        parts.append(("month", "month"))
    varying = varying_parts(proposal.frame[proposal.wish.time])
    return [(part, function) for part, function in parts if part in varying]
