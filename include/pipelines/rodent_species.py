"""Features of an animal caught in a trap: its measurements, where and when."""

from __future__ import annotations

import math

from pyspark.sql import DataFrame
from pyspark.sql import functions as f


def features(captures: DataFrame) -> DataFrame:
    """Describe each animal by sex, size, plot and season.

    Args:
        captures: One row per ``record_id``; birds and lizards were not measured.

    Returns:
        ``record_id``, ``caught_on`` and 6 features.
    """
    midnight = f.lit(0)
    # December lies beside January.
    season = 2 * math.pi * f.col("month") / 12
    return captures.select(
        "record_id",
        f.make_timestamp_ntz("year", "month", "day", midnight, midnight, midnight).alias(
            "caught_on"
        ),
        "sex",
        "hindfoot_length",
        "weight",
        f.col("plot_id").cast("string").alias("plot"),
        f.sin(season).alias("season_sin"),
        f.cos(season).alias("season_cos"),
    )
