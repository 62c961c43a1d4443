"""Cells of rows in quarantine as one text each, and back to the types of their table.

Texts are spelled as programs do, whatever the source's own spelling: a point for decimals, no marks
for thousands, ISO 8601 for times.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from include.ingestion.cell_types import kind_of, read_as
from include.ingestion.landed_batch import UNPARSED
from include.quality.values import text_of
from include.specification.own_columns import is_reserved
from include.specification.sections.sources import CsvDialect

_NO_NUMBERS = ("nan", "inf", "-inf")


def text_of_cell(value: Any) -> str | None:
    """Spell a cell; None if it is missing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else text_of(value)


def typed_rows(
    landed: Sequence[str], given: Sequence[Mapping[str, str | None]], schema: pa.Schema
) -> pa.Table:
    """Give rows the types of their table again.

    Args:
        landed: Each row as quarantine holds it, a JSON object.
        given: Cells that replace those of the row.
        schema: Columns and types; those of the platform are left out.

    Returns:
        The columns, and ``_unparsed``: of each row the cells that cannot be read as their column's
        type, as a JSON object, null if there is none; such a cell is null.
    """
    rows = [json.loads(row) for row in landed]
    unread: list[dict[str, str]] = [{} for _ in rows]
    # Text formats have no word for them, and tell of cells that could not be read.
    specials = () if UNPARSED in schema.names else _NO_NUMBERS
    fields = [field for field in schema if not is_reserved(field.name)]
    columns = []
    for field in fields:
        texts = [
            cells[field.name] if field.name in cells else text_of_cell(row.get(field.name))
            for row, cells in zip(rows, given, strict=True)
        ]
        untouched = [
            row.get(field.name) if field.name not in cells else None
            for row, cells in zip(rows, given, strict=True)
        ]
        lost = [_was_unread(value, field.type, specials) for value in untouched]
        column = _read(texts, field.type, lost, specials)
        for at, (text, value) in enumerate(zip(texts, column.to_pylist(), strict=True)):
            if text is not None and value is None:
                unread[at][field.name] = text
        columns.append(column)
    told = [json.dumps(cells, ensure_ascii=False) if cells else None for cells in unread]
    names = [*(field.name for field in fields), UNPARSED]
    return pa.table([*columns, pa.array(told, pa.string())], names=names)


def _was_unread(value: Any, kind: pa.DataType, specials: Collection[str]) -> bool:
    """Tell whether quarantine holds the text of a cell that could not be read when it landed."""
    if not isinstance(value, str):
        return False
    if pa.types.is_floating(kind):
        return value not in specials
    return kind_of(kind) in ("integer", "boolean")


def _read(
    texts: Sequence[str | None],
    kind: pa.DataType,
    lost: Sequence[bool],
    specials: Collection[str],
) -> pa.Array:
    cells = [None if was else text for text, was in zip(texts, lost, strict=True)]
    if pa.types.is_decimal(kind):
        return pa.array([_cast(cell, kind) for cell in cells], kind)
    read = read_as(pa.array(cells, pa.string()), kind_of(kind), CsvDialect()).to_pylist()
    if pa.types.is_floating(kind):
        read = [
            float(cell) if cell is not None and cell in specials else value
            for cell, value in zip(cells, read, strict=True)
        ]
    return pa.array([_cast(value, kind) for value in read], kind)


def _cast(value: Any, kind: pa.DataType) -> Any:
    """Give a value a type; None if it cannot have it."""
    try:
        return pa.array([value]).cast(kind)[0].as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
