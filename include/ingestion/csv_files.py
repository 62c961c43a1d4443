"""CSV files as tables of text, in pieces: nothing here knows a column's type."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from include.errors import SourceError
from include.ingestion.storable_columns import check_names
from include.ingestion.text_pieces import TextPiece
from include.specification.sections.sources import CsvDialect

_BLOCK_BYTES = 8 * 1024 * 1024
_SHOWN = 80


def read_csv(
    open_file: Any, what: str, dialect: CsvDialect, null_values: Sequence[str]
) -> Iterator[TextPiece]:
    """Read a CSV file.

    Args:
        open_file: Opens the decompressed file from its start, as often as it is called.
        what: The file, for messages.
        dialect: How it is written.
        null_values: Cells that mean "missing", whatever their case, beside the empty one.

    Returns:
        At least one piece; cells are stripped of spaces around them.

    Raises:
        SourceError: If a line has another number of cells, a quote is never closed, or a column
            is refused.
    """
    invalid: list[str] = []

    def remember(row: Any) -> str:
        invalid.append(row.text)
        return "skip"

    missing = pa.array(["", *(value.strip().lower() for value in null_values)], pa.string())
    # A quote that is not closed swallows lines into one cell, and no count of cells shows it.
    spans_lines = False
    encoding = codecs.lookup(dialect.encoding).name
    with open_file() as stream:
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                # Only under this name does Arrow read it without Python.
                encoding="utf8" if encoding == "utf-8" else encoding,
                block_size=_BLOCK_BYTES,
                use_threads=False,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote,
                newlines_in_values=True,
                invalid_row_handler=remember,
            ),
            convert_options=arrow_csv.ConvertOptions(
                default_column_type=pa.string(), strings_can_be_null=False
            ),
        )
        names = [name.strip() for name in reader.schema.names]
        check_names(what, names)
        schema = pa.schema([(name, pa.string()) for name in names])
        yield TextPiece(schema.empty_table())
        for batch in reader:
            spans_lines = spans_lines or any(
                pc.any(pc.match_substring_regex(column, "[\r\n]")).as_py() for column in batch
            )
            cells = [pc.utf8_trim_whitespace(column) for column in batch]
            held = [pc.if_else(pc.is_in(pc.utf8_lower(c), missing), None, c) for c in cells]
            yield TextPiece(pa.Table.from_arrays(held, schema=schema))
    if invalid or spans_lines:
        _check_lines(open_file, what, dialect, len(names))
    if invalid:
        raise _wrong_line(what, len(names), f"{invalid[0][:_SHOWN]!r}")


def _check_lines(open_file: Any, what: str, dialect: CsvDialect, width: int) -> None:
    """Go over a suspicious file with a strict and slow reader that knows the lines."""
    with open_file() as stream:
        encoding = codecs.lookup(dialect.encoding).name
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding
        text = io.TextIOWrapper(io.BufferedReader(stream), encoding=encoding, newline="")
        reader = csv.reader(text, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
        line = 1
        try:
            for cells in reader:
                if cells and len(cells) != width:
                    raise _wrong_line(what, width, f"{len(cells)} in line {line}")
                line = reader.line_num + 1
        except csv.Error as error:
            raise SourceError(
                f"{what}: every quote must be closed, got {error} in the row that begins in line "
                f"{line}. Correct that line, or csv.quote in the pipeline file, and land it again."
            ) from error


def _wrong_line(what: str, width: int, found: str) -> SourceError:
    return SourceError(
        f"{what}: every line must have {width} cells as the first one has, got {found}. Correct "
        "that line, or csv.delimiter and csv.quote in the pipeline file, and land it again."
    )
