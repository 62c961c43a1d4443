"""From the rows of a label source to canonical labels: entity, label and when it became known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.moments import to_moments
from include.calendar.partitions import Partition
from include.errors import SourceError
from include.ingestion.arrow_types import stored_as
from include.monitoring.binning import text_of
from include.specification.generations import LABELS
from include.specification.metric_names import Task
from include.specification.pipeline import Pipeline
from include.storage.data_frames import to_series
from include.wording import some

TABLE = LABELS
# Of a label, by task.
TYPES: dict[Task, pa.DataType] = {
    "binary": pa.int64(),
    "multiclass": pa.string(),
    "regression": pa.float64(),
}
_LISTED = 5
_POSITION = "_position"
_NOT_BY_ROW = "it gives other than one value for each row"
# An expression comes from a file: it may compute, and not read other files.
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "lock_configuration": "true",
}


def derive(pipeline: Pipeline, rows: pa.Table, partition: Partition) -> pa.Table:
    """Derive the labels that a batch of the label source brings; rows without one are left out.

    Args:
        pipeline: The pipeline file.
        rows: Validated rows of the label source.
        partition: Partition in which they landed.

    Returns:
        The entity column, for labels of another source that name it the event time, ``label``
        (int64, string or float64 by task) and ``known_at`` (timestamp[us], naive UTC).

    Raises:
        SourceError: If the label cannot be read as the task wants it, or was known only after
            the partition in which it landed had closed.
    """
    subject = f"source {pipeline.label_source} {partition}"
    keys, values, held = _landed(pipeline, rows, subject)
    columns = [
        *(key.filter(held) for key in keys.values()),
        pa.array(_encoded(pipeline, to_series(values.filter(held)), subject)),
        _known_at(pipeline, rows.filter(held), partition, subject),
    ]
    schema = _schema(pipeline, rows.schema)
    return pa.table(
        [column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)],
        schema=schema,
    )


def contradictions(pipeline: Pipeline, rows: pa.Table, partition: Partition) -> dict[int, str]:
    """Find the labels of a batch that contradict each other: of one row, known at one moment.

    Nothing tells which of them is right, and the order of rows and files must not. A label that
    is known later, or lands in a later partition, is no contradiction but a correction.

    Args:
        pipeline: The pipeline file.
        rows: Rows of the label source.
        partition: Partition in which they landed.

    Returns:
        By position in ``rows``, ascending, the labels that contradict each other there.

    Raises:
        SourceError: As :func:`derive` does.
    """
    subject = f"source {pipeline.label_source} {partition}"
    keys, values, held = _landed(pipeline, rows, subject)
    known_at = _known_at(pipeline, rows.filter(held), partition, subject)
    # Numbered, because a column may have any name.
    columns = [*(key.filter(held) for key in keys.values()), known_at]
    frame = pd.DataFrame(dict(enumerate(map(to_series, columns))))
    repeated = frame[frame.duplicated(keep=False)].dropna()
    labels = to_series(values.filter(held))[repeated.index].map(text_of)
    keys_of = [repeated[at] for at in repeated]
    odd = labels[labels.groupby(keys_of, sort=False).transform("nunique") > 1]
    positions = np.flatnonzero(held)
    told: dict[int, str] = {}
    for _, group in odd.groupby([key[odd.index] for key in keys_of], sort=False):
        listed = some(sorted(set(group)), _LISTED)
        told.update({int(positions[at]): listed for at in group.index})
    return dict(sorted(told.items()))


def columns_of(pipeline: Pipeline, columns: Sequence[str]) -> tuple[str, ...]:
    """Name the columns that the feature function must not see.

    Those are the label, or what the label is computed from, and when it was known; but never the
    entity and the event time, which name the row.

    Args:
        pipeline: The pipeline file.
        columns: Columns of the label source.

    Raises:
        SourceError: If ``labels.expression`` is no SQL.
    """
    if not pipeline.labels_in_row:
        return ()
    labels = pipeline.labels
    hidden = {labels.column, labels.known_at}
    if labels.expression is not None:
        hidden.update(_referenced(pipeline, labels.expression, columns))
    return tuple(name for name in columns if name in hidden.difference(pipeline.keys))


def _referenced(pipeline: Pipeline, expression: str, columns: Sequence[str]) -> set[str]:
    """Name the columns that an expression mentions, as DuckDB itself reads it."""
    with duckdb.connect(config=_CLOSED) as connection:
        tree = connection.execute(
            "select json_serialize_sql(?)", [f"select {as_label(expression)} from landed"]
        ).fetchall()[0][0]
    parsed = json.loads(tree)
    if parsed["error"]:
        raise _no_sql(f"source {pipeline.label_source}", expression, parsed["error_message"])
    mentioned: set[str] = set()
    tables = [node for node in _nodes(parsed) if node.get("type") == "BASE_TABLE"]
    whole = {str(node["alias"] or node["table_name"]).casefold() for node in tables}
    whole -= {name.casefold() for name in columns}  # a column of the table's name comes first
    for node in _nodes(parsed):
        if node.get("class") == "POSITIONAL_REFERENCE":
            raise _no_sql(
                f"source {pipeline.label_source}", expression, "a number such as #2 is no column"
            )
        row = [part.casefold() for part in node.get("column_names") or ()]
        if node.get("class") == "STAR" or (len(row) == 1 and row[0] in whole):
            return set(columns)  # a choice of columns, or the row as a whole
        if node.get("class") == "COLUMN_REF":
            # All parts: the column of a table, or the field of a column. SQL does not tell case.
            mentioned.update(part.casefold() for part in node["column_names"])
    return {name for name in columns if name.casefold() in mentioned}


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for item in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(item)


def _schema(pipeline: Pipeline, landed: pa.Schema) -> pa.Schema:
    """Name the types, which nothing else tells where no row has a label."""
    fields = [pa.field(pipeline.entity, landed.field(pipeline.entity).type)]
    event_time = pipeline.labels.event_time
    if event_time is not None and pipeline.event_time is not None:
        fields.append(pa.field(pipeline.event_time, pa.timestamp("us")))
    return pa.schema([*fields, ("label", TYPES[pipeline.task]), ("known_at", pa.timestamp("us"))])


def _landed(
    pipeline: Pipeline, rows: pa.Table, subject: str
) -> tuple[dict[str, pa.ChunkedArray], pa.ChunkedArray, pa.ChunkedArray]:
    """Read the keys, the label as it stands there, and whether the row has one that is known."""
    labels = pipeline.labels
    keys = {pipeline.entity: _column(rows, pipeline.entity, subject)}
    if labels.event_time is not None and pipeline.event_time is not None:
        landed = _column(rows, labels.event_time, subject)
        keys[pipeline.event_time] = to_moments(landed, f"{subject}: column {labels.event_time}")
    values = _values(pipeline, rows, subject)
    held = pc.invert(pc.is_null(values, nan_is_null=True))
    if labels.known_at is not None:
        known_at = _column(rows, labels.known_at, subject)
        held = pc.and_(held, pc.invert(pc.is_null(known_at, nan_is_null=True)))
    return keys, values, held


def _values(pipeline: Pipeline, rows: pa.Table, subject: str) -> pa.ChunkedArray:
    labels = pipeline.labels
    if labels.expression is None:
        values = _column(rows, str(labels.column), subject)
        # Classes such as 2005-07-14, without a time of day.
        return values.cast(pa.string()) if pa.types.is_date(values.type) else values
    return _computed(labels.expression, rows, subject)


def as_label(expression: str) -> str:
    """Write an expression as the column ``label`` of a select; it may end in a comment."""
    return f"({expression}\n) as label"


def _computed(expression: str, rows: pa.Table, subject: str) -> pa.ChunkedArray:
    """Compute an expression for each row, in the order of the rows.

    A window leaves rows in an order of its own, so each takes its position along.
    """
    numbered = rows.append_column(_POSITION, pa.array(range(rows.num_rows), pa.int64()))
    with duckdb.connect(config=_CLOSED) as connection:
        connection.register("landed", numbered)
        try:
            found = connection.sql(
                f"select {as_label(expression)}, {_POSITION} from landed order by {_POSITION}"
            ).to_arrow_table()
        except duckdb.Error as error:
            is_grouped = _POSITION in str(error).splitlines()[0]  # beside max(x) it must not stand
            reason = _NOT_BY_ROW if is_grouped else str(error)
            raise _no_sql(subject, expression, reason) from error
    is_by_row = found.column_names == ["label", _POSITION]
    if not is_by_row or not found[_POSITION].equals(numbered[_POSITION]):
        raise _no_sql(subject, expression, _NOT_BY_ROW)
    kind = found.schema.field("label").type
    if stored_as(kind) is None:
        raise _no_sql(subject, expression, f"it gives {kind}, which no label can be")
    return found["label"]


def _no_sql(subject: str, expression: str, reason: str) -> SourceError:
    return SourceError(
        f"{subject}: labels.expression must be SQL over the source's columns, got "
        f"{expression!r}: {reason.splitlines()[0]}. Correct the expression."
    )


def _known_at(
    pipeline: Pipeline, rows: pa.Table, partition: Partition, subject: str
) -> pa.ChunkedArray:
    name = pipeline.labels.known_at
    if name is None:
        # Known with the row, which is there when the partition has closed.
        last = partition.start if not pipeline.has_time else partition.end - timedelta(seconds=1)
        return pa.chunked_array([pa.repeat(pa.scalar(last, pa.timestamp("us")), rows.num_rows)])
    moments = to_moments(rows[name], f"{subject}: column {name}")
    closed = pa.scalar(partition.end, pa.timestamp("us"))
    early = moments.filter(pc.greater_equal(moments, closed))
    if len(early) and not pipeline.labels_in_row:
        raise SourceError(
            f"{subject}: {name} must lie before the partition closed ({partition.end:%Y-%m-%d}), "
            f"got {len(early)} rows known later. "
            "Land a label in the partition in which it became known."
        )
    return moments


def _encoded(pipeline: Pipeline, labels: pd.Series[Any], subject: str) -> pd.Series[Any]:
    match pipeline.task:
        case "multiclass":
            return labels.map(text_of).astype(object)
        case "regression":
            return _numbers(labels, subject)
        case "binary":
            return _zero_or_one(pipeline, labels, subject)


def _zero_or_one(pipeline: Pipeline, labels: pd.Series[Any], subject: str) -> pd.Series[Any]:
    positive = pipeline.labels.positive
    if positive is not None:
        others = sorted({text_of(value) for value in labels} - {text_of(positive)})
        if len(others) > 1:
            raise SourceError(
                f"{subject}: {pipeline.labels.column} must hold {positive!r} and one other value, "
                f"got {len(others)} others: {', '.join(others[:_LISTED])}. Correct "
                "labels.positive, or let the suite move rows with other values to quarantine."
            )
        return (labels.map(text_of) == text_of(positive)).astype("int64")
    odd = [value for value in labels.unique() if value not in (0, 1)]
    if odd:
        raise SourceError(
            f"{subject}: a binary label must be 0 and 1 or true and false, got "
            f"{', '.join(map(str, odd[:_LISTED]))}. Name the value that means 1 in "
            "labels.positive."
        )
    return labels.astype("int64")


def _numbers(labels: pd.Series[Any], subject: str) -> pd.Series[Any]:
    try:
        numbers = labels.astype("float64")
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"{subject}: the label of a regression must be a number, got {error}. Correct "
            "labels.column or labels.expression."
        ) from error
    endless = int((~np.isfinite(numbers)).sum())
    if endless:
        raise SourceError(
            f"{subject}: labels must be finite numbers, got {endless} that are not. Let the suite "
            "move those rows to quarantine."
        )
    return numbers


def _column(rows: pa.Table, name: str, subject: str) -> pa.ChunkedArray:
    if name not in rows.column_names:
        raise SourceError(
            f"{subject}: must have a column {name}, which the pipeline file names, got "
            f"{', '.join(rows.column_names)}. Correct the file or the source."
        )
    return rows[name]
