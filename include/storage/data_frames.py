"""From Arrow to pandas for the whole library, so that no value passes through a float.

pandas itself turns whole numbers into floats as soon as one is missing, and floats hold whole
numbers up to 2**53 only: two identifiers become one. A test keeps every other conversion out.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

_WHOLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def to_pandas(rows: pa.Table | pa.RecordBatch) -> pd.DataFrame:
    """Take rows to pandas, each column as :func:`to_series` does.

    Returns:
        Shape (n_rows, n_columns), numbered from 0.
    """
    columns = {name: to_series(rows[name]) for name in rows.schema.names}
    return pd.DataFrame(columns, index=pd.RangeIndex(rows.num_rows))


def to_series(column: pa.ChunkedArray | pa.Array) -> pd.Series[Any]:
    """Take a column to pandas without loss.

    Args:
        column: Of any plain type; categories (dictionaries) become their values.

    Returns:
        Shape (n_rows,). Whole numbers: of NumPy's type, or where one is missing of pandas'
        nullable type of the same width. Floats as they are, NaN for missing. Decimals, strings
        and booleans with a missing one: objects, None for missing. Booleans: bool. Timestamps
        and dates: datetime64 in their unit (dates in ms), NaT for missing.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    nullable = _WHOLE.get(column.type) if column.null_count else None
    series: pd.Series[Any] = column.to_pandas(
        date_as_object=False, types_mapper=None if nullable is None else lambda _: nullable
    )
    return series
