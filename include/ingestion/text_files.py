"""Text files of every format as columns: their cells, what of them is missing, and their types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion import csv_files, json_lines_files
from include.ingestion.cell_types import is_finer, mask_missing, read_as
from include.ingestion.text_pieces import TextPiece
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import CsvDialect


@dataclass(frozen=True)
class TypedRows:
    """Rows of a text file in the types of their columns.

    Args:
        rows: The columns, null where a cell cannot be read.
        unparsed: Of each row the cells that cannot, as a JSON object, null if there is none;
            string, shape (n_rows,).
        rounded: Columns with times finer than a microsecond, which were cut off.
    """

    rows: pa.Table
    unparsed: pa.Array
    rounded: frozenset[str]


def read_pieces(
    open_file: Callable[[], Any], what: str, file_format: str, dialect: CsvDialect
) -> Iterator[TextPiece]:
    """Read a file as text; nothing but blank cells is taken for missing yet.

    Args:
        open_file: Opens the decompressed file from its start, as often as it is called.
        what: The file, for messages.
        file_format: ``csv`` or ``json_lines``.
        dialect: How CSV files are written.

    Raises:
        SourceError: If the file is malformed.
    """
    if file_format == "csv":
        return csv_files.read_csv(open_file, what, dialect)
    return json_lines_files.read_json_lines(open_file, what)


def joined(pieces: Iterable[TextPiece]) -> TextPiece:
    """Put pieces together; a column that one of them lacks is null there."""
    held = list(pieces)
    cells = pa.concat_tables([piece.cells for piece in held], promote_options="default")
    quoted = {
        name: pa.concat_arrays([piece.quoted.get(name, _unquoted(piece)) for piece in held])
        for name in cells.column_names
        if any(name in piece.quoted for piece in held)
    }
    return TextPiece(cells, quoted)


def without_missing(piece: TextPiece, words_of: Callable[[str], Sequence[str]]) -> TextPiece:
    """Make cells null that stand for "missing".

    Args:
        piece: Rows.
        words_of: Gives the words that mean "missing" in a column.
    """
    cells = piece.cells
    for position, name in enumerate(cells.column_names):
        if words := words_of(name):
            held = mask_missing(cells[name].combine_chunks(), words)
            cells = cells.set_column(position, name, held)
    return TextPiece(cells, piece.quoted)


def typed(
    cells: pa.Table, kinds: Mapping[str, ColumnType | None], dialect: CsvDialect
) -> TypedRows:
    """Read every column as its type.

    Args:
        cells: Strings, null where missing.
        kinds: Type by column; None for one without cells, and string where none is given.
        dialect: How numbers are written.
    """
    columns, faults, rounded = [], dict[int, dict[str, str]](), set()
    for name in cells.column_names:
        column, kind = cells[name].combine_chunks(), kinds.get(name, "string")
        if kind is None:
            columns.append(pa.nulls(len(column)))
            continue
        read = read_as(column, kind, dialect)
        columns.append(read)
        if kind == "timestamp" and is_finer(column):
            rounded.add(name)
        wrong = pc.and_(column.is_valid(), read.is_null())
        positions = pc.indices_nonzero(wrong)
        for position, original in zip(
            positions.to_pylist(), column.take(positions).to_pylist(), strict=True
        ):
            faults.setdefault(position, {})[name] = original
    unparsed: list[str | None] = [None] * cells.num_rows
    for position, originals in faults.items():
        unparsed[position] = json.dumps(originals, ensure_ascii=False)
    rows = pa.table(columns, names=cells.column_names)
    return TypedRows(rows, pa.array(unparsed, pa.string()), frozenset(rounded))


def _unquoted(piece: TextPiece) -> pa.Array:
    return pa.array([False] * piece.cells.num_rows, pa.bool_())
