"""Parquet files as rows in the types of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.calendar.moments import MOMENT
from include.errors import SourceError
from include.ingestion.arrow_types import Decoded, check_types, decode
from include.ingestion.readable import readable
from include.ingestion.storable_columns import check_names
from include.storage.parquet import open_parquet

MayHold = Callable[[pq.RowGroupMetaData, int], bool]


def read_parquet(source: Any, what: str) -> Decoded:
    """Read a whole file.

    Args:
        source: Path or open file.
        what: The file, for messages.

    Raises:
        SourceError: If it cannot be read, has no column, or one that is refused.
    """
    with readable(what, "parquet"), open_parquet(source) as file:
        _check(what, file.schema_arrow)
        return _decoded(what, file, (source, None), range(file.num_row_groups))


def read_row_groups(
    path: str, filesystem: Any, what: str, time: str | None, may_hold: MayHold | None
) -> Iterator[tuple[int, Decoded]]:
    """Read a file's row groups.

    Args:
        path: Where it is.
        filesystem: Of the path.
        what: The file, for messages.
        time: Column that ``may_hold`` asks for.
        may_hold: Tells by its statistics whether a row group, whose ``time`` is the column with
            the given number, is wanted; None reads the file in one piece.

    Returns:
        At least one piece, and how many rows of the file come before it.

    Raises:
        SourceError: If it cannot be read, has no column, or one that is refused.
    """
    with readable(what, "parquet"), open_parquet(path, filesystem) as file:
        schema = file.schema_arrow
        _check(what, schema)
        if may_hold is None:
            yield 0, _decoded(what, file, (path, filesystem), range(file.num_row_groups))
            return
        yield 0, decode(what, schema.empty_table())
        column, start = schema.get_field_index(time), 0
        kind = schema.field(column).type if column >= 0 else pa.null()
        is_moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            if not is_moment or may_hold(group, column):
                yield start, _decoded(what, file, (path, filesystem), [index], start)
            start += group.num_rows


def _decoded(
    what: str, file: pq.ParquetFile, place: tuple[Any, Any], groups: Sequence[int], start: int = 0
) -> Decoded:
    """Read row groups; old times (INT96) once more, to tell what is finer than a microsecond."""
    decoded = decode(what, file.read_row_groups(groups), start)
    names = file.schema_arrow.names
    old = [name for at, name in enumerate(names) if file.schema.column(at).physical_type == "INT96"]
    if not old:
        return decoded
    with open_parquet(*place, old_times="ns") as exact:
        ticks = exact.read_row_groups(groups, columns=old)
    rounded = {name for name in old if _is_finer(decoded.rows[name], ticks[name])}
    return replace(decoded, rounded=decoded.rounded | rounded)


def _is_finer(moments: pa.ChunkedArray, ticks: pa.ChunkedArray) -> bool:
    """Tell whether nanoseconds hold more than the microseconds that they became."""
    first, after = (pa.scalar(datetime(year, 1, 1), MOMENT) for year in (1678, 2262))
    is_exact = pc.and_(pc.greater_equal(moments, first), pc.less(moments, after))
    floored = pc.floor_temporal(ticks, unit="microsecond")
    return bool(pc.any(pc.and_(is_exact, pc.not_equal(floored, ticks))).as_py())


def _check(what: str, schema: pa.Schema) -> None:
    if not schema.names:
        raise SourceError(f"{what} must have columns, got none. Land rows with columns.")
    check_names(what, schema.names)
    check_types(what, schema)
