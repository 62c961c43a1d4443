"""The proposed test: usual rows go through the feature function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from include.development.scaffold.feature_module import backticked, keys_of
from include.development.scaffold.inspection import Column
from include.development.scaffold.proposal import SOURCE, Proposal
from include.development.scaffold.rendering import quoted, rendered
from include.specification.sections.sources import ROW_ID

_CODE = 92
_ROWS = 3
_SPARK_TYPES = {"boolean": "boolean", "string": "string", "moment": "timestamp_ntz"}


def feature_test(proposal: Proposal) -> str:
    """Render the test of a pipeline; its few rows are made of usual values."""
    names = [name for name in keys_of(proposal) if name in proposal.frame]
    names += [feature.column.name for feature in proposal.features]
    columns = {column.name: column for column in proposal.columns}
    schema = [f"{backticked(name)} {_spark_type(proposal, columns[name])}" for name in names]
    if proposal.entity == ROW_ID:
        names, schema = [ROW_ID, *names], [f"`{ROW_ID}` string", *schema]
    schema = [f"{item}, " for item in schema[:-1]] + schema[-1:]
    rows = [
        _tuple([_value(proposal, columns, name, row) for name in names]) for row in range(_ROWS)
    ]
    return rendered(
        "test.py",
        name=proposal.wish.name,
        source=SOURCE,
        schema=[quoted(line) for line in schema],
        rows=rows,
        key=names.index(proposal.entity),
        moment={"date": "date", "moment": "datetime"}.get(str(proposal.time)),
    )


def _tuple(values: Sequence[str]) -> list[str]:
    """Write a tuple, on one line if it fits."""
    if len(values) > 1 and len(", ".join(values)) < _CODE:
        return [f"({', '.join(values)}),"]
    return ["(", *(f"    {value}," for value in values), "),"]


def _spark_type(proposal: Proposal, column: Column) -> str:
    if column.name == proposal.wish.time:
        return {"year": "int", "text": "string", "date": "date"}.get(
            str(proposal.time), "timestamp_ntz"
        )
    if column.kind == "number":
        is_integer = pd.api.types.is_integer_dtype(proposal.frame[column.name])
        is_widened = proposal.types.get(column.name) == "number"
        return "bigint" if is_integer and not is_widened else "double"
    return _SPARK_TYPES.get(column.kind, "string")


def _value(proposal: Proposal, columns: Mapping[str, Column], name: str, row: int) -> str:
    """Write a usual value of a column as Python; keys differ from row to row."""
    if name == proposal.entity:
        is_number = name in columns and columns[name].kind == "number"
        return str(row + 1) if is_number else quoted(f"row {row + 1}")
    column = columns[name]
    if name == proposal.wish.time:
        return _time_value(proposal)
    match column.kind:
        case "boolean":
            return "True"
        case "string":
            return quoted(column.levels[0])
        case _:
            value = float(np.median(proposal.frame[name].dropna().astype("float64")))
            is_whole = _spark_type(proposal, column) == "bigint"
            return str(int(value)) if is_whole else repr(float(f"{value:.6g}"))


def _time_value(proposal: Proposal) -> str:
    value = proposal.frame[proposal.wish.time].iloc[0]
    match proposal.time:
        case "year":
            return str(int(value))
        case "text":
            return quoted(str(value))
        case "date":
            return f"date({value.year}, {value.month}, {value.day})"
        case _:
            moment = pd.Timestamp(value)
            return f"datetime({moment.year}, {moment.month}, {moment.day}, {moment.hour})"
