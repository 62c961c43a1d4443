"""Times as they are landed, read as moments: naive UTC, in microseconds."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.partitions import FIRST_YEAR, LAST_YEAR
from include.errors import SourceError

MOMENT = pa.timestamp("us")
_YEARS = (1000, 9999)
# ISO 8601 also has forms without dashes, which could as well be numbers. Slashes after a year can
# be read in one way only; 03/04/2005 cannot.
_DATE_FIRST = r"^\d{4}(-\d{2}-\d{2}|/\d{2}/\d{2})([T ].+)?$"
_DATE_LENGTH = len("2005-07-14")


def to_moments(column: pa.ChunkedArray, subject: str) -> pa.ChunkedArray:
    """Read a column of times.

    Args:
        column: Timestamps (with a time zone they are taken to UTC), dates, ISO 8601 strings (with
            ``Z`` or an offset they are taken to UTC; also with slashes, as 2005/07/14), or whole
            years from 1000 to 9999, which stand for their first moment.
        subject: What the column is, for messages.

    Returns:
        timestamp[us], of the column's length, without nulls.

    Raises:
        SourceError: If a value is null or cannot be read, or the column is of another type.
    """
    if column.null_count:
        raise SourceError(
            f"{subject}: must hold a time in every row, got {column.null_count} of {len(column)} "
            "rows without. Fill it in, or land the rows without it elsewhere."
        )
    types = pa.types
    if types.is_timestamp(column.type):
        return pc.floor_temporal(without_zone(column), unit="microsecond").cast(MOMENT)
    if types.is_date(column.type):
        return column.cast(MOMENT)
    if types.is_integer(column.type):
        return _years(column, subject)
    if types.is_dictionary(column.type):
        return to_moments(column.cast(column.type.value_type), subject)
    if types.is_string(column.type) or types.is_large_string(column.type):
        moments = pa.chunked_array([read_texts(chunk) for chunk in column.chunks], MOMENT)
        if moments.null_count:
            first = column.filter(moments.is_null())[0].as_py()
            raise SourceError(
                f"{subject}: must hold times such as '2005-07-14' or '2005-07-14T06:30:00Z', got "
                f"{moments.null_count} of {len(column)} rows with others, such as {first!r}. "
                "Land them in ISO 8601."
            )
        return moments
    raise SourceError(
        f"{subject}: must be a timestamp, a date, an ISO 8601 string or a year, got {column.type}. "
        "Convert it before landing."
    )


def outside_partitions(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tell which moments lie in no partition that could be run: before 1000 or after 9998.

    Args:
        moments: timestamp[us], without nulls.

    Returns:
        bool, of the same length.
    """
    first = pa.scalar(datetime(FIRST_YEAR, 1, 1), MOMENT)
    after = pa.scalar(datetime(LAST_YEAR + 1, 1, 1), MOMENT)
    return pc.or_(pc.less(moments, first), pc.greater_equal(moments, after))


def check_years(moments: pa.ChunkedArray, subject: str) -> None:
    """Refuse moments that lie in no partition that could be run.

    Args:
        moments: timestamp[us], without nulls.
        subject: What the column is, for messages.

    Raises:
        SourceError: If one does, naming the first and its row, counted from 1.
    """
    rows = pc.indices_nonzero(outside_partitions(moments).combine_chunks())
    if len(rows):
        first = rows[0].as_py()
        raise SourceError(
            f"{subject}: times by which rows are put into partitions must lie in the years "
            f"{FIRST_YEAR} to {LAST_YEAR}, got {moments[first].as_py()} in row {first + 1}"
            f"{f' and {len(rows) - 1} more' if len(rows) > 1 else ''}. Correct them, or leave "
            "those rows out."
        )


def read_texts(texts: pa.Array) -> pa.Array:
    """Read ISO 8601 strings, perhaps with slashes, as timestamp[us]; null where one is none."""
    unlike = pc.invert(pc.match_substring_regex(texts, _DATE_FIRST))
    encoded = pc.if_else(unlike, None, texts).dictionary_encode()  # few dates, many rows
    moments = [_moment(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(moments, MOMENT).take(encoded.indices)


def without_zone(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take timestamps to UTC and their time zone off."""
    if column.type.tz is None:
        return column
    unit = column.type.unit
    return column.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit))


def _moment(text: str) -> datetime | None:
    try:
        dashed = text[:_DATE_LENGTH].replace("/", "-") + text[_DATE_LENGTH:]
        moment = datetime.fromisoformat(dashed)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def _years(column: pa.ChunkedArray, subject: str) -> pa.ChunkedArray:
    first, last = _YEARS
    strange = column.filter(pc.or_(pc.less(column, first), pc.greater(column, last)))
    if len(strange):
        raise SourceError(
            f"{subject}: whole numbers must be years from {first} to {last}, got "
            f"{strange[0].as_py()} in {len(strange)} of {len(column)} rows. Land a date."
        )
    days = pc.binary_join_element_wise(column.cast(pa.string()), "-01-01", "")
    return days.cast(pa.date32()).cast(MOMENT)
