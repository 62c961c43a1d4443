"""The exploratory report: numbers by hand, a page that nothing on it can take over."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.calendar.partitions import Frequency
from include.features.feature_columns import HELD_OUT, KNOWN_AT, LABEL, SLICE
from include.reports import exploration_report
from include.reports.exploration_report import (
    describe_features,
    describe_target,
    publish_exploration,
)
from include.specification.metric_names import Task
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore
from include.training.training_sets import TrainingSet

MakePipeline = Callable[..., Pipeline]
ATTACK = "<script>alert(1)</script>"
REQUIRED = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "r2"}


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


class TestDescribeFeatures:
    def test_by_hand(self) -> None:
        target = np.array([0, 0, 1, 1] * 10, np.int8)
        frame = pd.DataFrame(
            {
                "noise": ["x", "y"] * 20,
                "empty": [None] * 40,
                "leak": target * 2.0,
                "amount": [1.0, 2.0, 3.0, 4.0] * 9 + [1.0, 2.0, 1000.0, None],
            }
        )
        leak, amount, empty, noise = describe_features("binary", frame, target, seed=7)
        assert (leak.name, leak.kind, leak.measure) == ("leak", "numeric", "Spearman")
        assert leak.association == pytest.approx(1)
        assert (leak.alone, leak.suspicious) == (1, True)
        assert (amount.name, amount.missing, amount.distinct) == ("amount", 1 / 40, 5)
        assert amount.outliers == pytest.approx(1 / 39)
        assert (empty.name, empty.missing, empty.distinct) == ("empty", 1, 0)
        assert empty.association is empty.alone is empty.outliers is None
        assert not empty.suspicious
        assert (noise.name, noise.kind, noise.association) == ("noise", "categorical", 0)
        assert noise.measure == "Cram\u00e9r's V"

    def test_measures_of_the_other_tasks(self) -> None:
        frame = pd.DataFrame({"x": [1.0, 2.0, 3.0] * 4, "c": ["a", "b", "c"] * 4})
        classes = np.array(["p", "q", "r"] * 4, object)
        found = describe_features("multiclass", frame, classes, seed=7)
        assert {item.name: item.measure for item in found} == {
            "x": "correlation ratio",
            "c": "Cram\u00e9r's V",
        }
        found = describe_features("regression", frame, frame["x"].to_numpy(), seed=7)
        assert {item.name: item.measure for item in found} == {
            "x": "Spearman",
            "c": "correlation ratio",
        }

    def test_one_row(self) -> None:
        frame = pd.DataFrame({"x": [1.0], "c": ["a"]})
        for item in describe_features("binary", frame, np.array([1], np.int8), seed=7):
            assert item.association is item.alone is None


class TestDescribeTarget:
    def test_shares_of_classes(self) -> None:
        heads, slices = describe_target(
            Problem("binary"),
            np.array([0, 1, 1, 1, 0], np.int8),
            pd.Series(["b", "a", "a", "a", "a"]),
            pd.Series([True, False, False, False, False]),
        )
        assert heads == ("0", "1")
        assert [(item.partition, item.role, item.rows, item.values) for item in slices] == [
            ("a", "training", 4, (0.25, 0.75)),
            ("b", "held out", 1, (1.0, 0.0)),
        ]

    def test_a_snapshot_may_hold_both_roles(self) -> None:
        _, slices = describe_target(
            Problem("binary"),
            np.array([0, 1], np.int8),
            pd.Series(["snapshot-0001"] * 2),
            pd.Series([True, False]),
        )
        assert [item.role for item in slices] == ["training", "held out"]

    def test_of_many_classes_the_frequent_ones(self) -> None:
        labels = np.array(list("aaabbc" + "defghijk"), object)
        heads, (only,) = describe_target(
            Problem("multiclass"), labels, pd.Series(["p"] * 14), pd.Series([False] * 14)
        )
        assert heads[:3] == ("a", "b", "c")
        assert (len(heads), heads[-1]) == (9, "others")
        assert only.values[0] == pytest.approx(3 / 14)
        assert sum(only.values) == pytest.approx(1)

    def test_quantiles_of_numbers(self) -> None:
        heads, (only,) = describe_target(
            Problem("regression"),
            numbers(*range(101)),
            pd.Series(["p"] * 101),
            pd.Series([False] * 101),
        )
        assert heads == ("mean", "5%", "25%", "50%", "75%", "95%")
        assert only.values == pytest.approx((50, 5, 25, 50, 75, 95))


def training_rows(task: Task, rows: int) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    label: Any = np.arange(rows) % 2
    if task == "multiclass":
        label = np.array(["owl", "cat", ATTACK], object)[np.arange(rows) % 3]
    if task == "regression":
        label = generator.normal(size=rows)
    return pd.DataFrame(
        {
            "id": [f"entity-{number}" for number in range(rows)],
            "at": np.datetime64("2004-01-01", "us") + np.arange(rows),
            "amount": generator.normal(size=rows),
            "huge": np.where(np.arange(rows) % 5 == 0, np.inf, 1e300),
            "word": generator.choice([ATTACK, "plain"], rows),
            ATTACK: generator.normal(size=rows),
            "constant": 1.0,
            "nothing": pd.Series([None] * rows, dtype=object),
            LABEL: label,
            KNOWN_AT: np.full(rows, np.datetime64("2004-06-01", "us")),
            SLICE: "2004-Q1",
            HELD_OUT: np.arange(rows) >= max(1, rows // 2),
        }
    )


class TestPage:
    @pytest.fixture
    def publish(self, lake: Lake, make_pipeline: MakePipeline, origin: Origin) -> Any:
        def publish(task: Task, frame: pd.DataFrame, **changes: Any) -> str:
            pipeline = make_pipeline(task=task, promotion={"require": {REQUIRED[task]: 0.1}})
            pipeline = pipeline.model_copy(update=changes)
            rows = pa.Table.from_pandas(frame, preserve_index=False)
            at = rows.schema.get_field_index("nothing")
            rows = rows.set_column(at, "nothing", pa.nulls(len(rows), pa.string()))
            reference = lake.write(
                "training_sets",
                with_partition(rows, "2004-Q4"),
                partitions=["2004-Q4"],
                origin=origin,
            )
            made = TrainingSet(
                TableReference(
                    lake.pipeline, "training_sets", reference.version, "2004-Q4", len(rows)
                ),
                ("2004-Q1",),
                (),
                (1, 1),
                {},
            )
            uri = publish_exploration(lake, pipeline, made)
            assert uri == f"s3://reports/{lake.pipeline}/exploration/2004-Q4/index.html"
            return ObjectStore(lake.settings).read(uri).decode()

        return publish

    @pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
    def test_it_shows_every_feature_and_no_key(self, publish: Any, task: Task) -> None:
        page = publish(task, training_rows(task, 200))
        for name in ("amount", "word", "constant", "nothing", escape(ATTACK)):
            assert f"<td>{name}</td>" in page
        assert "100 rows to train on and 100 held out, 6 features" in page
        for absent in ("entity-", SLICE, HELD_OUT, KNOWN_AT):
            assert absent not in page

    @pytest.mark.parametrize("task", ["binary", "multiclass"])
    def test_landed_values_are_text(self, publish: Any, task: Task) -> None:
        page = publish(task, training_rows(task, 200))
        assert ATTACK not in page
        assert escape(ATTACK) in page

    def test_it_needs_nothing_from_elsewhere(self, publish: Any) -> None:
        page = publish("binary", training_rows("binary", 200))
        for loads in ('src="http', "src='http", '<link rel="stylesheet', "@import", "url(http"):
            assert loads not in page

    def test_one_row_is_enough(self, publish: Any) -> None:
        page = publish("binary", training_rows("binary", 2).head(1))
        assert "1 rows to train on and 0 held out" in page

    def test_without_a_time(self, publish: Any) -> None:
        frame = training_rows("binary", 100).drop(columns="at")
        page = publish("binary", frame, event_time=None, partition=Frequency.NONE)
        assert "<td>amount</td>" in page

    def test_held_out_rows_guide_nobody(self, publish: Any) -> None:
        frame = training_rows("binary", 200)
        frame["amount"] = np.where(frame[HELD_OUT], frame[LABEL], 0.0)
        page = publish("binary", frame)
        assert "predicts the target almost perfectly" not in page
        frame["amount"] = frame[LABEL] * 1.0
        assert "predicts the target almost perfectly" in publish("binary", frame)

    def test_a_large_set_is_sampled_and_says_so(
        self, publish: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exploration_report, "SAMPLE_ROWS", 60)
        frame = training_rows("binary", 200)
        page = publish("binary", frame)
        assert "a random sample of 60 of the rows to train on (seed 7)" in page
        # The table's part before skrub's, which has random names.
        again = publish("binary", frame.sample(frac=1, random_state=5))
        assert _ours(page) == _ours(again)

    def test_of_very_many_features_the_strongest_are_drawn(
        self, publish: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exploration_report, "SHOWN_FEATURES", 2)
        page = publish("binary", training_rows("binary", 100))
        assert "with the first 2 features of the table above" in page


def _ours(page: str) -> str:
    return page.partition("<h2>Features")[2].partition("<h2>Distributions")[0]
