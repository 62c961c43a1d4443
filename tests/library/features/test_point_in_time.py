"""The as-of join on real Spark, against pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from include.features.point_in_time import as_of_join


def test_nothing_later_is_joined(spark: Any) -> None:
    left = spark.createDataFrame(
        [("a", 10), ("a", 20), ("b", 5), ("c", 7)], "customer string, at int"
    )
    right = spark.createDataFrame(
        [("a", 10, "same moment"), ("a", 21, "later"), ("b", 6, "later"), ("x", 1, "nobody")],
        "customer string, known int, plan string",
    )
    joined = as_of_join(left, right, on="customer", left_time="at", right_time="known")
    assert joined.columns == ["customer", "at", "known", "plan"]
    assert sorted(tuple(row) for row in joined.collect()) == [
        ("a", 10, 10, "same moment"),
        ("a", 20, 10, "same moment"),
        ("b", 5, None, None),
        ("c", 7, None, None),
    ]


def test_columns_of_any_name(spark: Any) -> None:
    left = spark.createDataFrame([("a", 10, 1)], "`the.key` string, `at.x` int, `.` int")
    right = spark.createDataFrame([("a", 9, 2)], "`the.key` string, `known``at` int, `b.c` int")
    joined = as_of_join(left, right, on="the.key", left_time="at.x", right_time="known`at")
    assert joined.columns == ["the.key", "at.x", ".", "known`at", "b.c"]
    assert [tuple(row) for row in joined.collect()] == [("a", 10, 1, 9, 2)]


def test_as_pandas_does_it(spark: Any) -> None:
    generator = np.random.default_rng(0)
    left = pd.DataFrame(
        {"key": generator.integers(0, 20, 300), "at": generator.permutation(300), "row": range(300)}
    )
    right = pd.DataFrame(
        {
            "key": generator.integers(0, 20, 200),
            "known": generator.permutation(300)[:200],
            "value": generator.normal(size=200),
        }
    )
    expected = pd.merge_asof(
        left.sort_values("at"), right.sort_values("known"), left_on="at", right_on="known", by="key"
    )
    found = as_of_join(
        spark.createDataFrame(left),
        spark.createDataFrame(right),
        on="key",
        left_time="at",
        right_time="known",
    ).toPandas()
    columns = ["row", "value"]
    pd.testing.assert_frame_equal(
        found.sort_values("row")[columns].reset_index(drop=True),
        expected.sort_values("row")[columns].reset_index(drop=True),
    )
    assert found["value"].isna().sum() > 10
