"""Rows of a text file before anything knows their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class TextPiece:
    """Rows of a file that follow each other.

    Args:
        cells: Every column as string; a blank cell is null.
        quoted: By column that has some, which cells hold text by what the format says itself
            (JSON strings), bool, shape (n_rows,).
    """

    cells: pa.Table
    quoted: Mapping[str, pa.Array] = field(default_factory=dict)
