"""Join rows with what was known at their time: for feature functions with several sources."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f


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
    known = [name for name in right.columns if name != on]
    ours = left.select(
        f.col(on).alias("_key"),
        f.col(left_time).alias("_time"),
        f.lit(1).alias("_side"),
        f.struct(*left.columns).alias("_left"),
        f.lit(None).cast(right.select(f.struct(*known)).schema[0].dataType).alias("_right"),
    )
    theirs = right.select(
        f.col(on).alias("_key"),
        f.col(right_time).alias("_time"),
        f.lit(0).alias("_side"),  # at the same time, what was known comes first
        f.lit(None).cast(left.select(f.struct(*left.columns)).schema[0].dataType).alias("_left"),
        f.struct(*known).alias("_right"),
    )
    before = (
        Window.partitionBy("_key")
        .orderBy("_time", "_side")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    latest = f.last("_right", ignorenulls=True).over(before)
    joined = ours.unionByName(theirs).withColumn("_right", latest).where(f.col("_side") == 1)
    return joined.select("_left.*", *(f.col(f"_right.{name}").alias(name) for name in known))
