"""From the rows of a label source to canonical labels: entity, label and when it became known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from include.calendar.moments import to_moments
from include.calendar.partitions import Partition
from include.errors import SourceError
from include.monitoring.binning import text_of
from include.specification.pipeline import Pipeline

TABLE = "labels"
_LISTED = 5


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
    labels = pipeline.labels
    columns = {pipeline.entity: _column(rows, pipeline.entity, subject)}
    if labels.event_time is not None and pipeline.event_time is not None:
        landed = pa.chunked_array([pa.array(_column(rows, labels.event_time, subject))])
        moments = to_moments(landed, f"{subject}: column {labels.event_time}")
        columns[pipeline.event_time] = moments.to_pandas()
    frame = pd.DataFrame(columns)
    frame["label"] = _values(pipeline, rows, subject)
    if labels.known_at is not None:
        frame["known_at"] = _column(rows, labels.known_at, subject)
        frame = frame[frame["known_at"].notna()]
    frame = frame[frame["label"].notna()]
    frame["label"] = _encoded(pipeline, frame["label"], subject)
    frame["known_at"] = _known_at(pipeline, frame, rows.schema, partition, subject)
    return pa.Table.from_pandas(frame, _schema(pipeline, rows.schema), preserve_index=False)


def _schema(pipeline: Pipeline, landed: pa.Schema) -> pa.Schema:
    """Name the types, which nothing else tells where no row has a label."""
    fields = [pa.field(pipeline.entity, landed.field(pipeline.entity).type)]
    event_time = pipeline.labels.event_time
    if event_time is not None and pipeline.event_time is not None:
        fields.append(pa.field(pipeline.event_time, pa.timestamp("us")))
    label = {"binary": pa.int64(), "multiclass": pa.string(), "regression": pa.float64()}
    return pa.schema([*fields, ("label", label[pipeline.task]), ("known_at", pa.timestamp("us"))])


def columns_of(pipeline: Pipeline) -> tuple[str, ...]:
    """Name the columns that the feature function must not see: the label, and when it was known."""
    if not pipeline.labels_in_row:
        return ()
    named = (pipeline.labels.column, pipeline.labels.known_at)
    return tuple(name for name in named if name is not None)


def _values(pipeline: Pipeline, rows: pa.Table, subject: str) -> pd.Series[Any]:
    labels = pipeline.labels
    if labels.expression is None:
        return _column(rows, str(labels.column), subject)
    # The expression comes from a file: it may compute, and not read other files.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "lock_configuration": "true",
    }
    with duckdb.connect(config=settings) as connection:
        connection.register("landed", rows)
        try:
            found = connection.sql(f"select ({labels.expression}) as label from landed")
            label: pd.Series[Any] = found.to_arrow_table()["label"].to_pandas()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise SourceError(
                f"{subject}: labels.expression must be SQL over the source's columns, got "
                f"{labels.expression!r}: {reason}. Correct the expression."
            ) from error
    return label


def _known_at(
    pipeline: Pipeline,
    frame: pd.DataFrame,
    schema: pa.Schema,
    partition: Partition,
    subject: str,
) -> pd.Series[Any] | pd.Timestamp:
    name = pipeline.labels.known_at
    if name is None:
        # Known with the row, which is there when the partition has closed.
        last = partition.start if not pipeline.has_time else partition.end - timedelta(seconds=1)
        return pd.Timestamp(last).as_unit("us")
    landed = pa.chunked_array([pa.array(frame["known_at"], schema.field(name).type)])
    moments = to_moments(landed, f"{subject}: column {name}").to_pandas()
    early = int((moments >= pd.Timestamp(partition.end)).sum())
    if early and not pipeline.labels_in_row:
        raise SourceError(
            f"{subject}: {name} must lie before the partition closed ({partition.end:%Y-%m-%d}), "
            f"got {early} rows known later. "
            "Land a label in the partition in which it became known."
        )
    known_at: pd.Series[Any] = moments.set_axis(frame.index)
    return known_at


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


def _column(rows: pa.Table, name: str, subject: str) -> pd.Series[Any]:
    if name not in rows.column_names:
        raise SourceError(
            f"{subject}: must have a column {name}, which the pipeline file names, got "
            f"{', '.join(rows.column_names)}. Correct the file or the source."
        )
    column: pd.Series[Any] = rows[name].to_pandas()
    return column
