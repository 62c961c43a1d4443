"""The proposed test: usual rows go through the feature function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from include.development.scaffold.feature_module import keys_of
from include.development.scaffold.inspection import Column
from include.development.scaffold.proposal import SOURCE, Proposal
from include.development.scaffold.rendering import quoted, rendered
from include.ingestion.arrow_types import stored_as
from include.spark.column_names import backticked
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import ROW_ID

_CODE = 92
_ROWS = 3
_TEXT_TYPES: dict[ColumnType, str] = {
    "integer": "bigint",
    "number": "double",
    "string": "string",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp_ntz",
}
# By what a table stores, as Arrow spells it.
_SPARK_TYPES = {
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float": "float",
    "double": "double",
    "date32[day]": "date",
    "timestamp[us]": "timestamp_ntz",
}


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
        decimals=any("Decimal(" in line for row in rows for line in row),
        key=names.index(proposal.entity),
        moment={"date": "date", "moment": "datetime"}.get(str(proposal.time)),
    )


def _tuple(values: Sequence[str]) -> list[str]:
    """Write a tuple, on one line if it fits."""
    if len(values) > 1 and len(", ".join(values)) < _CODE:
        return [f"({', '.join(values)}),"]
    return ["(", *(f"    {value}," for value in values), "),"]


def _spark_type(proposal: Proposal, column: Column) -> str:
    """Name the type that the column will have in the table, as Spark spells it."""
    stated = proposal.types.get(column.name)
    if stated is not None:
        return _TEXT_TYPES[stated]
    kind = stored_as(proposal.sample.table.schema.field(column.name).type)
    if kind is not None and pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _SPARK_TYPES.get(str(kind), "string")


def _value(proposal: Proposal, columns: Mapping[str, Column], name: str, row: int) -> str:
    """Write a usual value of a column as Python; keys differ from row to row."""
    if name == proposal.entity:
        is_number = name in columns and columns[name].kind == "number"
        kind = _spark_type(proposal, columns[name]) if is_number else "string"
        return quoted(f"row {row + 1}") if kind == "string" else _number(kind, row + 1)
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
            return _number(_spark_type(proposal, column), value)


def _number(kind: str, value: float) -> str:
    if kind.startswith("decimal"):
        scale = int(kind.partition(",")[2].rstrip(")"))
        return f'Decimal("{value:.{scale}f}")'
    return repr(float(f"{value:.6g}")) if kind in ("double", "float") else str(int(value))


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
