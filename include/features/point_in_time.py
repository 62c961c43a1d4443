"""Join rows with what was known at a moment: labels for training, other sources for features."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from include.errors import FeatureError
from include.features.feature_columns import KNOWN_AT, LABEL
from include.spark.column_names import column
from include.specification.pipeline import Pipeline
from include.storage.lake_tables import PARTITION

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


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
        where nothing was known yet.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

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


def join_labels(
    features: pd.DataFrame, known: pd.DataFrame, pipeline: Pipeline, known_before: datetime
) -> pd.DataFrame:
    """Join each row with its label as it was known at a moment (point-in-time join).

    Labels in the row belong to the row of their partition; those of another source to the entity,
    or to its row at the event time that they name.

    Args:
        features: One row per entity and partition.
        known: Rows of the ``labels`` table; several for one row mean that the label was
            corrected: the latest one known counts.
        pipeline: The pipeline file.
        known_before: Labels known at or after this moment do not exist yet.

    Returns:
        The labelled rows with ``_label`` and ``_known_at``, in the features' order.

    Raises:
        FeatureError: If an entity has several rows and the labels do not say which one they are
            about.
    """
    keys = [pipeline.entity]
    if pipeline.labels_in_row:
        keys.append(PARTITION)
    elif pipeline.labels.event_time is not None and pipeline.event_time is not None:
        keys.append(pipeline.event_time)
    known = known[known["known_at"] < known_before]
    latest = known.sort_values([*keys, "known_at"], kind="stable").drop_duplicates(
        keys, keep="last"
    )
    repeated = int(features.duplicated(keys).sum())
    if repeated:
        raise FeatureError(
            f"pipeline {pipeline.name}: {' and '.join(keys)} must identify a row, got {repeated} "
            "rows again. If entities come back, name labels.event_time; else remove the copies "
            "in the feature function or by a suite."
        )
    latest = latest.rename(columns={"label": LABEL, "known_at": KNOWN_AT})
    columns = [*keys, LABEL, KNOWN_AT]
    return features.merge(latest[columns], on=keys, how="inner", validate="one_to_one")
