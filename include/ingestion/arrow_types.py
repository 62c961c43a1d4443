"""What becomes of every Arrow type: stored as it is, in a plainer type that holds it, or refused.

Everything that reads rows with types of their own (Parquet files, queries, samples) decodes them
here once, so nothing behind it meets another type than those of a table.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.moments import MOMENT, without_zone
from include.errors import SourceError
from include.wording import some

_LARGEST_PRECISION = 38  # of a decimal in a table
_EXTENSION_NAME = b"ARROW:extension:name"
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

_Becomes = Callable[[pa.DataType], pa.DataType | None]


def _same(kind: pa.DataType) -> pa.DataType:
    return kind


def _to(stored: pa.DataType) -> _Becomes:
    return lambda kind: stored


def _refused(kind: pa.DataType) -> None:
    return None


def _decimal(kind: pa.DataType) -> pa.DataType | None:
    """Hold every digit; a table has neither a negative scale nor one above the precision."""
    scale = max(kind.scale, 0)
    precision = max(kind.precision - min(kind.scale, 0), scale)
    return pa.decimal128(precision, scale) if precision <= _LARGEST_PRECISION else None


def _of_values(kind: pa.DataType) -> pa.DataType | None:
    return stored_as(kind.value_type)


# By the name that Arrow gives the type, as in pyarrow.lib.Type_INT8.
BECOMES: Mapping[str, _Becomes] = {
    "NA": _same,  # only nulls, until something names a type
    "BOOL": _same,
    "INT8": _same,
    "INT16": _same,
    "INT32": _same,
    "INT64": _same,
    "UINT8": _to(pa.int16()),  # a table has no unsigned integers: the next wider one
    "UINT16": _to(pa.int32()),
    "UINT32": _to(pa.int64()),
    "UINT64": _to(pa.int64()),  # a larger value is refused
    "HALF_FLOAT": _to(pa.float32()),
    "FLOAT": _same,
    "DOUBLE": _same,
    "DECIMAL32": _decimal,
    "DECIMAL64": _decimal,
    "DECIMAL128": _decimal,
    "DECIMAL256": _decimal,
    "STRING": _to(pa.string()),
    "LARGE_STRING": _to(pa.string()),
    "STRING_VIEW": _to(pa.string()),
    "DATE32": _same,
    "DATE64": _to(pa.date32()),
    "TIMESTAMP": _to(MOMENT),  # naive UTC; what is finer than a microsecond is cut off and told
    "DICTIONARY": _of_values,
    "RUN_END_ENCODED": _of_values,
    "BINARY": _refused,
    "LARGE_BINARY": _refused,
    "BINARY_VIEW": _refused,
    "FIXED_SIZE_BINARY": _refused,
    "TIME32": _refused,
    "TIME64": _refused,
    "DURATION": _refused,
    "INTERVAL_MONTHS": _refused,
    "INTERVAL_DAY_TIME": _refused,
    "INTERVAL_MONTH_DAY_NANO": _refused,
    "LIST": _refused,
    "LARGE_LIST": _refused,
    "LIST_VIEW": _refused,
    "LARGE_LIST_VIEW": _refused,
    "FIXED_SIZE_LIST": _refused,
    "STRUCT": _refused,
    "MAP": _refused,
    "SPARSE_UNION": _refused,
    "DENSE_UNION": _refused,
}
_BY_ID = {getattr(pa.lib, f"Type_{name}"): becomes for name, becomes in BECOMES.items()}
EXTENSIONS: Mapping[str, pa.DataType] = {
    "arrow.uuid": pa.string(),
    "arrow.json": pa.string(),
    "arrow.bool8": pa.bool_(),
}


@dataclass(frozen=True)
class Decoded:
    """Rows in the types of a table.

    Args:
        rows: The rows.
        rounded: Columns with times finer than a microsecond, which were cut off.
    """

    rows: pa.Table
    rounded: frozenset[str] = frozenset()


def stored_as(kind: pa.DataType) -> pa.DataType | None:
    """Name the type that a table stores for a landed one; None if it must not be stored."""
    if isinstance(kind, pa.BaseExtensionType):
        return EXTENSIONS.get(kind.extension_name)
    becomes = _BY_ID.get(kind.id)
    return None if becomes is None else becomes(kind)


def check_types(what: str, schema: pa.Schema) -> None:
    """Refuse types that can never be stored.

    Raises:
        SourceError: If a column is nested, binary, or of another such type.
    """
    for field in schema:
        # What pandas stores so (periods) is a number that means another thing, and whether Arrow
        # knows its name depends on what was imported before.
        extension = ((field.metadata or {}).get(_EXTENSION_NAME) or b"").decode()
        if stored_as(field.type) is None or extension.startswith("pandas."):
            raise not_plain(what, field.name, extension or str(field.type))


def not_plain(what: str, column: str, found: str) -> SourceError:
    """Say that a column can never be stored."""
    return SourceError(
        f"{what}: column {column} must be a number, string, boolean, date or timestamp, got "
        f"{found}. Flatten or convert it before landing."
    )


def decode(what: str, table: pa.Table, start: int = 0) -> Decoded:
    """Take rows to the types of a table, exactly but for what is finer than a microsecond.

    Args:
        what: What has the columns, for messages.
        table: Rows as they landed, of types that :func:`check_types` let pass.
        start: Rows before them in the file, for messages.

    Raises:
        SourceError: If a value does not fit: a whole number above 2**63 - 1, a time outside the
            years 1 to 9999, a date with a time, a text that is not UTF-8.
    """
    columns, rounded = [], set()
    for name, column in zip(table.column_names, table.columns, strict=True):
        column = _unpacked(column)
        wanted = stored_as(column.type)
        if pa.types.is_timestamp(column.type):
            _check_times(what, name, column, start)
            column = without_zone(column)
            if column.type.unit == "ns":
                column, is_rounded = _to_microseconds(column)
                rounded |= {name} if is_rounded else set()
        elif pa.types.is_uint64(column.type):
            _check_whole(what, name, column, start)
        try:
            stored = column.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SourceError(
                f"{what}: column {name} must hold values that {wanted} can, got {column.type} "
                f"with others: {str(error).splitlines()[0]}. Convert it before landing."
            ) from error
        if pa.types.is_date(column.type):
            _check_times(what, name, stored, start)
        if pa.types.is_string(stored.type):
            _check_text(what, name, stored)
        columns.append(stored)
    fields = [pa.field(name, c.type) for name, c in zip(table.column_names, columns, strict=True)]
    return Decoded(pa.Table.from_arrays(columns, schema=pa.schema(fields)), frozenset(rounded))


def rounding_warnings(what: str, rounded: frozenset[str]) -> tuple[str, ...]:
    """Tell of times that were cut off at the microsecond; nothing if there are none."""
    if not rounded:
        return ()
    return (
        f"{what}: {some(sorted(rounded))}: times are kept to the microsecond; what is finer is "
        "cut off. Land it as a whole number of nanoseconds if it matters.",
    )


def widest(kinds: list[pa.DataType]) -> pa.DataType | None:
    """Name the type that holds the values of a column whose files differ; None if there is none.

    Args:
        kinds: Types of a table; those of columns without a value (null) agree with all.
    """
    held = list(dict.fromkeys(kind for kind in kinds if not pa.types.is_null(kind)))
    if not held:
        return pa.null()
    if all(pa.types.is_date(kind) or pa.types.is_timestamp(kind) for kind in held):
        return held[0] if len(held) == 1 else MOMENT
    try:
        schemas = [pa.schema([("column", kind)]) for kind in held]
        return stored_as(pa.unify_schemas(schemas, promote_options="permissive").field(0).type)
    except pa.ArrowException:
        return None


def by_file(kinds: Mapping[str, pa.DataType]) -> str:
    """Tell each type that a column has, with the first file that brings it.

    Args:
        kinds: Types by what people call the file, in the order of the files.
    """
    first: dict[str, str] = {}
    for label, kind in kinds.items():
        first.setdefault(str(kind), label)
    return some(f"{kind} in {label}" for kind, label in first.items())


def _unpacked(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take encodings and extension types off a column."""
    kind = column.type
    if pa.types.is_string_view(kind):
        return column.cast(pa.string())  # few functions of Arrow know views
    if pa.types.is_dictionary(kind):
        values = [_unpacked(pa.chunked_array([chunk.dictionary])) for chunk in column.chunks]
        taken = [v.take(c.indices) for v, c in zip(values, column.chunks, strict=True)]
        empty = _unpacked(pa.chunked_array([], kind.value_type))
        return pa.chunked_array([piece for v in taken for piece in v.chunks], empty.type)
    if pa.types.is_run_end_encoded(kind):
        chunks = [pc.run_end_decode(chunk) for chunk in column.chunks]
        return _unpacked(pa.chunked_array(chunks, kind.value_type))
    if not isinstance(kind, pa.BaseExtensionType):
        return column
    storage = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    if kind.extension_name == "arrow.uuid":
        texts = [cell and str(uuid.UUID(bytes=cell)) for cell in storage.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if kind.extension_name == "arrow.bool8":
        return storage.cast(pa.bool_())
    return storage


def _to_microseconds(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, bool]:
    """Cut nanoseconds off, and tell whether there were any; whole numbers do it to the edges."""
    ticks = column.cast(pa.int64())
    towards_zero = pc.divide(ticks, 1000)
    rest = pc.subtract(ticks, pc.multiply(towards_zero, 1000))
    micros = pc.subtract(towards_zero, pc.less(rest, 0).cast(pa.int64()))
    return micros.cast(MOMENT), bool(pc.any(pc.not_equal(rest, 0)).as_py())


def _check_times(what: str, name: str, column: pa.ChunkedArray, start: int) -> None:
    """Refuse times that neither Python nor Spark can hold; nanoseconds always fit."""
    first = (date.min - date(1970, 1, 1)).days
    after = (date.max - date(1970, 1, 1)).days + 1
    unit: Any = "D"
    if pa.types.is_date32(column.type):
        numbers = column.cast(pa.int32()).cast(pa.int64())
    else:
        numbers, unit = column.cast(pa.int64()), column.type.unit
        first, after = (days * 86_400 * _UNITS[unit] for days in (first, after))
    if unit != "ns":
        _check_values(
            f"{what}: column {name} must hold times of the years 1 to 9999",
            pc.or_(pc.less(numbers, first), pc.greater_equal(numbers, after)),
            lambda row: np.datetime64(numbers[row].as_py(), unit),
            start,
            "Correct it before landing.",
        )


def _check_text(what: str, name: str, column: pa.ChunkedArray) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"{what}: column {name} must hold text in UTF-8, got others: {error}. Convert it "
            "before landing."
        ) from error


def _check_whole(what: str, name: str, column: pa.ChunkedArray, start: int) -> None:
    _check_values(
        f"{what}: column {name} must hold whole numbers up to 2**63 - 1",
        pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())),
        lambda row: column[row].as_py(),
        start,
        "Convert it to text before landing.",
    )


def _check_values(
    rule: str, wrong: pa.ChunkedArray, value: Callable[[int], object], start: int, advice: str
) -> None:
    # Of a column without chunks indices_nonzero of pyarrow 25 crashes.
    rows = pc.indices_nonzero(wrong.combine_chunks())
    if len(rows):
        row = rows[0].as_py()
        raise SourceError(f"{rule}, got {value(row)} in row {start + row + 1}. {advice}")
