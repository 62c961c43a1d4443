"""Features of a guaranteed small-business loan, all known on the day it is approved."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as f


def features(loans: DataFrame) -> DataFrame:
    """Describe each loan by its size, guarantee, business, industry, place and bank.

    Args:
        loans: One row per ``loan_id``, as the lender reported it at approval.

    Returns:
        ``loan_id``, ``ApprovalDate`` and 16 features.
    """
    return loans.select(
        "loan_id",
        "ApprovalDate",
        f.log1p("GrAppv").alias("log_amount"),
        (f.col("SBA_Appv") / f.col("GrAppv")).alias("guaranteed_share"),
        f.log1p(f.col("NoEmp").cast("double")).alias("employees"),
        f.log1p(f.col("CreateJob").cast("double")).alias("jobs_created"),
        f.log1p(f.col("RetainedJob").cast("double")).alias("jobs_retained"),
        known_code("NewExist", "1", "2").alias("NewExist"),
        known_code("UrbanRural", "1", "2").alias("UrbanRural"),
        known_code("RevLineCr", "Y", "N", "0", "T").alias("RevLineCr"),
        known_code("LowDoc", "Y", "N").alias("LowDoc"),
        # 0 and 1 both mean "no franchise".
        (~f.col("FranchiseCode").isin("0", "1")).cast("int").alias("franchise"),
        f.when(f.col("NAICS") == "0", "unknown")
        .otherwise(f.substring("NAICS", 1, 2))
        .alias("industry"),
        "State",
        "BankState",
        "Bank",
        (f.col("State") == f.col("BankState")).cast("int").alias("same_state_bank"),
    )


def known_code(column: str, *codes: str) -> f.Column:
    """Keep the documented codes; the data holds others, which mean nothing reliable."""
    value = f.coalesce(f.col(column), f.lit("missing"))
    return f.when(value.isin(*codes, "missing"), value).otherwise("other")
