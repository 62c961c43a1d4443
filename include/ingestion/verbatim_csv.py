"""Text files as they are written: packed or not, and rows of CSV with their quotes."""

from __future__ import annotations

import gzip
import zlib
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
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"file {name}: must be gzip, as its name says, got {error}. Make it again."
        ) from error


def write_cells(rows: Sequence[Sequence[str]], dialect: CsvDialect) -> bytes:
    """Write rows in a dialect; cells that need quotes get them.

    Not by Python's writer, which leaves a cell with a carriage return without quotes.
    """
    needing = (dialect.delimiter, dialect.quote, "\n", "\r")

    def written(cell: str) -> str:
        if not any(character in cell for character in needing):
            return cell
        doubled = cell.replace(dialect.quote, 2 * dialect.quote)
        return f"{dialect.quote}{doubled}{dialect.quote}"

    lines = [dialect.delimiter.join(map(written, row)) for row in rows]
    # An empty line would be no row.
    text = "".join(f"{line or 2 * dialect.quote}\n" for line in lines)
    return text.encode(dialect.encoding)
