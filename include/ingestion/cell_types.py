"""What a cell of a text file means: whether it is missing, and what it is under a type.

Everything that reads text files decides it here: ingestion, landing, and what proposes a pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.moments import MOMENT, read_texts
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import CsvDialect

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "date": pa.date32(),
    "timestamp": MOMENT,
    "boolean": pa.bool_(),
    "string": pa.string(),
}
_TRIED: tuple[ColumnType, ...] = ("integer", "number", "date", "timestamp", "boolean")
# By type, the wider one beside it: a fraction more, a time of day more.
_WIDER: Mapping[ColumnType, ColumnType] = {"integer": "number", "date": "timestamp"}
# A leading zero marks a code such as 01234, which is no number: it would become another code.
_INTEGER = r"^[+-]?(0|[1-9]\d{0,29})(\.0*)?$"
_NUMBER = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
# Neither is what a float has no room for; one such cell tells that its column holds codes.
_CODE = r"^[+-]?(0\d|\d{19})"
# So long that a float may have no room for it; an integer has room for the first kind.
_LONG = r"^[+-]?\d{16,18}(\.0*)?$"
_LONGER = r"^[+-]?\d{19,}(\.0*)?$"
# Digits of a second behind the sixth that are not all zero.
_FINER = r"[T ]\d{2}:?\d{2}:?\d{2}[.,]\d{6}\d*[1-9]"
_LARGEST = Decimal(2**63 - 1)
# What people type, by the mark that the pipeline file names.
_SPELLINGS = {" ": "[\u00a0\u202f]", "'": "\u2019"}


class Inference:
    """The narrowest type that fits every cell of a column seen so far.

    Args:
        dialect: How numbers are written.
        tolerance: Share of cells that a type may leave unread, in [0, 1); boolean and codes are
            never stretched.
    """

    def __init__(self, dialect: CsvDialect, tolerance: float = 0.0) -> None:
        self._dialect = dialect
        self._tolerance = tolerance
        self._unread: dict[ColumnType, int] = dict.fromkeys(_TRIED, 0)
        self._cells = 0

    def see(self, cells: pa.Array, quoted: pa.Array | None = None) -> None:
        """Take in more cells; quoted ones (JSON strings) are no numbers and no booleans."""
        if quoted is not None:
            quoted = quoted.filter(cells.is_valid())
        cells = cells.drop_null()
        if len(cells) == 0:
            return
        self._cells += len(cells)
        for kind in list(self._unread):
            unread = _unread(cells, quoted, kind, self._dialect)
            if unread is None or (unread and (self._tolerance == 0 or kind == "boolean")):
                del self._unread[kind]
            else:
                self._unread[kind] += unread

    @property
    def kind(self) -> ColumnType | None:
        """The type; None if there was no cell to tell by."""
        if not self._cells:
            return None
        for kind, unread in self._unread.items():
            wider = self._unread.get(_WIDER.get(kind, kind), unread)
            if unread <= self._tolerance * self._cells and unread <= wider:
                return kind
        return "string"


def mask_missing(cells: pa.Array, words: Iterable[str]) -> pa.Array:
    """Make cells null that stand for "missing".

    Args:
        cells: string.
        words: What means "missing", whatever its case and spaces around it.
    """
    missing = pa.array([word.strip().lower() for word in words], pa.string())
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(cells))
    return pc.if_else(pc.is_in(folded, missing), None, cells)


def read_as(cells: pa.Array, kind: ColumnType, dialect: CsvDialect) -> pa.Array:
    """Read cells as a type.

    Args:
        cells: string.
        kind: The type; ``3.0`` is an integer, midnight is a date, and 1 and 0 are booleans. A
            whole number that a float would round is no number, and neither is ``01234``.
        dialect: How numbers are written.

    Returns:
        The cells in the Arrow type of ``ARROW_TYPES``; null where a cell cannot be read.
    """
    if kind == "string":
        return cells
    cells = pc.utf8_trim_whitespace(cells)
    if kind == "integer":
        return _integers(_plain_numbers(cells, dialect))
    if kind == "number":
        return _numbers(_plain_numbers(cells, dialect))
    if kind == "boolean":
        return _booleans(cells)
    moments = read_texts(cells)
    if kind == "timestamp":
        return moments
    midnight = pc.equal(moments, pc.floor_temporal(moments, unit="day"))
    return pc.if_else(midnight, moments, None).cast(pa.date32())


def is_finer(cells: pa.Array) -> bool:
    """Tell whether a cell holds a time finer than a microsecond, which a timestamp cuts off.

    Args:
        cells: string.
    """
    return bool(pc.any(pc.match_substring_regex(cells, _FINER)).as_py())


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


def _unread(
    cells: pa.Array, quoted: pa.Array | None, kind: ColumnType, dialect: CsvDialect
) -> int | None:
    """Count the cells that a type cannot hold; None if one shows that it is another type."""
    read = read_as(cells, kind, dialect).is_valid()
    if quoted is not None and kind not in ("date", "timestamp"):
        read = pc.and_not(read, quoted)
    match kind:
        case "integer":
            # A number too large for an integer is a key all the same.
            codes = pc.and_not(pc.match_substring_regex(cells, _CODE), read)
            other = pc.or_(codes, pc.match_substring_regex(cells, r"^[+-]?0\d"))
        case "number":
            other = pc.or_(pc.match_substring_regex(cells, _CODE), _inexact(cells))
        case "boolean":
            other = pc.is_in(cells, pa.array(["0", "1"]))
        case _:
            other = pa.array([False])
    return None if pc.any(other).as_py() else len(cells) - int(pc.sum(read).as_py() or 0)


def _plain_numbers(cells: pa.Array, dialect: CsvDialect) -> pa.Array:
    """Write numbers as programs do; null where a mark stands where it must not."""
    mark, decimal = dialect.thousands, dialect.decimal
    if mark is not None:
        if mark in _SPELLINGS:
            cells = pc.replace_substring_regex(cells, _SPELLINGS[mark], mark)
        grouped = pc.match_substring(cells, mark)
        rightly = pc.match_substring_regex(
            cells, rf"^[+-]?[1-9]\d{{0,2}}([{mark}]\d{{3}})+([{decimal}]\d*)?$"
        )
        joined = pc.if_else(rightly, pc.replace_substring(cells, mark, ""), None)
        cells = pc.if_else(grouped, joined, cells)
    if decimal == ".":
        return cells
    pointed = pc.match_substring(cells, ".")  # 1.234 with a decimal comma may be a thousand
    return pc.if_else(pointed, None, pc.replace_substring(cells, decimal, "."))


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
    held = pc.and_not(pc.is_finite(numbers), _inexact(plain))
    return pc.if_else(held, numbers, None)


def _inexact(cells: pa.Array) -> pa.Array:
    """Tell which whole numbers a float would turn into others."""
    whole = _integers(pc.if_else(pc.match_substring_regex(cells, _LONG), cells, None))
    # Compared as whole numbers: beside a float Arrow would round them first.
    rounded = whole.cast(pa.float64(), safe=False).cast(pa.int64(), safe=False)
    inexact = pc.fill_null(pc.not_equal(whole, rounded), False)
    longer = pc.if_else(pc.match_substring_regex(cells, _LONGER), cells, None)
    if longer.null_count == len(longer):
        return inexact
    rounded = [cell is not None and _is_rounded(cell) for cell in longer.to_pylist()]
    return pc.or_(inexact, pa.array(rounded, pa.bool_()))


def _is_rounded(cell: str) -> bool:
    digits = cell.partition(".")[0]
    return Decimal(digits) != Decimal(float(digits))


def _booleans(cells: pa.Array) -> pa.Array:
    words = pc.utf8_lower(cells)
    known = pc.is_in(words, pa.array(["true", "false", "1", "0"]))
    return pc.if_else(known, pc.is_in(words, pa.array(["true", "1"])), None)
