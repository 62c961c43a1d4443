"""Which columns may be stored, and which casts between the types of a table lose nothing."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceError
from include.specification.own_columns import PREDICTIONS, is_reserved
from include.wording import some

_SHOWN = 80


def check_names(what: str, names: Sequence[str]) -> None:
    """Refuse columns without a name, with names alike, or with one that Relevo takes.

    Everything else that a file or a database allows is a name.

    Args:
        what: What has the columns, e.g. ``source loans 2005-Q3: file a.csv``.
        names: The columns' names.

    Raises:
        SourceError: If a name is refused.
    """
    nameless = [str(position) for position, name in enumerate(names, 1) if not name]
    if nameless:
        raise SourceError(
            f"{what} must name every column, got none for column {some(nameless)}. Name it, or "
            "leave it out: it may be the index of a data frame."
        )
    cut = [name for name in names if "\0" in name]
    if cut:
        raise SourceError(
            f"{what} must not use the character NUL in names, which ends a name in a table, got "
            f"{some(_shown(cut))}. Rename the column."
        )
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(normalize("NFC", normalize("NFC", name).casefold()), []).append(name)
    repeated = [group for group in alike.values() if len(group) > 1]
    twice = [group[0] for group in repeated if len(set(group)) == 1]
    if twice:
        raise SourceError(
            f"{what} must hold each column once, got {some(_shown(twice))} more than once. "
            "Rename one of them."
        )
    if repeated:
        raise SourceError(
            f"{what} must hold columns that differ by more than case or the way an accent is "
            f"stored, which tables do not tell apart, got {' and '.join(_shown(repeated[0]))}. "
            "Rename one of them."
        )
    reserved = [name for name in names if is_reserved(name)]
    if reserved:
        raise SourceError(
            f"{what} must not use 'partition', {PREDICTIONS!r} or names that begin with '_', which "
            f"Relevo adds itself, got {some(_shown(reserved))}. Rename the column."
        )


def _shown(names: Sequence[str]) -> list[str]:
    """Write names with quotes, so that blanks and what cannot be printed are seen."""
    return [f"{name[:_SHOWN]}..." if len(name) > _SHOWN else name for name in map(repr, names)]


def cast(what: str, table: pa.Table, target: pa.Schema, whose: str) -> pa.Table:
    """Cast columns to a schema without loss.

    Args:
        what: What has the columns.
        table: Rows with at least the target's columns, decoded.
        target: The columns to return, in the types of a table.
        whose: Whose types these are, for messages.

    Raises:
        SourceError: If a column is of another type, or holds values that do not fit.
    """
    columns = []
    for field in target:
        column = table[field.name]
        try:
            if not _may_cast(column.type, field.type):
                raise pa.ArrowInvalid("not a lossless cast")
            columns.append(_exact(column, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            lossy = _may_cast(column.type, field.type)
            values = f" with values that {field.type} cannot hold" if lossy else ""
            raise SourceError(
                f"{what}: column {field.name} must be {field.type} as in {whose}, got "
                f"{column.type}{values}. Land it with that type."
            ) from error
    return pa.table(columns, names=target.names)


def to_decimal(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Cast decimals or whole numbers to a decimal, by their values and not by their type.

    Raises:
        pa.ArrowInvalid: If a value does not fit.
    """
    if pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(38, 0))
    stored = column.cast(target)
    # Where more digits than 128 bits hold come out, pyarrow 25 goes on with the rest of them.
    if pa.types.is_decimal(column.type) and not stored.cast(column.type).equals(column):
        raise pa.ArrowInvalid(f"more digits than {target} has")
    return stored


def _may_cast(source: pa.DataType, target: pa.DataType) -> bool:
    """Tell whether a cast can be without loss; whether it is depends on the values.

    Numbers pass if every value does, because pandas turns whole numbers with a null into floats.
    """
    types = pa.types
    if types.is_null(source) or source == target:
        return True
    if types.is_integer(source):
        return bool(
            types.is_integer(target) or types.is_floating(target) or types.is_decimal(target)
        )
    if types.is_floating(source):
        return bool(types.is_integer(target) or target == pa.float64())
    if types.is_decimal(source):
        # To whole numbers, and to floats of tables from when a query's decimals were floats.
        return bool(types.is_decimal(target) or types.is_integer(target) or target == pa.float64())
    if types.is_date(source):
        return bool(types.is_timestamp(target))
    return False


def _exact(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Cast, unless a value would be another one afterwards."""
    types = pa.types
    if types.is_floating(column.type) and types.is_integer(target):
        # A float beyond it may have been another whole number before it became a float.
        largest = 2**24 if column.type == pa.float32() else 2**53
        if (pc.max(pc.abs(column)).as_py() or 0) >= largest:
            raise pa.ArrowInvalid(f"whole numbers in floats from {largest} on are rounded")
    if types.is_decimal(column.type) and types.is_floating(target):
        numbers = [None if value is None else float(value) for value in column.to_pylist()]
        cast = pa.chunked_array([pa.array(numbers, target)])
        if not cast.cast(column.type, safe=False).equals(column):
            raise pa.ArrowInvalid("more digits than a float has")
        return cast
    if types.is_decimal(target):
        return to_decimal(column, target)
    return column.cast(target, safe=True)
