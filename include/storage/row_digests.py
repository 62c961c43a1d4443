"""Whether two lots of rows are the same, in whatever order, told by a digest that is kept."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.storage.data_frames import to_series

# Any odd numbers; they only have to stay what they are.
_MIX, _NULL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)


def digest_rows(table: pa.Table, leave_out: Collection[str] = ()) -> str:
    """Digest rows in whatever order.

    Args:
        table: Plain columns, shape (n_rows, n_columns).
        leave_out: Columns that do not count.

    Returns:
        How many rows, and the sum of their 64-bit hashes modulo 2**64.
    """
    total = np.zeros(table.num_rows, np.uint64)
    for name in sorted(set(table.column_names) - set(leave_out)):
        with np.errstate(over="ignore"):
            # Mixed again, or values that change their rows would sum up to the same.
            total = pd.util.hash_array(total * _MIX + _hashes(table[name]))
    return f"{table.num_rows}-{int(np.add.reduce(total, dtype=np.uint64)):016x}"


def _hashes(column: pa.ChunkedArray) -> np.ndarray:
    """Hash each value, uint64; a null is told from every value."""
    types, kind = pa.types, column.type
    if types.is_integer(kind) or types.is_floating(kind):
        filled = pc.fill_null(column, pa.scalar(0, kind))
        hashes = pd.util.hash_array(filled.to_numpy())
    else:
        texts = to_series(pc.fill_null(column.cast(pa.string()), ""))
        hashes = pd.util.hash_array(texts.to_numpy(object))
    nulls = pc.is_null(column).to_numpy()
    return np.where(nulls, hashes ^ _NULL, hashes)
