"""Training sets that see only what was known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.calendar.partitions import Frequency, Partition, parse, snapshot
from include.errors import TrainingError
from include.features.feature_function import TABLE
from include.features.known_labels import known_labels, mature_as_of
from include.features.labels import TABLE as LABELS
from include.features.labels import derive
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import Labels
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.training.training_sets import (
    TrainingSet,
    as_stored,
    build_training_set,
    load_training_set,
    trained_on,
)

MakePipeline = Callable[..., Pipeline]
SECOND = timedelta(seconds=1)
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

    def test_long_identifiers_keep_their_labels_and_columns_their_types(
        self, lake: Lake, make_pipeline: MakePipeline, caplog: pytest.LogCaptureFixture
    ) -> None:
        pipeline = make_pipeline()
        truth = {}
        for number, name in enumerate(("2004-Q1", "2004-Q2", "2004-Q3", "2004-Q4")):
            ids = [2**53 + 40 * number + i for i in range(40)]
            truth.update({entity: (entity // 2) % 2 for entity in ids})
            rows = {
                "id": ids,
                "at": pa.array([quarter(name).start] * 40, pa.timestamp("us")),
                "x": [float("inf"), 1.0] * 20,
                # Missing in the first quarter only, so that one window has none.
                "n": pa.array(
                    [None if number == 0 and i < 3 else i for i in range(40)], pa.int32()
                ),
            }
            lake.write(
                TABLE, with_partition(pa.table(rows), name), partitions=[name], origin=ORIGIN
            )
            delivered = pa.table(
                {
                    "id": pa.array([*ids[::-1], None], pa.int64()),
                    "bad": [*(truth[entity] for entity in ids[::-1]), 0],
                    "known": pa.array([quarter(name).start] * 41, pa.timestamp("us")),
                }
            )
            known = with_partition(derive(pipeline, delivered, quarter(name)), name)
            lake.write(LABELS, known, partitions=[name], origin=ORIGIN)
        for as_of in ("2004-Q3", "2004-Q4"):
            made = build_training_set(lake, pipeline, quarter(as_of), ORIGIN)
            held = lake.read("training_sets", partitions=[as_of])
            assert dict(zip(held["id"].to_pylist(), held["_label"].to_pylist(), strict=True)) == {
                entity: label for entity, label in truth.items() if entity in held["id"].to_pylist()
            }
            assert (held.num_rows, held.schema.field("n").type) == (120, pa.int32())
            assert held["n"].null_count == (3 if as_of == "2004-Q3" else 0)
            fitted = held.filter(pc.invert(held["_held_out"]))["id"].to_pylist()
            assert trained_on(lake, pipeline, made) == set(fitted)
            data = load_training_set(lake, pipeline, made)
            assert data.numeric == ("x", "n")
            assert (
                f"as of {as_of}: features should be finite, got infinities of x in 60 rows of"
                in (caplog.text)
            )

    def test_a_table_from_when_a_gap_made_floats_keeps_them(self, lake: Lake) -> None:
        now = pa.schema([("id", pa.int64()), ("n", pa.int32()), ("c", pa.string())])
        assert as_stored(lake, now) == now
        then = now.set(1, pa.field("n", pa.float64()))
        old = with_partition(then.empty_table(), "2004-Q1")
        lake.write("training_sets", old, partitions=["2004-Q1"], origin=ORIGIN)
        assert as_stored(lake, now) == then

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

    def test_features_called_as_our_columns_were_are_learned_from(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        names = ["label", "held_out", "source_partition", "known_at", "score", "prediction"]
        rows = history.read(TABLE)
        moved = [*("id", "at"), *names]
        columns = {"id": rows["id"], "at": rows["at"], **dict.fromkeys(names, rows["x"])}
        lake = Lake(history.settings, f"{history.pipeline}x")
        lake.write(
            TABLE,
            pa.table({**columns, "partition": rows["partition"]}),
            partitions=history.partitions(TABLE),
            origin=ORIGIN,
        )
        labels = history.read(LABELS)
        lake.write(LABELS, labels, partitions=history.partitions(LABELS), origin=ORIGIN)
        assert lake.read(TABLE).drop_columns(["partition"]).column_names == moved
        made = build_training_set(lake, make_pipeline(), quarter("2005-Q3"), ORIGIN)
        data = load_training_set(lake, make_pipeline(), made)
        assert data.labels.tolist() == [1, 0, 0, 0] * 3
        assert data.numeric == tuple(names)
        for name in names:
            assert data.features[name].tolist() == [0.0, 1.0, 2.0, 3.0] * 3

    def test_a_table_of_an_earlier_release_is_read_and_goes_on_as_it_is(
        self, history: Lake, make_pipeline: MakePipeline
    ) -> None:
        pipeline = make_pipeline()
        made = build_training_set(history, pipeline, quarter("2005-Q3"), ORIGIN)
        rows = history.read("training_sets")
        earlier = [name.removeprefix("_") for name in rows.column_names]
        assert earlier[4:] == ["source_partition", "label", "known_at", "held_out", "partition"]
        lake = Lake(history.settings, f"{history.pipeline}x")
        for table in (TABLE, LABELS):
            copied = history.partitions(table)
            lake.write(table, history.read(table), partitions=copied, origin=ORIGIN)
        then = lake.write(
            "training_sets", rows.rename_columns(earlier), partitions=["2005-Q3"], origin=ORIGIN
        )
        before = replace(made, reference=then)
        again = build_training_set(lake, pipeline, quarter("2005-Q3"), ORIGIN)
        assert lake.read("training_sets").column_names == earlier
        ours = load_training_set(history, pipeline, made)
        for stored in (before, again):
            data = load_training_set(lake, pipeline, stored)
            pd.testing.assert_frame_equal(data.features, ours.features)
            assert data.labels.tolist() == ours.labels.tolist()
            assert data.holdout.tolist() == ours.holdout.tolist()
            assert trained_on(lake, pipeline, stored) == trained_on(history, pipeline, made)

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


def put_labelled(lake: Lake, partition: Partition, rows: dict[str, tuple[float, Any]]) -> None:
    """Write rows that bring their labels: by entity, a feature and perhaps a label."""
    frame = pd.DataFrame({"id": list(rows), "x": [x for x, _ in rows.values()]})
    if partition.frequency is not Frequency.NONE:
        frame["at"] = pd.Series([partition.start] * len(rows), dtype="datetime64[us]")
    known = {name: label for name, (_, label) in rows.items() if label is not None}
    labels = pd.DataFrame({"id": list(known), "label": list(known.values())})
    close = partition.start if partition.frequency is Frequency.NONE else partition.end - SECOND
    labels["known_at"] = pd.Timestamp(close).as_unit("us")
    for table, content in ((TABLE, frame), (LABELS, labels)):
        if content.empty:
            continue
        written = with_partition(
            pa.Table.from_pandas(content, preserve_index=False), str(partition)
        )
        lake.write(table, written, partitions=[str(partition)], origin=ORIGIN)


@pytest.fixture
def in_row(make_pipeline: MakePipeline) -> MakePipeline:
    """Make a pipeline whose rows bring their labels."""

    def make(task: str = "binary", **training: Any) -> Pipeline:
        rules = {"training": {"metric": "", "holdout": 1, **training}}
        pipeline = make_pipeline(task=task, **rules)
        labels = Labels(column="bad")
        loans = pipeline.sources["loans"].model_copy(update={"labels": labels})
        return pipeline.model_copy(update={"sources": {"loans": loans}})

    return make


@pytest.fixture
def timeless(in_row: MakePipeline) -> MakePipeline:
    """Make such a pipeline about snapshots."""

    def make(**training: Any) -> Pipeline:
        changes = {"partition": Frequency.NONE, "event_time": None, "schedule": None}
        return in_row(**{"window": 1, "holdout": 0.3, **training}).model_copy(update=changes)

    return make


def customers(count: int, x: float = 0.0) -> dict[str, tuple[float, Any]]:
    """Make customers of whom every fourth leaves; the last one first."""
    return {f"c{i}": (x + i, int(i % 4 == 0)) for i in reversed(range(count))}


class TestSnapshots:
    def test_a_share_of_the_entities_judges(self, lake: Lake, timeless: MakePipeline) -> None:
        pipeline = timeless()
        put_labelled(lake, snapshot(1), customers(1000))
        made = build_training_set(lake, pipeline, snapshot(1), ORIGIN)
        assert (made.train, made.holdout) == (("snapshot-0001",), ())
        assert sum(made.rows) == 1000
        assert 270 <= made.rows[1] <= 330
        data = load_training_set(lake, pipeline, made)
        assert not data.ordered
        assert int(data.holdout.sum()) == made.rows[1]
        assert sum(made.classes.values()) == made.rows[0]
        assert trained_on(lake, pipeline, made) == {
            f"c{int(x)}" for x in data.features.loc[~data.holdout, "x"]
        }

    def test_an_entity_that_comes_back_counts_once_and_stays_on_its_side(
        self, lake: Lake, timeless: MakePipeline
    ) -> None:
        put_labelled(lake, snapshot(1), customers(200))
        first = build_training_set(lake, timeless(), snapshot(1), ORIGIN)
        returned = {f"c{i}": (1000.0 + i, 1) for i in range(100, 300)}
        put_labelled(lake, snapshot(2), returned)
        pipeline = timeless(window=2)
        second = build_training_set(lake, pipeline, snapshot(2), ORIGIN)
        assert second.train == ("snapshot-0001", "snapshot-0002")
        assert sum(second.rows) == 300

        data = load_training_set(lake, pipeline, second)
        now = data.features["x"].to_numpy() >= 1000
        assert int(now.sum()) == 200  # as they are now, not as they were
        assert data.labels[now].tolist() == [1] * 200
        assert set(data.partitions[now]) == {"snapshot-0002"}

        entities = {f"c{i}" for i in range(200)}
        before = trained_on(lake, pipeline, first)
        assert before == trained_on(lake, pipeline, second) & entities
        assert before not in (set(), entities)

    def test_the_window_is_the_latest_snapshots_with_labels(
        self, lake: Lake, timeless: MakePipeline
    ) -> None:
        for number in (1, 2, 3):
            put_labelled(lake, snapshot(number), customers(100, x=1000.0 * number))
        put_labelled(lake, snapshot(4), {f"c{i}": (0.0, None) for i in range(100)})
        put_labelled(lake, snapshot(5), customers(100))  # not there yet as of the fourth
        made = build_training_set(lake, timeless(window=2), snapshot(4), ORIGIN)
        assert made.train == ("snapshot-0002", "snapshot-0003")
        # One label is enough: others may come with no label at all.
        few = {f"c{i}": (0.0, 1 if i == 7 else None) for i in range(100)}
        put_labelled(lake, snapshot(4), few)
        assert mature_as_of(lake, timeless(), snapshot(4))[-1] == "snapshot-0004"

    def test_too_few_are_told_without_dates_that_nobody_knows(
        self, lake: Lake, timeless: MakePipeline
    ) -> None:
        put_labelled(lake, snapshot(1), customers(40))
        with pytest.raises(TrainingError) as caught:
            build_training_set(lake, timeless(window=2), snapshot(1), ORIGIN)
        assert str(caught.value) == (
            f"training set {lake.pipeline} as of snapshot-0001: 2 snapshots with labels are "
            "needed, got 1: snapshot-0001. Land older partitions, wait for labels, or shorten "
            "training.window."
        )


class TestLabelsInTheRow:
    def test_a_label_known_after_the_partition_closed_matures_it_later(
        self, lake: Lake, in_row: MakePipeline
    ) -> None:
        q1, q2 = quarter("2005-Q1"), quarter("2005-Q2")
        put_labelled(lake, q1, customers(4))
        late = [("c0", 1, q1.end), *((f"c{i}", 0, q1.end - SECOND) for i in (1, 2, 3))]
        put_labels(lake, "2005-Q1", *late)
        assert mature_as_of(lake, in_row(), q1) == ()
        assert mature_as_of(lake, in_row(coverage=0.75), q1) == ("2005-Q1",)
        put_labelled(lake, q2, customers(4))
        assert mature_as_of(lake, in_row(), q2) == ("2005-Q1", "2005-Q2")

    def test_an_entity_of_two_partitions_is_two_rows(
        self, lake: Lake, in_row: MakePipeline
    ) -> None:
        pipeline = in_row(window=3)
        for name, label in (("2005-Q1", 1), ("2005-Q2", 0), ("2005-Q3", 1)):
            rows = {"a": (1.0, label), "b": (2.0, 1 - label)}
            put_labelled(lake, quarter(name), rows)
        made = build_training_set(lake, pipeline, quarter("2005-Q3"), ORIGIN)
        assert (made.rows, made.holdout) == ((4, 2), ("2005-Q3",))
        data = load_training_set(lake, pipeline, made)
        assert data.labels.tolist() == [1, 0, 0, 1, 1, 0]


def test_labels_of_another_source_are_known_when_they_land(
    lake: Lake, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline()
    outcomes = pipeline.sources["outcomes"].model_copy(update={"labels": Labels(column="bad")})
    pipeline = pipeline.model_copy(update={"sources": {**pipeline.sources, "outcomes": outcomes}})
    ids = put_features(lake, "2004-Q1", 4)
    landed = pa.table({"id": ids, "bad": [1, 0, 0, 0]})
    found = with_partition(derive(pipeline, landed, quarter("2004-Q3")), "2004-Q3")
    lake.write(LABELS, found, partitions=["2004-Q3"], origin=ORIGIN)
    put_features(lake, "2004-Q2", 4)
    assert mature_as_of(lake, pipeline, quarter("2004-Q2")) == ()
    assert mature_as_of(lake, pipeline, quarter("2004-Q3")) == ("2004-Q1",)


class TestClasses:
    def put(self, lake: Lake, *counts: dict[str, int]) -> None:
        """Write a quarter for each count of rows by class."""
        for number, wanted in enumerate(counts, start=1):
            names = [name for name, count in wanted.items() for _ in range(count)]
            rows = {f"{number}/{i}": (float(i), name) for i, name in enumerate(names)}
            put_labelled(lake, quarter(f"2005-Q{number}"), rows)

    def test_rare_ones_are_counted_and_not_learned(self, lake: Lake, in_row: MakePipeline) -> None:
        pipeline = in_row("multiclass")
        self.put(lake, {"b": 20, "c": 9}, {"a": 10, "b": 20}, {"b": 5, "new": 30})
        made = build_training_set(lake, pipeline, quarter("2005-Q3"), ORIGIN)
        assert made.rows == (59, 35)
        assert made.classes == {"a": 10, "b": 40, "c": 9}
        assert made.rare == {"c": 9}
        assert TrainingSet.from_dict(json.loads(json.dumps(made.to_dict()))) == made

        data = load_training_set(lake, pipeline, made)
        assert (data.problem.task, data.problem.classes) == ("multiclass", ("a", "b"))
        # What cannot be learned is not thrown away: it counts in validation and on held-out rows.
        assert sorted(set(data.labels)) == ["a", "b", "c", "new"]
        assert data.labels.dtype == object

    def test_held_out_rows_of_one_class_are_enough(self, lake: Lake, in_row: MakePipeline) -> None:
        self.put(lake, {"a": 10}, {"b": 10}, {"a": 3})
        made = build_training_set(lake, in_row("multiclass"), quarter("2005-Q3"), ORIGIN)
        assert made.rows == (20, 3)

    def test_one_that_can_be_learned_is_not_enough(self, lake: Lake, in_row: MakePipeline) -> None:
        self.put(lake, {"a": 10}, {"a": 5, "b": 9}, {"a": 3, "b": 30})
        with pytest.raises(TrainingError) as caught:
            build_training_set(lake, in_row("multiclass"), quarter("2005-Q3"), ORIGIN)
        assert (
            "training partitions 2005-Q1, 2005-Q2 must hold at least two classes, got 1 in 24"
            in (str(caught.value))
        )
        assert not lake.exists("training_sets")


class TestNumbers:
    def test_they_have_no_classes(self, lake: Lake, in_row: MakePipeline) -> None:
        pipeline = in_row("regression")
        for name in ("2005-Q1", "2005-Q2", "2005-Q3"):
            rows = {f"{name}/{i}": (float(i), 0.5 + i) for i in range(3)}
            put_labelled(lake, quarter(name), rows)
        made = build_training_set(lake, pipeline, quarter("2005-Q3"), ORIGIN)
        assert (made.classes, made.rare, made.rows) == ({}, {}, (6, 3))
        data = load_training_set(lake, pipeline, made)
        assert (data.problem.classes, data.labels.dtype) == ((), np.float64)
        assert data.labels.tolist() == [0.5, 1.5, 2.5] * 3

    @pytest.mark.parametrize(
        ("constant", "told"),
        [
            (("2005-Q1", "2005-Q2"), "training rows must hold different labels, got 1 in 6 rows"),
            (("2005-Q3",), "held-out rows must hold different labels, got 1 in 3 rows"),
        ],
    )
    def test_a_side_that_is_all_the_same_is_refused(
        self, lake: Lake, in_row: MakePipeline, constant: tuple[str, ...], told: str
    ) -> None:
        for name in ("2005-Q1", "2005-Q2", "2005-Q3"):
            rows = {
                f"{name}/{i}": (float(i), 1.0 if name in constant else float(i)) for i in range(3)
            }
            put_labelled(lake, quarter(name), rows)
        with pytest.raises(TrainingError, match=told):
            build_training_set(lake, in_row("regression"), quarter("2005-Q3"), ORIGIN)
