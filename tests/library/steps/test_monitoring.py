"""What was observed, judged and decided, from rows on a real store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import create_autospec

import pandas as pd
import pyarrow as pa
import pytest

from include.calendar.partitions import Frequency, Partition, parse, snapshot
from include.errors import MonitoringError
from include.evaluation.decision_threshold import DecisionThreshold
from include.monitoring.performance import PerformanceRecord
from include.monitoring.profiles import Profile
from include.monitoring.retraining import Observation, TrainingRecord
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.scoring import batch_scoring
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import Labels
from include.steps import monitoring
from include.steps.interventions import freeze, unfreeze
from include.steps.monitoring import Scored, decide, measure_performance, observe, trainings
from include.storage import ledger
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.training.training_sets import TABLE as TRAINING_SETS
from include.training.training_sets import TrainingSet

MakePipeline = Callable[..., Pipeline]
VERSION = ModelVersion("p", 5, "2004-Q3", "run", "logistic_regression", ("x",), (), {}, {})


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


def record(verdict: Any, *, unseen: int = 0) -> PerformanceRecord:
    """Judge a partition; ``unseen`` rows are of a class that the version does not know."""
    measured = (0.7, 0.6, 0.8, 0.75, 1.1, 0.02)
    counts = {"new": unseen} if unseen else {}
    return PerformanceRecord(
        "m", 1, "roc_auc", 100, 10, *measured, verdict, "r", back_scored=False, unseen=counts
    )


@pytest.fixture
def watched(lake: Lake, origin: Origin) -> Any:
    """Put a partition's drift verdict and the verdicts on what matured in it on record."""

    def write(name: str, drift: str, *performance: str) -> None:
        row = {"verdict": drift, "reason": "r", "model_version": 1, "details": "{}"}
        rows = with_partition(pa.Table.from_pylist([row]), name)
        lake.write(monitoring.DRIFT, rows, partitions=[name], origin=origin)
        found = [
            {"measured": "m", "details": json.dumps(record(verdict).to_dict())}
            for verdict in performance
        ]
        if found:
            rows = with_partition(pa.Table.from_pylist(found), name)
            lake.write(monitoring.PERFORMANCE, rows, partitions=[name], origin=origin)

    return write


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> Pipeline:
    return make_pipeline(
        retraining={
            "when": ["drift", "performance"],
            "persist": "2 of 3",
            "cooldown": 1,
            "budget": "2 in 4",
        }
    )


class TestObserve:
    def test_nothing_at_first(self, lake: Lake, pipeline: Pipeline) -> None:
        assert observe(lake, pipeline) == []
        assert trainings(lake, pipeline) == []
        assert monitoring.rows(lake, monitoring.DRIFT) == []

    def test_the_worst_of_what_matured_counts(
        self, lake: Lake, pipeline: Pipeline, watched: Any
    ) -> None:
        watched("2005-Q2", "no drift", "no drop", "drop", "cannot tell")
        watched("2005-Q1", "drift", "cannot tell", "no drop")
        watched("2005-Q3", "cannot tell")
        watched("2005-Q4", "no drift", "cannot tell")
        seen = observe(lake, pipeline)
        found = [replace(item, new_class="cannot tell", untold={}) for item in seen]
        assert found == [
            Observation(quarter("2005-Q1"), "drift", "no drop"),
            Observation(quarter("2005-Q2"), "no drift", "drop"),
            Observation(quarter("2005-Q3"), "cannot tell", "cannot tell"),
            Observation(quarter("2005-Q4"), "no drift", "cannot tell"),
        ]
        nothing_matured = dict.fromkeys(
            ("performance", "new_class"), "no labels matured to judge by"
        )
        assert [item.untold for item in seen] == [
            {},
            {},
            {"drift": "r", **nothing_matured},
            {"performance": "r"},
        ]

    def test_a_class_that_is_new_in_any_of_what_matured_counts(
        self, lake: Lake, pipeline: Pipeline, watched: Any, origin: Origin
    ) -> None:
        for name, unseen in (("2005-Q1", (0, 10)), ("2005-Q2", (9,)), ("2005-Q3", ())):
            watched(name, "no drift")
            records = [record("no drop", unseen=count).to_dict() for count in unseen]
            found = [{"measured": "m", "details": json.dumps(details)} for details in records]
            if found:
                rows = with_partition(pa.Table.from_pylist(found), name)
                lake.write(monitoring.PERFORMANCE, rows, partitions=[name], origin=origin)
        assert [item.new_class for item in observe(lake, pipeline)] == [
            "new class",
            "no new class",
            "cannot tell",
        ]


class TestTrainings:
    def test_the_latest_word_on_each_partition(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        def record(kind: Any, name: str, decision: str, run: str) -> None:
            writer = replace(origin, dag_run_id=run)
            ledger.record(lake, kind, name, decision, "", origin=writer)

        record("retraining", "2005-Q1", "yes", "score_1")
        record("training", "2005-Q1", "started", "train_1")
        record("training", "2005-Q1", "refused", "train_1")
        record("retraining", "2005-Q2", "no", "score_2")
        record("retraining", "2005-Q3", "yes", "score_3")
        record("training", "2004-Q4", "started", "manual_1")
        record("training", "2005-Q4", "started", "train_4")
        record("training", "2005-Q4", "failed", "train_4")
        record("promotion", "2005-Q3", "promoted", "train_3")
        assert trainings(lake, pipeline) == [
            TrainingRecord(quarter("2004-Q4"), "requested"),
            TrainingRecord(quarter("2005-Q1"), "refused"),
            TrainingRecord(quarter("2005-Q3"), "requested"),
            TrainingRecord(quarter("2005-Q4"), "failed"),
        ]


class TestDecide:
    def test_a_no_is_on_record_as_well(
        self, lake: Lake, pipeline: Pipeline, watched: Any, origin: Origin
    ) -> None:
        watched("2005-Q1", "drift")
        decision = decide(lake, pipeline, quarter("2005-Q1"), origin)
        assert not decision.retrain
        (entry,) = ledger.entries(lake)
        assert (entry.kind, entry.partition, entry.decision) == ("retraining", "2005-Q1", "no")
        assert entry.reason == decision.reason
        assert entry.reason == (
            "drift in 1 of the latest 3 partitions, 2 needed, 2 not measured (nothing was "
            "observed); performance not measured in the latest 3 partitions (2005-Q1: no labels "
            "matured to judge by), 2 needed"
        )
        assert entry.evidence == json.loads(json.dumps(decision.to_dict()))

    def test_a_yes_and_the_same_on_a_rerun(
        self, lake: Lake, pipeline: Pipeline, watched: Any, origin: Origin
    ) -> None:
        watched("2005-Q1", "drift", "drop")
        watched("2005-Q2", "drift", "drop")
        first = decide(lake, pipeline, quarter("2005-Q2"), origin)
        second = decide(lake, pipeline, quarter("2005-Q2"), origin)
        assert first == second
        assert (first.retrain, first.triggers) == (True, ("drift", "performance"))
        assert [entry.decision for entry in ledger.entries(lake)] == ["yes"]
        assert ledger.pending_trainings(lake) == ("2005-Q2",)

    def test_a_rerun_about_the_past_does_not_see_what_came_later(
        self, lake: Lake, pipeline: Pipeline, watched: Any, origin: Origin
    ) -> None:
        watched("2005-Q1", "no drift")
        before = decide(lake, pipeline, quarter("2005-Q1"), origin)
        for name in ("2005-Q2", "2005-Q3"):
            watched(name, "drift")
        writer = replace(origin, dag_run_id="run_3")
        assert decide(lake, pipeline, quarter("2005-Q3"), writer).retrain
        assert decide(lake, pipeline, quarter("2005-Q1"), origin) == before

    def test_the_cool_down_reads_the_ledger(
        self, lake: Lake, pipeline: Pipeline, watched: Any, origin: Origin
    ) -> None:
        for name in ("2005-Q1", "2005-Q2", "2005-Q3", "2005-Q4"):
            watched(name, "drift")
        decisions = [
            decide(lake, pipeline, quarter(name), replace(origin, dag_run_id=name))
            for name in ("2005-Q2", "2005-Q3", "2005-Q4")
        ]
        assert [(item.retrain, item.blocked_by) for item in decisions] == [
            (True, None),
            (False, "cooldown"),
            (True, None),
        ]

    def test_while_the_champion_is_frozen_nothing_trains(
        self, lake: Lake, pipeline: Pipeline, watched: Any, origin: Origin
    ) -> None:
        for name in ("2005-Q1", "2005-Q2"):
            watched(name, "drift")
        in_use = {"event": "promoted", "version": 3, "partition": "2004-Q4", "key": "promoted/3"}
        registry = Registry(lake)
        registry.add(lambda held: {**in_use, "effective_from": "2005-Q1"}, origin)
        freeze(lake, registry, "an audit", "Ada", datetime(2100, 1, 1), origin)
        decision = decide(lake, pipeline, quarter("2005-Q2"), origin)
        assert (decision.retrain, decision.blocked_by) == (False, "freeze")
        assert "blocked by a freeze: the champion, version 3, is frozen since" in decision.reason
        unfreeze(lake, registry, "over", "Ada", datetime(2100, 1, 1), origin)
        assert decide(lake, pipeline, quarter("2005-Q2"), origin).retrain

    def test_without_a_drift_verdict_there_is_no_answer(
        self, lake: Lake, pipeline: Pipeline, watched: Any, origin: Origin
    ) -> None:
        watched("2005-Q1", "drift")
        with pytest.raises(MonitoringError) as caught:
            decide(lake, pipeline, quarter("2005-Q2"), origin)
        assert str(caught.value) == (
            f"pipeline {lake.pipeline} 2005-Q2: drift must be on record before deciding, got "
            "none. Run detect_drift first."
        )
        assert ledger.entries(lake) == []


@pytest.fixture
def matured(lake: Lake, origin: Origin) -> Lake:
    """2004-Q4 with four loans: their labels become known while 2005-Q2 lasts."""

    def write(table: str, name: str, frame: pd.DataFrame) -> None:
        rows = with_partition(pa.Table.from_pandas(frame, preserve_index=False), name)
        lake.write(table, rows, partitions=[name], origin=origin)

    ids = ["a", "b", "c", "d"]
    at = pd.Series([datetime(2004, 11, 1)] * 4, dtype="datetime64[us]")
    write("features", "2004-Q4", pd.DataFrame({"id": ids, "at": at, "x": [1.0, 2.0, 3.0, 4.0]}))
    # "b" was reported as bad first and corrected later; deliveries lie in no order.
    known = pd.DataFrame(
        {
            "id": ["b", "d", "c", "b", "a"],
            "label": [0, 1, 1, 1, 0],
            "known_at": [datetime(2005, 6, day) for day in (20, 1, 1, 10, 1)],
        }
    ).astype({"known_at": "datetime64[us]"})
    write("labels", "2005-Q2", known)
    return lake


def predictions(lake: Lake, origin: Origin, scores: list[float], back_scored: bool) -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "score": scores,
            "model_version": [5] * 4,
            "back_scored": [back_scored] * 4,
        }
    )
    rows = with_partition(pa.Table.from_pandas(frame, preserve_index=False), "2004-Q4")
    lake.write(batch_scoring.TABLE, rows, partitions=["2004-Q4"], origin=origin)


class TestMeasurePerformance:
    def measure(self, lake: Lake, pipeline: Pipeline, origin: Origin, name: str) -> Any:
        registry = create_autospec(Registry, instance=True)
        registry.require_champion.return_value = registry.get.return_value = VERSION
        return measure_performance(None, lake, registry, pipeline, quarter(name), origin), registry

    def test_predictions_made_then_are_judged_by_the_latest_label(
        self, matured: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        predictions(matured, origin, [0.1, 0.9, 0.4, 0.8], back_scored=False)
        (record,), registry = self.measure(matured, pipeline, origin, "2005-Q2")
        # Bad are c (0.4) and d (0.8), good a (0.1) and b (0.9): 2 of 4 pairs are in order.
        registry.get.assert_called_once_with(5)
        assert (record.partition, record.rows, record.positives) == ("2004-Q4", 4, 2)
        assert record.value == 0.5
        assert (record.model_version, record.back_scored) == (5, False)
        assert record.observed_over_predicted == pytest.approx(2 / 2.2)
        assert record.verdict == "cannot tell"
        registry.require_champion.assert_not_called()
        (row,) = monitoring.rows(matured, monitoring.PERFORMANCE)
        assert (row["partition"], row["measured"]) == ("2005-Q2", "2004-Q4")

    @pytest.mark.parametrize(
        ("decision", "accuracy"), [(None, 0.5), (DecisionThreshold(0.4, {"threshold": 0.4}), 0.75)]
    )
    def test_metrics_of_classes_take_the_threshold_of_the_version_that_predicted(
        self,
        matured: Lake,
        make_pipeline: Callable[..., Pipeline],
        origin: Origin,
        decision: DecisionThreshold | None,
        accuracy: float,
    ) -> None:
        # Whatever the file says by now.
        pipeline = make_pipeline(
            monitoring={"performance": {"metric": "accuracy"}}, decision={"threshold": 0.85}
        )
        predictions(matured, origin, [0.1, 0.9, 0.4, 0.8], back_scored=False)
        registry = create_autospec(Registry, instance=True)
        registry.get.return_value = replace(VERSION, decision=decision)
        (record,) = measure_performance(
            None, matured, registry, pipeline, quarter("2005-Q2"), origin
        )
        assert record.value == accuracy

    def test_what_nobody_scored_then_is_scored_now_and_marked(
        self, matured: Lake, pipeline: Pipeline, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(*_: Any, **__: Any) -> batch_scoring.Scores:
            predictions(matured, origin, [0.1, 0.2, 0.7, 0.8], back_scored=True)
            held = matured.reference(batch_scoring.TABLE, "2004-Q4")
            return batch_scoring.Scores(held, create_autospec(Profile, instance=True))

        score = create_autospec(batch_scoring.score, side_effect=write)
        monkeypatch.setattr(batch_scoring, "score", score)
        for _ in range(2):  # cleared and run again, it is back-scored again
            (record,), registry = self.measure(matured, pipeline, origin, "2005-Q2")
            assert (record.value, record.back_scored) == (1.0, True)
            registry.require_champion.assert_called_once_with(quarter("2005-Q2"))
        assert [item.kwargs["back_scored"] for item in score.call_args_list] == [True] * 2
        assert score.call_args.args[3] == matured.reference("features", "2004-Q4")
        assert len(monitoring.rows(matured, monitoring.PERFORMANCE)) == 1

    def test_what_had_matured_before_is_not_judged_again(
        self, matured: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        predictions(matured, origin, [0.1, 0.9, 0.4, 0.8], back_scored=False)
        records, _ = self.measure(matured, pipeline, origin, "2005-Q3")
        assert records == ()
        assert monitoring.rows(matured, monitoring.PERFORMANCE) == []


class TestMeasureSnapshots:
    """Snapshots hold old acquaintances, whom the model was fitted on."""

    @pytest.fixture
    def timeless(self, make_pipeline: MakePipeline) -> Pipeline:
        pipeline = make_pipeline()
        loans = pipeline.sources["loans"].model_copy(update={"labels": Labels(column="bad")})
        changes = {"partition": Frequency.NONE, "event_time": None, "schedule": None}
        return pipeline.model_copy(update={**changes, "sources": {"loans": loans}})

    def write(self, lake: Lake, origin: Origin, table: str, name: str, **columns: Any) -> None:
        rows = with_partition(pa.table(columns), name)
        lake.write(table, rows, partitions=[name], origin=origin)

    @pytest.fixture
    def measure(self, lake: Lake, timeless: Pipeline, origin: Origin) -> Any:
        """Predict and label four customers of the second snapshot, and judge that."""

        def judge(*fitted: str, held_out: tuple[str, ...] = ()) -> Any:
            entities = [*fitted, *held_out]
            out = [False] * len(fitted) + [True] * len(held_out)
            self.write(lake, origin, TRAINING_SETS, "snapshot-0001", id=entities, held_out=out)
            training_set = TrainingSet(
                lake.reference(TRAINING_SETS, "snapshot-0001"), ("snapshot-0001",), (), (1, 1), {}
            )
            version = replace(VERSION, training_set=training_set.to_dict())
            ids, name = ["a", "b", "c", "d"], "snapshot-0002"
            self.write(lake, origin, "features", name, id=ids, x=[1.0, 2.0, 3.0, 4.0])
            known_at = pa.array([snapshot(2).start] * 3, pa.timestamp("us"))
            labels = {"label": [1, 0, 1], "known_at": known_at}
            self.write(lake, origin, "labels", name, id=ids[:3], **labels)  # nobody knows "d" yet
            self.write(
                lake,
                origin,
                batch_scoring.TABLE,
                name,
                id=ids,
                score=[0.1, 0.9, 0.8, 0.2],
                model_version=[5] * 4,
                back_scored=[False] * 4,
            )
            registry = create_autospec(Registry, instance=True)
            registry.get.return_value = version
            return measure_performance(None, lake, registry, timeless, snapshot(2), origin)

        return judge

    def test_what_it_was_fitted_on_is_left_out(self, measure: Any) -> None:
        (record,) = measure("a", "x", held_out=("b",))
        # b, which it was only judged on, and c are left; a would have been a mistake.
        assert (record.partition, record.rows, record.positives) == ("snapshot-0002", 2, 1)
        assert record.observed_over_predicted == pytest.approx(1 / 1.7)

    def test_a_snapshot_of_strangers_counts_whole(self, measure: Any) -> None:
        (record,) = measure("x", "y")
        assert (record.rows, record.positives) == (3, 2)

    def test_a_snapshot_without_a_stranger_tells_nothing(self, lake: Lake, measure: Any) -> None:
        assert measure("a", "b", "c") == ()
        assert monitoring.rows(lake, monitoring.PERFORMANCE) == []


class TestMeasureOtherTasks:
    """2005-Q1 with labels in the row, known when the quarter has closed."""

    def measure(
        self, lake: Lake, pipeline: Pipeline, origin: Origin, version: ModelVersion, **columns: Any
    ) -> Any:
        label, name = columns.pop("label"), "2005-Q1"
        loans = pipeline.sources["loans"].model_copy(update={"labels": Labels(column="bad")})
        pipeline = pipeline.model_copy(update={"sources": {"loans": loans}})
        count = len(label)
        ids, start = [str(i) for i in range(count)], quarter(name).start
        at = pa.array([start] * count, pa.timestamp("us"))
        tables: dict[str, dict[str, Any]] = {
            "features": {"id": ids, "at": at, "x": [1.0] * count},
            "labels": {"id": ids, "label": label, "known_at": at},
            batch_scoring.TABLE: {
                "id": ids,
                "at": at,
                **columns,
                "model_version": [5] * count,
                "back_scored": [False] * count,
            },
        }
        for table, content in tables.items():
            rows = with_partition(pa.table(content), name)
            lake.write(table, rows, partitions=[name], origin=origin)
        registry = create_autospec(Registry, instance=True)
        registry.get.return_value = version
        (record,) = measure_performance(None, lake, registry, pipeline, quarter(name), origin)
        (row,) = monitoring.rows(lake, monitoring.PERFORMANCE)
        assert PerformanceRecord.from_dict(json.loads(row["details"])) == record
        return record

    def test_a_class_that_the_version_does_not_know(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin
    ) -> None:
        pipeline = make_pipeline(task="multiclass", promotion={"require": {"accuracy": 0.5}})
        version = replace(VERSION, task="multiclass", classes=("a", "b"))
        record = self.measure(
            lake,
            pipeline,
            origin,
            version,
            label=["a", "b", *["new"] * 10],
            prediction=["a", "b", *["b"] * 10],
            score=[0.8, 0.9, *[0.6] * 10],
            probabilities=[[0.8, 0.2], [0.1, 0.9], *[[0.4, 0.6]] * 10],
        )
        assert (record.rows, record.positives, record.unseen) == (12, None, {"new": 10})
        assert record.new_class == "new class"

    def test_errors_of_numbers(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin
    ) -> None:
        pipeline = make_pipeline(task="regression", promotion={"require": {"r2": 0.1}})
        version = replace(VERSION, task="regression")
        label = [float(i) for i in range(40)]
        record = self.measure(
            lake, pipeline, origin, version, label=label, prediction=[x + 2 for x in label]
        )
        assert (record.metric, record.value, record.bias) == ("mean_absolute_error", 2.0, 2.0)
        assert record.positives is None


def test_a_scored_batch_survives_json() -> None:
    scored = Scored(
        TableReference("p", "predictions", 3, "2005-Q1", 10),
        TableReference("p", "profiles", 1, "2005-Q1", 1),
        2,
    )
    assert Scored.from_dict(json.loads(json.dumps(scored.to_dict()))) == scored
