"""The as-of join on real Spark, against pandas; labels joined as they were known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.errors import FeatureError
from include.features.feature_columns import KNOWN_AT, LABEL
from include.features.point_in_time import as_of_join, join_labels
from include.specification.pipeline import Pipeline
from include.storage.data_frames import to_pandas

LONG = 2**53
JANUARY, MARCH, JUNE = (datetime(2005, month, 1) for month in (1, 3, 6))


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


def test_nobody_knows_what_has_no_key_or_no_time(spark: Any) -> None:
    left = spark.createDataFrame([("a", 10), (None, 10), ("a", None)], "customer string, at int")
    right = spark.createDataFrame(
        [("a", None, "not yet"), (None, 1, "of nobody"), (None, None, "of nobody")],
        "customer string, known int, plan string",
    )
    joined = as_of_join(left, right, on="customer", left_time="at", right_time="known").collect()
    assert len(joined) == 3
    assert {(row.known, row.plan) for row in joined} == {(None, None)}


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


@pytest.mark.parametrize("kinds", [("string", "bigint"), ("double", "bigint")])
def test_keys_that_spark_would_bend_to_compare_them(spark: Any, kinds: tuple[str, str]) -> None:
    left = spark.createDataFrame([], f"customer {kinds[0]}, at int")
    right = spark.createDataFrame([], f"customer {kinds[1]}, known int")
    with pytest.raises(FeatureError) as caught:
        as_of_join(left, right, on="customer", left_time="at", right_time="known")
    assert str(caught.value) == (
        "as_of_join on customer: the key must be of one type on both sides, got "
        f"{kinds[0]} on the left and {kinds[1]} on the right. Cast one of them."
    )


def test_times_that_spark_would_bend_to_compare_them(spark: Any) -> None:
    left = spark.createDataFrame([], "customer string, at timestamp")
    right = spark.createDataFrame([], "customer string, known string")
    with pytest.raises(FeatureError, match=r"on at: the time must be of one type .* got timestamp"):
        as_of_join(left, right, on="customer", left_time="at", right_time="known")


def known(*rows: tuple[Any, int, datetime, str], kind: pa.DataType | None = None) -> pd.DataFrame:
    """Make rows of the ``labels`` table: entity, label, when it became known, where it landed."""
    ids, labels, moments, partitions = zip(*rows, strict=True)
    return to_pandas(
        pa.table(
            {
                "id": pa.array(ids, kind),
                "label": labels,
                "known_at": pa.array(moments, pa.timestamp("us")),
                "partition": partitions,
            }
        )
    )


def features(ids: list[Any], kind: pa.DataType | None = None) -> pd.DataFrame:
    count = len(ids)
    return to_pandas(
        pa.table(
            {
                "x": list(range(count)),
                "id": pa.array(ids, kind),
                "at": [JANUARY] * count,
                "partition": ["2005-Q1"] * count,
            }
        )
    )


class TestLabels:
    @pytest.fixture
    def pipeline(self, make_pipeline: Callable[..., Pipeline]) -> Pipeline:
        return make_pipeline()

    @pytest.mark.parametrize("left", [pa.int64(), pa.uint64(), pa.decimal128(38, 0)])
    @pytest.mark.parametrize("right", [pa.int64(), pa.decimal128(20, 2)])
    @pytest.mark.parametrize("missing", ["features", "labels", "both", "nothing"])
    def test_every_row_gets_its_own_label(
        self, pipeline: Pipeline, left: pa.DataType, right: pa.DataType, missing: str
    ) -> None:
        ids: list[int | None] = [LONG + at for at in range(20)]
        rows = [(name, at % 2, JANUARY, "2005-Q1") for at, name in enumerate(ids)]
        if missing in ("labels", "both"):
            rows.append((None, 1, JANUARY, "2005-Q1"))
        if missing in ("features", "both"):
            ids.append(None)
        cells = [None if name is None else Decimal(name) for name, *_ in rows]
        table = known(*rows[::-1])
        table["id"] = to_pandas(pa.table({"id": pa.array(cells[::-1]).cast(right)}))["id"]
        joined = join_labels(features(ids, left), table, pipeline, JUNE)
        assert list(joined.columns) == ["x", "id", "at", "partition", LABEL, KNOWN_AT]
        assert joined["x"].tolist() == list(range(20))
        assert joined[LABEL].tolist() == [at % 2 for at in range(20)]

    def test_whole_numbers_of_another_width(self, pipeline: Pipeline) -> None:
        table = known((7, 1, JANUARY, "2005-Q1"), kind=pa.int64())
        joined = join_labels(features([7, 8], pa.int16()), table, pipeline, JUNE)
        assert joined[["x", LABEL]].to_numpy().tolist() == [[0, 1]]

    @pytest.mark.parametrize(
        ("ids", "told"),
        [
            (["7"], "got text in the features and number in the labels"),
            ([JANUARY], "got time in the features and number in the labels"),
        ],
    )
    def test_keys_of_other_kinds(self, pipeline: Pipeline, ids: list[Any], told: str) -> None:
        with pytest.raises(FeatureError, match=told):
            join_labels(features(ids), known((7, 1, JANUARY, "2005-Q1")), pipeline, JUNE)

    @pytest.mark.parametrize("turned", [1, -1])
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ((JANUARY, "2005-Q1"), (MARCH, "2005-Q1")),  # known later
            ((JANUARY, "2005-Q2"), (MARCH, "2005-Q1")),
            ((JANUARY, "2005-Q1"), (JANUARY, "2005-Q2")),  # a correction that landed later
        ],
    )
    def test_the_latest_knowledge_counts_in_any_order(
        self, pipeline: Pipeline, first: Any, second: Any, turned: int
    ) -> None:
        rows = [("a", 0, *first), ("a", 1, *second)][::turned]
        assert join_labels(features(["a"]), known(*rows), pipeline, JUNE)[LABEL].tolist() == [1]

    @pytest.mark.parametrize("turned", [1, -1])
    def test_contradictions_of_old_tables_are_no_lottery(
        self, pipeline: Pipeline, turned: int
    ) -> None:
        rows = [("a", 0, JANUARY, "2005-Q1"), ("a", 1, JANUARY, "2005-Q1")][::turned]
        with pytest.raises(FeatureError) as caught:
            join_labels(features(["a"]), known(*rows), pipeline, JUNE)
        assert "must agree, got 1 rows with several labels, first known at 2005-01-01" in str(
            caught.value
        )
        # The copy of a label is none, and a later one settles it.
        copies = known(*rows[:1], *rows[:1])
        assert len(join_labels(features(["a"]), copies, pipeline, JUNE)) == 1
        settled = known(*rows, ("a", 1, MARCH, "2005-Q1"))
        assert join_labels(features(["a"]), settled, pipeline, JUNE)[LABEL].tolist() == [1]

    @pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.date32(), pa.string()])
    def test_event_times_of_every_type(
        self, make_pipeline: Callable[..., Pipeline], kind: pa.DataType
    ) -> None:
        outcomes = {"suite": "s", "uri": "s3://landing/p/outcomes/{partition}/"}
        outcomes["labels"] = {"column": "bad", "event_time": "month"}
        pipeline = make_pipeline(sources={"outcomes": outcomes})
        rows = features(["a", "a"])
        times = pa.array([JANUARY, MARCH]).cast(pa.date32()).cast(kind)
        rows["at"] = to_pandas(pa.table({"at": times}))["at"]
        table = known(("a", 1, MARCH, "2005-Q1"))
        table["at"] = pd.Series([MARCH], dtype="datetime64[us]")
        assert join_labels(rows, table, pipeline, JUNE)["x"].tolist() == [1]
