"""Features of a taxi trip, known when it begins.

The destination and the length of the route are what a booking tells. The meter's distance and
drop-off zone stand for them here, since the records hold no booking; fares, tips and the drop-off
time are known later and not used.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as f


def features(trips: DataFrame) -> DataFrame:
    """Describe each trip by its route, the time of the week, and who drives and rides.

    Args:
        trips: One row per ``row_id``.

    Returns:
        ``row_id``, ``pickup_datetime`` and 7 features.
    """
    begun = f.col("pickup_datetime")
    return trips.select(
        "row_id",
        "pickup_datetime",
        f.col("trip_distance").cast("double").alias("miles"),
        (f.hour(begun) + f.minute(begun) / 60).alias("hour"),
        f.weekday(begun).alias("weekday"),
        f.col("passenger_count").cast("double").alias("passengers"),
        # Codes, not numbers.
        f.col("pickup_location_id").cast("string").alias("pickup_zone"),
        f.col("dropoff_location_id").cast("string").alias("dropoff_zone"),
        f.col("vendor_id").cast("string").alias("vendor"),
    )
