"""CSV files as cells, exactly as they stand there."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence

from include.errors import SourceError
from include.specification.sections.sources import CsvDialect


def decompress(name: str, data: bytes) -> bytes:
    """Unpack a file whose name ends in ``.gz``; others stay as they are.

    Raises:
        SourceError: If it is not what its name says.
    """
    if not name.lower().endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise SourceError(
            f"file {name}: must be gzip, as its name says, got {error}. Make it again."
        ) from error


def read_cells(name: str, data: bytes, dialect: CsvDialect) -> tuple[list[str], list[list[str]]]:
    """Read header and rows; empty lines are left out.

    Args:
        name: Name of the file, for messages.
        data: The decompressed file.
        dialect: How it is written.

    Raises:
        SourceError: If it has no header, a line has another number of cells, or the encoding is
            another one.
    """
    encoding = "utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"file {name}: must be {dialect.encoding}, got byte {error.start} that is not. "
            "Correct csv.encoding in the pipeline file."
        ) from error
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=dialect.delimiter, quotechar=dialect.quote
    )
    header = next(reader, [])
    if not header:
        raise SourceError(f"file {name}: must begin with the names of its columns, got nothing.")
    rows = []
    for row in reader:
        if row and len(row) != len(header):
            raise SourceError(
                f"file {name}: line {reader.line_num} must have {len(header)} cells, as the "
                f"header, got {len(row)}. Correct the line, or the delimiter "
                f"{dialect.delimiter!r}."
            )
        if row:
            rows.append(row)
    return header, rows


def write_cells(rows: Sequence[Sequence[str]], dialect: CsvDialect) -> bytes:
    """Write rows in a dialect; cells that need quotes get them."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(
        buffer, delimiter=dialect.delimiter, quotechar=dialect.quote, lineterminator="\n"
    )
    writer.writerows(rows)
    return buffer.getvalue().encode(dialect.encoding)
