"""Rows of a text file before anything knows their types."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class TextPiece:
    """Rows of a file that follow each other.

    Args:
        cells: Every column as string.
        quoted: Columns that hold text by what the format says itself (JSON strings).
    """

    cells: pa.Table
    quoted: frozenset[str] = frozenset()
