"""Feature functions: what they lose, repeat, return, and never should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Of loans 1 to 4 with their time and amount.
ONCE = "must return each row of loans 2005-Q2 once, got"


@dataclass(frozen=True)
class Function:
    """A feature function.

    Args:
        what: What it does, in a few words.
        function: From the loans and what is in ``pyspark.sql.functions`` to the features.
        says: What the refusal must say, in this order; None if its rows are kept.
        at: Times of the loans; all at the start of the partition if None.
    """

    what: str
    function: Callable[[Any, Any], Any]
    says: Sequence[str] | None
    at: Sequence[datetime] | None = None


def selected(expression: str) -> Callable[[Any, Any], Any]:
    """Return the keys and one more column."""
    return lambda loans, f: loans.select("id", "at", f.expr(expression).alias("x"))


CASES = (
    Function("returns each row once", selected("amount"), None),
    Function(
        "returns fewer rows", lambda loans, f: loans.where("id > 1"), (f"{ONCE} 3 rows of 4",)
    ),
    Function("returns no row", lambda loans, f: loans.where("false"), (f"{ONCE} 0 rows of 4",)),
    Function(
        "returns rows twice, by a join whose other side is not unique",
        lambda loans, f: loans.join(
            loans.select(f.lit(1).alias("one"), f.col("id").alias("b")).where("b < 3"), f.lit(True)
        ).select("id", "at", "amount"),
        (f"{ONCE} 8 rows of 4",),
    ),
    Function(
        "returns as many rows, but loses one and has another twice",
        lambda loans, f: loans.where("id > 1").unionByName(loans.where("id = 2")),
        (f"{ONCE} 4 rows, of which id is another", "or there again"),
    ),
    Function(
        "changes a key",
        lambda loans, f: loans.withColumn("id", f.expr("if(id = 1, 99, id)").cast("bigint")),
        (f"{ONCE} 4 rows, of which id is another",),
    ),
    Function(
        "returns nothing", lambda loans, f: None, ("must return a Spark data frame, got NoneType",)
    ),
    Function(
        "returns a pandas frame",
        lambda loans, f: loans.toPandas(),
        ("must return a Spark data frame, got DataFrame",),
    ),
    Function("loses the key", lambda loans, f: loans.drop("id"), ("must return column 'id'",)),
    Function(
        "moves a row into the next partition",
        lambda loans, f: loans.withColumn("at", f.expr("at + interval 100 days")),
        ("rows must lie in the partition 2005-Q2, got 2005-Q3",),
    ),
    Function(
        "loses the time of a row",
        lambda loans, f: loans.withColumn("at", f.expr("if(id = 1, null, at)")),
        ("at must be set, got 1 rows without",),
    ),
    Function(
        "sees two partitions whose files were landed under each other's names",
        selected("amount"),
        ("rows must lie in the partition 2005-Q2, got 2005-Q1 (4 rows) by at",),
        [datetime(2005, 1, 1)] * 4,
    ),
    Function(
        "sees a row of the future",
        selected("amount"),
        ("rows must lie in the partition 2005-Q2, got 2099-Q1 (1 rows) by at",),
        [*[datetime(2005, 4, 1)] * 3, datetime(2099, 1, 1)],
    ),
    Function(
        "returns lists", selected("array(amount)"), ("column x must be a number, string", "list")
    ),
    Function(
        "returns structs", selected("struct(amount)"), ("column x must be a number", "struct")
    ),
    Function("returns durations", selected("at - at"), ("column x must be a number", "duration")),
    Function("returns a column of nothing but null", selected("null"), ("only nulls in x",)),
    Function("returns NaN and infinities", selected("double('NaN')"), None),
    Function(
        "returns two columns that differ by case",
        lambda loans, f: loans.select("id", "at", "amount", f.lit(1).alias("Amount")),
        ("differ by more than case",),
    ),
)
# What they return in a partition before is numbers.
SECOND = (
    Function(
        "returns texts where it returned numbers before",
        selected("string(amount)"),
        ("features: columns must stay as they are", "changed", "x double -> string"),
    ),
    Function(
        "returns a column less than before",
        lambda loans, f: loans.select("id", "at"),
        ("features: columns must stay as they are", "missing ['x']"),
    ),
)
