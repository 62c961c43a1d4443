"""Proposed suites: what must hold to go on is critical and near certain; the rest is a warning.

What a critical expectation points at goes to quarantine, so only keys and labels are critical.
Ranges, sets and missing shares come from one sample and are warnings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from include.development.scaffold.inspection import Column, inspect, quantile
from include.development.scaffold.proposal import SOURCE, Proposal

Expectation = dict[str, Any]
MOST_LEVELS = 20
# Great Expectations takes about 20 ms for each expectation, and a training runs the suites thrice.
WIDE = 200
_MOSTLY = 0.99
_LONGEST = 200


def source_suite(proposal: Proposal) -> str:
    """Propose the suite of the source, as JSON with an expectation a line."""
    wish = proposal.wish
    named = [proposal.entity, wish.time, wish.target, wish.known_at]
    used = [name for name in named if name is not None and name in proposal.frame]
    used += [feature.column.name for feature in proposal.features]
    found = [
        _critical(
            "expect_table_columns_to_match_set",
            "The feature function and the label need these columns.",
            column_set=list(dict.fromkeys(used)),
            exact_match=False,
        ),
        _critical(
            "expect_table_row_count_to_be_between",
            f"review: set bounds once the usual size is known{_usual_size(proposal)}.",
            min_value=1,
        ),
        *_key(proposal, is_feature=False),
        *_target(proposal),
    ]
    is_wide = len(proposal.features) > WIDE
    for feature in proposal.features:
        if not is_wide:
            found.append(_missing(feature.column))
        found += _column(proposal, feature.column)
    notes = (
        f"Proposed from {len(proposal.frame):,} of {proposal.sample.rows:,} rows. Critical rows "
        "go to quarantine; warnings are only reported. Review every line."
    )
    if is_wide:
        notes += (
            f" Of more than {WIDE} features the missing shares are left to the watch on drift: "
            "each expectation takes time."
        )
    return _suite(f"{wish.name}_{SOURCE}", notes, found)


def features_suite(proposal: Proposal, columns: list[str]) -> str:
    """Propose the suite of what the feature function returns.

    Args:
        proposal: The proposal.
        columns: What the function returns, keys first.
    """
    found = [
        _critical(
            "expect_table_columns_to_match_set",
            "What the model was told to expect.",
            column_set=columns,
            exact_match=False,
        ),
        *_key(proposal, is_feature=True),
    ]
    for feature in proposal.features if len(proposal.features) <= WIDE else ():
        column = feature.column
        if column.kind == "boolean":
            found.append(_set(column.name, [0, 1], "A flag."))
        elif column.kind == "number":
            found += _numbers(proposal, column)
    notes = (
        "What the feature function returns. Keys are critical. review: what the function itself "
        "guarantees should be critical, too."
    )
    if len(proposal.features) > WIDE:
        notes += f" Of more than {WIDE} features the ranges stand in the source's suite alone."
    return _suite(f"{proposal.wish.name}_features", notes, found)


def _suite(name: str, notes: str, found: list[Expectation]) -> str:
    lines = ",\n".join(f"    {json.dumps(item, ensure_ascii=False)}" for item in found)
    head = f'  "name": {json.dumps(name)},\n  "meta": {json.dumps({"notes": notes})},\n'
    return f'{{\n{head}  "expectations": [\n{lines}\n  ]\n}}\n'


def _key(proposal: Proposal, *, is_feature: bool) -> Iterator[Expectation]:
    entity, time = proposal.entity, proposal.wish.time
    has_entity = is_feature or entity in proposal.frame
    if has_entity:
        yield _critical("expect_column_values_to_not_be_null", "The key of the row.", column=entity)
    comes_back = entity in proposal.frame and bool(proposal.frame[entity].duplicated().any())
    if has_entity and comes_back and time is not None:
        yield _critical(
            "expect_compound_columns_to_be_unique",
            "An entity may come back, but not at the same time.",
            column_list=[entity, time],
        )
    elif has_entity:
        yield _critical(
            "expect_column_values_to_be_unique",
            "One row per entity; of two rows with one key nobody can say which is right.",
            column=entity,
        )
    if time is not None:
        yield _critical(
            "expect_column_values_to_not_be_null",
            "The event time decides the partition.",
            column=time,
        )


def _target(proposal: Proposal) -> Iterator[Expectation]:
    target = proposal.target
    if target.task == "regression":
        low, high = _bounds(proposal, target.column)
        yield _between(target.column, low, high, "The target.")
    else:
        values = [_plain(value) for value in target.classes]
        if target.strays:
            note = (
                f"The target. {len(target.strays)} other values occur; a label that is no class "
                "goes to quarantine with its row."
            )
            yield _critical(
                "expect_column_values_to_be_in_set", note, column=target.column, value_set=values
            )
        else:
            yield _set(target.column, values, "The target. A warning, because new classes happen.")
    missing = float(target.labels.isna().mean())
    if missing:
        yield _not_null(target.column, missing, "A row without a label is scored, not learned.")


def _missing(column: Column) -> Expectation:
    note = f"{column.missing_share:.1%} missing in the sample."
    return _not_null(column.name, column.missing_share, note)


def _column(proposal: Proposal, column: Column) -> Iterator[Expectation]:
    if column.kind == "number":
        yield from _numbers(proposal, column)
    elif column.kind == "string" and _is_listed(column):
        yield _set(column.name, list(column.levels), f"{column.distinct} levels in the sample.")


def _is_listed(column: Column) -> bool:
    """Tell whether a person would read a list of the values of a column of strings."""
    return column.distinct <= MOST_LEVELS and max(map(len, column.levels)) <= _LONGEST


def _numbers(proposal: Proposal, column: Column) -> Iterator[Expectation]:
    if column.whole and column.distinct <= MOST_LEVELS:
        yield _set(
            column.name,
            [_plain(level) for level in column.levels],
            f"{column.distinct} whole numbers in the sample.",
        )
    else:
        low, high = _bounds(proposal, column.name)
        note = f"{column.low:g} to {column.high:g} in the sample; widened, apart from extremes."
        yield _between(column.name, low, high, note)


def _bounds(proposal: Proposal, name: str) -> tuple[float, float]:
    """Widen the range of all but the most extreme 0.2 % by half; zero stays a natural bound."""
    values = proposal.frame[name].dropna()
    column = inspect(values)
    if column.is_long:
        return _long_bounds(int(column.low or 0), int(column.high or 0))
    low, high = quantile(values, 0.001), quantile(values, 0.999)
    margin = 0.5 * (high - low) or max(1.0, abs(high))
    lowest = low - margin
    if values.min() >= 0 and lowest < 0:
        lowest = 0.0
    return _rounded(lowest, math.floor), _rounded(high + margin, math.ceil)


def _long_bounds(low: int, high: int) -> tuple[int, int]:
    """Widen a range of whole numbers that no float holds by half."""
    margin = (high - low) // 2 or abs(high)
    return (0 if 0 <= low < margin else low - margin), high + margin


def _rounded(value: float, direction: Any) -> float:
    """Round to two significant digits, outwards."""
    if value == 0 or not math.isfinite(value):
        return 0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = float(f"{direction(value / step) * step:.10g}")
    return int(rounded) if rounded.is_integer() else rounded


def _between(name: str, low: float, high: float, note: str) -> Expectation:
    return _warning(
        "expect_column_values_to_be_between",
        note,
        column=name,
        min_value=low,
        max_value=high,
        mostly=_MOSTLY,
    )


def _set(name: str, values: list[Any], note: str) -> Expectation:
    return _warning(
        "expect_column_values_to_be_in_set", note, column=name, value_set=values, mostly=_MOSTLY
    )


def _not_null(name: str, share: float, note: str) -> Expectation:
    mostly = max(0.0, math.floor((1 - 1.5 * share - 0.01) * 100) / 100)
    return _warning("expect_column_values_to_not_be_null", note, column=name, mostly=mostly)


def _critical(kind: str, note: str, **kwargs: Any) -> Expectation:
    return {"type": kind, "kwargs": kwargs, "severity": "critical", "meta": {"notes": note}}


def _warning(kind: str, note: str, **kwargs: Any) -> Expectation:
    meta: Mapping[str, str] = {"notes": f"review: {note}"}
    return {"type": kind, "kwargs": kwargs, "severity": "warning", "meta": meta}


def _usual_size(proposal: Proposal) -> str:
    if proposal.calendar is None:
        return f"; the sample is of {proposal.sample.rows:,} rows"
    return f"; the median partition has {proposal.calendar.median_rows:,} rows"


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain
