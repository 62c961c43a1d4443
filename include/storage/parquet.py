"""The one way to open a Parquet file, so that all readers see the same values, and to pack one."""

from __future__ import annotations

import io
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq


def open_parquet(
    source: Any, filesystem: Any = None, old_times: Literal["us", "ns"] = "us"
) -> pq.ParquetFile:
    """Open a Parquet file.

    Old writers (Spark, Impala) store times as INT96, which Arrow reads as nanoseconds unless told
    otherwise: a date after 2262 would silently become one of another century. Nothing is taken
    from the file's path either, where a folder such as ``day=2025-01-01`` would become a column.

    Args:
        source: Path or open file.
        filesystem: Where the path is; the local one if None.
        old_times: What INT96 is read as. Nanoseconds are exact, but reach from 1678 to 2261 only.
    """
    return pq.ParquetFile(source, filesystem=filesystem, coerce_int96_timestamp_unit=old_times)


def parquet_bytes(rows: pa.Table) -> bytes:
    """Pack rows as a Parquet file."""
    data = io.BytesIO()
    pq.write_table(rows, data, compression="zstd")
    return data.getvalue()
