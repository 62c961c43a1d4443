"""Features of a credit application at a South German bank, 1973 to 1975, in English.

Codes as in Groemping, "South German Credit Data: Correcting a Widely Used Data Set" (2019). Sex
with marital status (``famges``) and foreign workers (``gastarb``) are left out: a credit should not
hang on them, and the models lose nothing (docs/pipelines.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

PURPOSES = {
    0: "others",
    1: "new car",
    2: "used car",
    3: "furniture",
    4: "radio or television",
    5: "household appliances",
    6: "repairs",
    7: "education",
    8: "vacation",
    9: "retraining",
    10: "business",
}
GUARANTEES = {1: "none", 2: "co-applicant", 3: "guarantor"}
OTHER_PLANS = {1: "bank", 2: "stores", 3: "none"}
HOUSINGS = {1: "for free", 2: "rented", 3: "owned"}


def features(applications: DataFrame) -> DataFrame:
    """Describe each application by its terms, and the applicant by means and history.

    Args:
        applications: One row per ``row_id``, as the bank coded it.

    Returns:
        ``row_id`` and 19 features; codes in an order are numbers, other codes are words.
    """
    amount, months = f.col("hoehe").cast("double"), f.col("laufzeit").cast("double")
    return applications.select(
        "row_id",
        f.log(amount).alias("log_amount"),
        f.log(amount / months).alias("log_monthly_amount"),
        months.alias("months"),
        ordered("rate").alias("instalment_share"),
        named("verw", PURPOSES).alias("purpose"),
        named("buerge", GUARANTEES).alias("guarantee"),
        ordered("laufkont").alias("checking_account"),
        ordered("sparkont").alias("savings"),
        ordered("moral").alias("credit_history"),
        ordered("bishkred").alias("credits_here"),
        named("weitkred", OTHER_PLANS).alias("other_plans"),
        ordered("alter").alias("age"),
        ordered("beszeit").alias("employed_since"),
        ordered("beruf").alias("job"),
        ordered("wohnzeit").alias("resident_since"),
        named("wohn", HOUSINGS).alias("housing"),
        ordered("verm").alias("property"),
        ordered("pers").alias("dependants"),
        ordered("telef").alias("telephone"),
    )


def ordered(column: str) -> f.Column:
    """Take a code whose order means something for a number."""
    return f.col(column).cast("double")


def named(column: str, words: Mapping[int, str]) -> f.Column:
    """Say a code in words; a missing one stays missing."""
    return f.coalesce(*[f.when(f.col(column) == code, word) for code, word in words.items()])
