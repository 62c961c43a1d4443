"""Parquet files as rows in the types of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
        return decode(what, file.read())


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
            yield 0, decode(what, file.read())
            return
        yield 0, decode(what, schema.empty_table())
        column, start = schema.get_field_index(time), 0
        kind = schema.field(column).type if column >= 0 else pa.null()
        is_moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            if not is_moment or may_hold(group, column):
                yield start, decode(what, file.read_row_group(index), start)
            start += group.num_rows


def _check(what: str, schema: pa.Schema) -> None:
    if not schema.names:
        raise SourceError(f"{what} must have columns, got none. Land rows with columns.")
    check_names(what, schema.names)
    check_types(what, schema)
