"""What the cells of a text file mean: which ones stand for "missing", which columns are numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from include.specification.sections.section import ColumnType
from include.specification.sections.sources import NULL_VALUES
from include.storage.data_frames import to_pandas

# Cells that people and programs write for "missing"; they count in columns of numbers only.
NULL_CODES = frozenset(
    (
        *("?", "-", ".", "n/a", "na", "nan", "null", "none", "nil", "error", "invalid"),
        *("unknown", "missing", "undefined", "#n/a", "#value!"),
    )
)
_MOSTLY = 0.9
# Codes such as 01234 and keys of 19 digits lose something as numbers.
_CODE = r"[+-]?(0\d|\d{19})"
_ISO = r"\d{4}-\d{2}-\d{2}"
_ISO_MOMENT = _ISO + r"[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?"
_BOOLEANS = {"true", "false"}


@dataclass(frozen=True)
class Settled:
    """Typed columns of a text file.

    Args:
        frame: The cells in their types, missing where they cannot be read.
        null_values: Cells that mean "missing", besides the empty one.
        types: By column, what is not a string.
        unparsed: Whether a row holds a cell that its type cannot hold, bool, shape (n_rows,).
    """

    frame: pd.DataFrame
    null_values: tuple[str, ...]
    types: dict[str, ColumnType]
    unparsed: pd.Series


def settle(table: pa.Table, decimal: str, whole: Collection[str] = ()) -> Settled:
    """Choose a type for every column.

    Args:
        table: String columns, stripped.
        decimal: Decimal sign.
        whole: Columns whose numbers must stay whole (keys and classes); the others become
            numbers with a fraction, so that a later 2.5 is no error.
    """
    cells = to_pandas(table).astype(object)
    usual = {code.casefold() for code in NULL_VALUES}
    found: dict[str, None] = {}
    unparsed = pd.Series(False, index=cells.index)
    types: dict[str, ColumnType] = {}
    columns = {}
    for name in cells.columns:
        folded = cells[name].str.casefold()
        held = cells[name].mask(folded.isin({"", *usual}))
        read = held.mask(folded.isin(NULL_CODES)).dropna()
        kind = _type(read, decimal, name in whole)
        if kind in ("number", "integer"):
            codes = folded[held.notna() & folded.isin(NULL_CODES)]
            found.update(dict.fromkeys(codes))
            held = held.mask(folded.isin(NULL_CODES))
        columns[name] = _read(held, kind, decimal)
        if kind != "string":
            types[name] = kind
            unparsed |= held.notna() & columns[name].isna()
    null_values = (*NULL_VALUES, *sorted(found))
    # A code found in one column counts in all of them.
    for name in columns:
        if name not in types:
            columns[name] = columns[name].mask(cells[name].str.casefold().isin(found))
    return Settled(pd.DataFrame(columns), null_values, types, unparsed)


def _type(read: pd.Series, decimal: str, whole: bool) -> ColumnType:
    if read.empty:
        return "string"
    numbers = _numbers(read, decimal)
    if numbers.notna().mean() >= _MOSTLY and not read.str.match(_CODE).any():
        is_whole = (numbers.dropna() % 1 == 0).mean() >= _MOSTLY
        return "integer" if whole and is_whole else "number"
    for pattern, kind in ((_ISO, "date"), (_ISO_MOMENT, "timestamp")):
        if read.str.fullmatch(pattern).mean() >= _MOSTLY:
            return "date" if kind == "date" else "timestamp"
    if set(read.str.casefold()) <= _BOOLEANS:
        return "boolean"
    return "string"


def _read(held: pd.Series, kind: ColumnType, decimal: str) -> pd.Series:
    match kind:
        case "number":
            return _numbers(held, decimal)
        case "integer":
            numbers = _numbers(held, decimal)
            return numbers.where(numbers % 1 == 0)
        case "date" | "timestamp":
            moments = pd.to_datetime(held, errors="coerce", utc=True, format="ISO8601")
            return moments.dt.tz_localize(None)
        case "boolean":
            return held.str.casefold().map({"true": True, "false": False})
        case _:
            return held


def _numbers(cells: pd.Series, decimal: str) -> pd.Series:
    text = cells.str.replace(decimal, ".", regex=False) if decimal != "." else cells
    return pd.to_numeric(text, errors="coerce").astype("float64")
