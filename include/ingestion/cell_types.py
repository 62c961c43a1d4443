"""Cells of text files and their types: which type a column has, and what cannot be read as it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.moments import MOMENT, read_texts
from include.specification.sections.section import ColumnType

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "date": pa.date32(),
    "timestamp": MOMENT,
    "boolean": pa.bool_(),
    "string": pa.string(),
}
_TRIED: tuple[ColumnType, ...] = ("integer", "number", "date", "timestamp", "boolean")
_INTEGER = r"^[+-]?\d{1,30}(\.0*)?$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# A leading zero marks a code such as 01234, and a float has no room for 19 digits: both would
# lose what they say, so nobody but the pipeline file may call such a column a number.
_CODE = r"^[+-]?(0\d|\d{19})"
_LARGEST = Decimal(2**63 - 1)


class Inference:
    """The narrowest type that fits every cell of a column seen so far.

    Args:
        decimal: Decimal sign of numbers.
    """

    def __init__(self, decimal: str) -> None:
        self._decimal = decimal
        self._possible: list[ColumnType] = list(_TRIED)
        self._empty = True

    def see(self, cells: pa.Array, quoted: bool = False) -> None:
        """Take in more cells; quoted ones (JSON strings) are no numbers and no booleans."""
        cells = cells.drop_null()
        if len(cells) == 0:
            return
        self._empty = False
        tried: Iterable[ColumnType] = ("date", "timestamp") if quoted else _TRIED
        self._possible = [
            kind for kind in self._possible if kind in tried and _fits(cells, kind, self._decimal)
        ]

    @property
    def kind(self) -> ColumnType | None:
        """The type; None if there was no cell to tell by."""
        if self._empty:
            return None
        return self._possible[0] if self._possible else "string"


def read_as(cells: pa.Array, kind: ColumnType, decimal: str) -> pa.Array:
    """Read cells as a type.

    Args:
        cells: string.
        kind: The type; ``3.0`` is an integer, midnight is a date, and 1 and 0 are booleans.
        decimal: Decimal sign of numbers.

    Returns:
        The cells in the Arrow type of ``ARROW_TYPES``; null where a cell cannot be read.
    """
    if kind == "string":
        return cells
    cells = pc.utf8_trim_whitespace(cells)
    if kind == "integer":
        return _integers(_with_point(cells, decimal))
    if kind == "number":
        return _numbers(_with_point(cells, decimal))
    if kind == "boolean":
        return _booleans(cells)
    moments = read_texts(cells)
    if kind == "timestamp":
        return moments
    midnight = pc.equal(moments, pc.floor_temporal(moments, unit="day"))
    return pc.if_else(midnight, moments, None).cast(pa.date32())


def kind_of(stored: pa.DataType) -> ColumnType:
    """Name the type of cells that are stored as an Arrow type."""
    types = pa.types
    if types.is_integer(stored):
        return "integer"
    if types.is_floating(stored) or types.is_decimal(stored):
        return "number"
    if types.is_date(stored):
        return "date"
    if types.is_timestamp(stored):
        return "timestamp"
    return "boolean" if types.is_boolean(stored) else "string"


def _fits(cells: pa.Array, kind: ColumnType, decimal: str) -> bool:
    if read_as(cells, kind, decimal).null_count:
        return False
    if kind == "integer":
        return not pc.any(pc.match_substring_regex(cells, r"^[+-]?0\d")).as_py()
    if kind == "number":
        return not pc.any(pc.match_substring_regex(cells, _CODE)).as_py()
    if kind == "boolean":
        return not pc.any(pc.is_in(cells, pa.array(["0", "1"]))).as_py()
    return True


def _with_point(cells: pa.Array, decimal: str) -> pa.Array:
    if decimal == ".":
        return cells
    grouped = pc.match_substring(cells, ".")  # 1.234 with a decimal comma may be a thousand
    return pc.if_else(grouped, None, pc.replace_substring(cells, decimal, "."))


def _integers(cells: pa.Array) -> pa.Array:
    whole = pc.if_else(pc.match_substring_regex(cells, _INTEGER), cells, None)
    digits = pc.replace_substring_regex(whole, r"^\+|\.0*$", "")
    # Through decimals, because a cast of one number that is too large would fail for all.
    numbers = digits.cast(pa.decimal128(38, 0))
    largest = pa.scalar(_LARGEST, numbers.type)
    smallest = pa.scalar(-_LARGEST - 1, numbers.type)
    held = pc.and_(pc.less_equal(numbers, largest), pc.greater_equal(numbers, smallest))
    return pc.if_else(held, numbers, None).cast(pa.int64())


def _numbers(cells: pa.Array) -> pa.Array:
    plain = pc.if_else(pc.match_substring_regex(cells, _NUMBER), cells, None)
    numbers = pc.replace_substring_regex(plain, r"^\+", "").cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _booleans(cells: pa.Array) -> pa.Array:
    words = pc.utf8_lower(cells)
    known = pc.is_in(words, pa.array(["true", "false", "1", "0"]))
    return pc.if_else(known, pc.is_in(words, pa.array(["true", "1"])), None)
