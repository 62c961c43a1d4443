"""Training sets that see only what was known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import pandas as pd
import psutil
import pyarrow as pa
import pytest

from include.errors import TrainingError
from include.features import TABLE
from include.labels import TABLE as LABELS
from include.lineage import Origin
from include.partitions import Frequency, Partition, parse
from include.specification import Pipeline
from include.tables import Lake, with_partition
from include.training import (
    TrainingSet,
    build_training_set,
    known_labels,
    load_training_set,
    mature_as_of,
)

MakePipeline = Callable[..., Pipeline]
ORIGIN = Origin("p_train", "run_1", "build_training_set", commit="abc1234")


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


def put_features(lake: Lake, name: str, count: int) -> list[str]:
    """Write ``count`` rows; the last one first, because tables have no order."""
    start = quarter(name).start
    rows = [
        {"id": f"{name}/{i}", "at": start.replace(day=i + 1), "x": float(i), "c": "ab"[i % 2]}
        for i in reversed(range(count))
    ]
    table = with_partition(pa.Table.from_pylist(rows), name)
    lake.write(TABLE, table, partitions=[name], origin=ORIGIN)
    return [f"{name}/{i}" for i in range(count)]


def put_labels(lake: Lake, name: str, *rows: tuple[str, int, datetime]) -> None:
    frame = pd.DataFrame(rows, columns=["id", "label", "known_at"])
    frame = frame.astype({"known_at": "datetime64[us]", "label": "int64"})
    table = with_partition(pa.Table.from_pandas(frame, preserve_index=False), name)
    lake.write(LABELS, table, partitions=[name], origin=ORIGIN)


@pytest.fixture
def history(lake: Lake) -> Lake:
    """Five quarters of four loans; of each, the labels become known two quarters later.

    Loan 0 defaults, the others do not. One label of 2004-Q4 never comes; one of 2004-Q2 comes at
    the very moment at which 2004-Q4 closes.
    """
    known: dict[str, list[tuple[str, int, datetime]]] = {}
    for name in ("2004-Q1", "2004-Q2", "2004-Q3", "2004-Q4", "2005-Q1"):
        ids = put_features(lake, name, 4)
        arrival = quarter(name).shift(2)
        for number, entity in enumerate(ids):
            if entity == "2004-Q4/3":
                continue
            late = entity == "2004-Q2/3"
            at = arrival.end if late else arrival.start
            delivery = str(arrival.shift(1) if late else arrival)
            known.setdefault(delivery, []).append((entity, int(number == 0), at))
    for name, rows in known.items():
        put_labels(lake, name, *rows)
    return lake


class TestMaturity:
    def test_labels_known_when_the_partition_closed(self, history: Lake) -> None:
        labels = known_labels(history, quarter("2004-Q4"))
        assert sorted(labels["id"]) == [
            *(f"2004-Q1/{i}" for i in range(4)),
            *(f"2004-Q2/{i}" for i in range(3)),
        ]

    @pytest.mark.parametrize(
        ("as_of", "mature"),
        [
            ("2004-Q2", ()),
            ("2004-Q3", ("2004-Q1",)),
            ("2004-Q4", ("2004-Q1",)),
            ("2005-Q1", ("2004-Q1", "2004-Q2", "2004-Q3")),
            ("2005-Q2", ("2004-Q1", "2004-Q2", "2004-Q3")),
            ("2005-Q3", ("2004-Q1", "2004-Q2", "2004-Q3", "2005-Q1")),
        ],
    )
    def test_mature_as_of(
        self,
        history: Lake,
        make_pipeline: MakePipeline,
        as_of: str,
        mature: tuple[str, ...],
    ) -> None:
        assert mature_as_of(history, make_pipeline(), quarter(as_of)) == mature

    def test_three_of_four_are_enough_for_a_lower_coverage(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        for coverage, mature in ((0.75, True), (0.76, False)):
            pipeline = make_pipeline(training={"coverage": coverage})
            assert ("2004-Q2" in mature_as_of(history, pipeline, quarter("2004-Q4"))) == mature
            assert ("2004-Q4" in mature_as_of(history, pipeline, quarter("2005-Q2"))) == mature

    def test_what_was_landed_later_changes_nothing(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        before = mature_as_of(history, make_pipeline(), quarter("2004-Q4"))
        # Landed in 2005-Q4 although it claims to have been known long before.
        put_labels(history, "2005-Q4", ("2004-Q2/3", 0, datetime(2004, 11, 1)))
        assert mature_as_of(history, make_pipeline(), quarter("2004-Q4")) == before


class TestTrainingSet:
    def test_the_latest_mature_partitions_with_the_latest_held_out(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        pipeline = make_pipeline()
        made = build_training_set(history, pipeline, quarter("2005-Q3"), ORIGIN)
        assert made.train == ("2004-Q2", "2004-Q3")
        assert made.holdout == ("2005-Q1",)
        assert made.rows == (8, 4)
        assert made.classes == {"0": 6, "1": 2}
        assert (made.reference.partition, made.reference.rows) == ("2005-Q3", 12)
        assert TrainingSet.from_dict(json.loads(json.dumps(made.to_dict()))) == made

        data = load_training_set(history, pipeline, made)
        assert data.partitions.tolist() == ["2004-Q2"] * 4 + ["2004-Q3"] * 4 + ["2005-Q1"] * 4
        assert data.labels.tolist() == [1, 0, 0, 0] * 3
        assert data.holdout.tolist() == [False] * 8 + [True] * 4
        assert (data.numeric, data.categorical) == (("x",), ("c",))
        assert data.features.columns.tolist() == ["x", "c"]
        assert data.features["x"].tolist() == [0.0, 1.0, 2.0, 3.0] * 3
        assert data.features["c"].tolist() == ["a", "b"] * 6

    def test_a_label_corrected_later_is_the_one_known_then(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        pipeline = make_pipeline()
        put_labels(history, "2005-Q4", ("2005-Q1/1", 1, datetime(2005, 10, 1)))
        then = build_training_set(history, pipeline, quarter("2005-Q3"), ORIGIN)
        now = build_training_set(history, pipeline, quarter("2005-Q4"), ORIGIN)
        held_out = [
            load_training_set(history, pipeline, made).labels[8:].tolist() for made in (then, now)
        ]
        assert held_out == [[1, 0, 0, 0], [1, 1, 0, 0]]
        assert then.classes == now.classes == {"0": 6, "1": 2}

    def test_running_again_gives_the_same_rows(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        pipeline = make_pipeline()
        first = build_training_set(history, pipeline, quarter("2005-Q3"), ORIGIN)
        second = build_training_set(history, pipeline, quarter("2005-Q3"), ORIGIN)
        assert replace(second, reference=first.reference) == first
        left, right = (load_training_set(history, pipeline, item) for item in (first, second))
        pd.testing.assert_frame_equal(left.features, right.features)
        assert history.row_counts("training_sets") == {"2005-Q3": 12}

    def test_history_names_features_and_labels_as_inputs(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        build_training_set(history, make_pipeline(), quarter("2005-Q3"), ORIGIN)
        inputs = json.loads(history.open("training_sets").history(1)[0]["inputs"])
        assert [item["table"] for item in inputs] == ["features", "labels"]

    def test_too_few_mature_partitions(self, history: Lake, make_pipeline: MakePipeline) -> None:
        pipeline = make_pipeline(training={"window": 4})
        with pytest.raises(TrainingError) as caught:
            build_training_set(history, pipeline, quarter("2005-Q1"), ORIGIN)
        assert str(caught.value) == (
            f"training set {history.pipeline} as of 2005-Q1: 4 mature partitions are needed "
            "(labels of 99% of the rows known before 2005-04-01), got 3: 2004-Q1, 2004-Q2, "
            "2004-Q3. Land older partitions, wait for labels, or shorten training.window."
        )
        assert not history.exists("training_sets")

    def test_one_class_only(self, history: Lake, make_pipeline: MakePipeline) -> None:
        put_labels(
            history, "2005-Q3", *((f"2005-Q1/{i}", 0, datetime(2005, 7, 1)) for i in range(4))
        )
        with pytest.raises(TrainingError) as caught:
            build_training_set(history, make_pipeline(), quarter("2005-Q3"), ORIGIN)
        assert str(caught.value) == (
            f"training set {history.pipeline} as of 2005-Q3: held-out partitions 2005-Q1 must "
            "hold at least two classes, got 1 in 4 rows. Lengthen training.window or check the "
            "labels."
        )

    def test_a_set_larger_than_memory_is_refused_with_the_numbers(
        self, history: Lake, make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # 12 rows x 5 columns x 60 bytes are 3,600; half of 7,000 are fewer.
        for available, fits in ((7200, True), (7000, False)):
            memory = SimpleNamespace(available=available)
            monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
            if fits:
                build_training_set(history, make_pipeline(), quarter("2005-Q3"), ORIGIN)
                continue
            with pytest.raises(TrainingError, match=r"12 rows x 5 columns need about .* GiB, got"):
                build_training_set(history, make_pipeline(), quarter("2005-Q3"), ORIGIN)
