"""Whether rows are the same as others, told by their keys and not by their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from include.storage.data_frames import to_series


@dataclass(frozen=True)
class KeySum:
    """Rows by their keys.

    Args:
        rows: How many there are.
        total: Sum of the keys' 64-bit hashes, modulo 2**64: the same for the same keys in any
            order, and for other ones but by an accident of one in 2**64.
    """

    rows: int
    total: int

    def __add__(self, other: KeySum) -> KeySum:
        """Sum up two lots of rows."""
        return KeySum(self.rows + other.rows, (self.total + other.total) % 2**64)


def key_sum(keys: pa.ChunkedArray) -> KeySum:
    """Sum up a column of keys; whole numbers of any width with one value are the same.

    Args:
        keys: Of any plain type, shape (n_rows,).
    """
    texts = to_series(keys.cast(pa.string())).to_numpy(object)
    hashes = pd.util.hash_array(texts, categorize=False)
    return KeySum(len(keys), int(np.add.reduce(hashes, dtype=np.uint64)))


def are_comparable(left: pa.DataType, right: pa.DataType) -> bool:
    """Tell whether equal keys of two types have equal sums."""
    types = pa.types
    whole = types.is_integer(left) and types.is_integer(right)
    return bool(whole or (_is_text(left) and _is_text(right)) or left == right)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
