"""Features of a telephone and internet customer."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as f


def features(customers: DataFrame) -> DataFrame:
    """Describe each customer by household, contract, services and bills.

    Args:
        customers: One row per ``row_id``.

    Returns:
        ``row_id`` and 18 features.
    """
    return customers.select(
        "row_id",
        "senior_citizen",
        "partner",
        "dependents",
        "tenure",
        "contract",
        "paperless_billing",
        "payment_method",
        "phone_service",
        "multiple_lines",
        "internet_service",
        "online_security",
        "online_backup",
        "device_protection",
        "tech_support",
        "streaming_tv",
        "streaming_movies",
        "monthly_charges",
        # What was billed differs from months times today's price where prices or services changed;
        # in the first month nothing has been billed yet.
        (
            f.col("total_charges") / f.nullif(f.col("tenure") * f.col("monthly_charges"), f.lit(0))
        ).alias("billed_share"),
    )
