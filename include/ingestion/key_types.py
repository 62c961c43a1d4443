"""Keys by which sources are joined: both sides must be of one kind, compared when data land.

A join of texts with numbers fails long after ingestion, or pairs ``007`` with 7 in silence.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceError
from include.specification.pipeline import Pipeline
from include.wording import some

# Floats hold every whole number up to here, so that a larger one may have been another before.
_LARGEST_EXACT = 2**53


def check_keys(
    pipeline: Pipeline, source: str, subject: str, rows: pa.Table, others: Mapping[str, pa.Schema]
) -> None:
    """Compare the keys of a batch with those of the other sources that have landed.

    Keys are the entity, in every source that has it, and the event time of the rows that labels
    are about. Whole numbers of any width and decimals go together, times and dates as well.

    Args:
        pipeline: The pipeline file.
        source: Source of the batch.
        subject: Source and partition, for messages.
        rows: The batch.
        others: By name, the columns of other sources.

    Raises:
        SourceError: If a key is of another kind than in another source, or holds floats that may
            stand for several whole numbers.
    """
    if pipeline.entity in rows.column_names:
        _check_floats(subject, pipeline.entity, rows[pipeline.entity])
    for other, schema in others.items():
        theirs = _keys(pipeline, other)
        for role, column in _keys(pipeline, source).items():
            partner = theirs.get(role)
            if column not in rows.column_names or partner not in schema.names:
                continue
            found, wanted = rows.schema.field(column).type, schema.field(partner).type
            kinds = {_kind(found), _kind(wanted)}
            if len(kinds) == 1 or (role == "event time" and "time" in kinds):
                continue  # a time may be landed as a text or a year, too
            raise SourceError(
                f"{subject}: column {column} must be of one kind with {partner} of source "
                f"{other}, because both are the {role} by which rows are joined, got {found} here "
                f"and {wanted} there. Land both with one type."
            )


def check_named(pipeline: Pipeline, source: str, subject: str, rows: pa.Table) -> None:
    """Refuse labels without a column that the pipeline file names.

    The first batch begins the table, whose columns then stay: after one whose header is missing or
    misspelt nothing that is right could land. Of other sources the feature function may make
    whatever is named from other columns.

    Args:
        pipeline: The pipeline file.
        source: Source of the batch.
        subject: Source and partition, for messages.
        rows: The batch.

    Raises:
        SourceError: If a column is missing.
    """
    labels = pipeline.sources[source].labels
    if labels is None:
        return
    named = {
        pipeline.entity: "entity",
        **{
            str(getattr(labels, key)): f"sources.{source}.labels.{key}"
            for key in ("column", "known_at", "event_time")
            if getattr(labels, key) is not None
        },
    }
    for column, key in named.items():
        if column not in rows.column_names:
            raise SourceError(
                f"{subject}: must have a column {column}, which {key} of the pipeline file names, "
                f"got {some(rows.column_names, 10)}. Correct the header or the delimiter of the "
                "file and land it again, or correct the pipeline file."
            )


def _keys(pipeline: Pipeline, source: str) -> dict[str, str]:
    """Name the key columns of a source by what they are."""
    keys = {"entity": pipeline.entity}
    labels = pipeline.sources[source].labels
    if source == pipeline.primary_source and pipeline.event_time is not None:
        keys["event time"] = pipeline.event_time
    elif labels is not None and labels.event_time is not None:
        keys["event time"] = labels.event_time
    return keys


def _check_floats(subject: str, column: str, values: pa.ChunkedArray) -> None:
    if not pa.types.is_floating(values.type):
        return
    largest = pc.max(pc.abs(values)).as_py() or 0
    if largest >= _LARGEST_EXACT:
        raise SourceError(
            f"{subject}: column {column} names rows, so its numbers must be exact, got "
            f"{largest:.0f} as {values.type}, which is rounded. Land it as whole numbers or text."
        )


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    return "boolean" if types.is_boolean(kind) else "text"
