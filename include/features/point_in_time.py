"""Join rows with what was known at a moment: labels for training, other sources for features."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from include.calendar.moments import to_moments
from include.errors import FeatureError
from include.features.feature_columns import KNOWN_AT, LABEL
from include.spark.column_names import column
from include.specification.pipeline import Pipeline
from include.storage.data_frames import to_series
from include.storage.lake_tables import PARTITION

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructField


def as_of_join(
    left: DataFrame, right: DataFrame, *, on: str, left_time: str, right_time: str
) -> DataFrame:
    """Join each row with the latest row of another source at or before its own time.

    Args:
        left: The rows to describe.
        right: What was known when; of rows with equal ``on`` and time any one may be taken, so
            make them unique.
        on: Key column of both.
        left_time: Time of a row of ``left``.
        right_time: Time from which a row of ``right`` was known.

    Returns:
        The rows and columns of ``left``, then the columns of ``right`` without its key; null
        where nothing was known yet. Rows of ``right`` without a key are about nobody, and nobody
        knows from when on those without a time are known: both are left out.

    Raises:
        FeatureError: If the keys or the times are of types that are not compared exactly, such
            as texts and numbers.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    _check_types("the key", left.schema[on], right.schema[on])
    _check_types("the time", left.schema[left_time], right.schema[right_time])
    right = right.where(column(on).isNotNull() & column(right_time).isNotNull())
    known = [name for name in right.columns if name != on]
    row, fact = f.struct(*map(column, left.columns)), f.struct(*map(column, known))
    ours = left.select(
        column(on).alias("_key"),
        column(left_time).alias("_time"),
        f.lit(1).alias("_side"),
        row.alias("_left"),
        f.lit(None).cast(right.select(fact).schema[0].dataType).alias("_right"),
    )
    theirs = right.select(
        column(on).alias("_key"),
        column(right_time).alias("_time"),
        f.lit(0).alias("_side"),  # at the same time, what was known comes first
        f.lit(None).cast(left.select(row).schema[0].dataType).alias("_left"),
        fact.alias("_right"),
    )
    before = (
        Window.partitionBy("_key")
        .orderBy("_time", "_side")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    latest = f.last("_right", ignorenulls=True).over(before)
    joined = ours.unionByName(theirs).withColumn("_right", latest).where(f.col("_side") == 1)
    return joined.select("_left.*", *(f.col("_right")[name].alias(name) for name in known))


def _check_types(what: str, left: StructField, right: StructField) -> None:
    """Refuse columns that Spark would make texts or floats of to compare them."""
    from pyspark.sql.types import DoubleType, FloatType, StringType

    kinds = (left.dataType, right.dataType)
    if kinds[0] != kinds[1] and any(
        isinstance(kind, StringType | DoubleType | FloatType) for kind in kinds
    ):
        raise FeatureError(
            f"as_of_join on {left.name}: {what} must be of one type on both sides, got "
            f"{kinds[0].simpleString()} on the left and {kinds[1].simpleString()} on the right. "
            "Cast one of them."
        )


def join_labels(
    features: pd.DataFrame, known: pd.DataFrame, pipeline: Pipeline, known_before: datetime
) -> pd.DataFrame:
    """Join each row with its label as it was known at a moment (point-in-time join).

    Labels in the row belong to the row of their partition; those of another source to the entity,
    or to its row at the event time that they name.

    Args:
        features: One row per entity and partition.
        known: Rows of the ``labels`` table; several for one row mean that the label was
            corrected: the one known last counts, of those the one that landed in the latest
            partition.
        pipeline: The pipeline file.
        known_before: Labels known at or after this moment do not exist yet.

    Returns:
        The labelled rows with ``_label`` and ``_known_at``, in the features' order.

    Raises:
        FeatureError: If an entity has several rows and the labels do not say which one they are
            about; if keys are of kinds that cannot be compared; or if labels contradict each
            other.
    """
    keys = [pipeline.entity]
    if pipeline.labels_in_row:
        keys.append(PARTITION)
    elif pipeline.labels.event_time is not None and pipeline.event_time is not None:
        keys.append(pipeline.event_time)
    known = known[known["known_at"] < known_before]
    if not pipeline.labels_in_row:
        known = known[known[pipeline.entity].notna()]  # of nobody, and of no row without an entity
    order = [name for name in ("known_at", PARTITION) if name in known.columns]
    known = known.sort_values(order, kind="stable").reset_index(drop=True)
    # Numbered, because a key may have any name.
    both = [_comparable(pipeline, name, features[name], known[name]) for name in keys]
    ours = pd.DataFrame({at: pair[0].array for at, pair in enumerate(both)})
    theirs = pd.DataFrame({at: pair[1].array for at, pair in enumerate(both)})
    joint = list(ours.columns)
    repeated = int(ours.duplicated().sum())
    if repeated:
        raise FeatureError(
            f"pipeline {pipeline.name}: {' and '.join(keys)} must identify a row, got {repeated} "
            "rows again. If entities come back, name labels.event_time; else remove the copies "
            "in the feature function or by a suite."
        )
    latest = _latest(pipeline, theirs, known[order], known["label"])
    pairs = ours.reset_index(names="ours").merge(
        theirs.loc[latest].reset_index(names="theirs"), on=joint, how="inner", validate="one_to_one"
    )
    joined = features.iloc[pairs["ours"]].reset_index(drop=True)
    for name, renamed in (("label", LABEL), ("known_at", KNOWN_AT)):
        joined[renamed] = known[name].iloc[pairs["theirs"]].array
    return joined


def _latest(
    pipeline: Pipeline, keys: pd.DataFrame, order: pd.DataFrame, labels: pd.Series[Any]
) -> pd.Index:
    """Choose the label that counts for each row, among labels in the order of their knowledge."""
    told = pd.concat([keys, order], axis=1).assign(label=labels).drop_duplicates()
    last = told.drop_duplicates(list(keys), keep="last")
    before = told.drop(last.index).drop_duplicates(list(keys), keep="last")
    clashes = before[pd.concat([last, before]).duplicated([*keys, *order])[before.index]]
    if len(clashes):
        raise FeatureError(
            f"pipeline {pipeline.name}: labels that are known at one moment must agree, got "
            f"{len(clashes)} rows with several labels, first known at "
            f"{clashes['known_at'].min()}. Run the partition in which they landed again: what "
            "contradicts goes to quarantine."
        )
    return last.index


def _comparable(
    pipeline: Pipeline, name: str, ours: pd.Series[Any], theirs: pd.Series[Any]
) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Bring a key of both sides to types that pandas compares exactly."""
    if name == pipeline.event_time and _kind(theirs) == "time" != _kind(ours):
        landed = pa.chunked_array([pa.array(ours, from_pandas=True)])
        ours = to_series(to_moments(landed, f"pipeline {pipeline.name}: column {name}"))
    kinds = (_kind(ours), _kind(theirs))
    if len({*kinds} - {"nothing"}) > 1:
        raise FeatureError(
            f"pipeline {pipeline.name}: {name} must be of one kind in features and labels, got "
            f"{kinds[0]} in the features and {kinds[1]} in the labels. Land both with one type, "
            "or keep the type of the source in the feature function."
        )
    # Of unsigned and signed ones NumPy makes floats.
    whole = all(pd.api.types.is_signed_integer_dtype(side) for side in (ours, theirs))
    if "number" in kinds and not whole:
        # As Python's numbers, which are equal if their values are: no side is rounded.
        return ours.astype(object), theirs.astype(object)
    return ours, theirs


def _kind(values: pd.Series[Any]) -> str:
    if pd.api.types.is_datetime64_any_dtype(values):
        return "time"
    if pd.api.types.is_bool_dtype(values):
        return "boolean"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    found = pd.api.types.infer_dtype(values, skipna=True)
    return {"string": "text", "decimal": "number", "empty": "nothing"}.get(found, found)
