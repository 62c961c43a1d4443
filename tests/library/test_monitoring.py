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

from include import ledger, monitoring, scoring
from include.errors import MonitoringError
from include.lineage import Origin, TableReference
from include.models import ModelVersion
from include.monitoring import Scored, decide, measure_performance, observe, trainings
from include.partitions import Frequency, Partition, parse
from include.registry import Registry
from include.retraining import Observation, TrainingRecord
from include.specification import Pipeline
from include.tables import Lake, with_partition

MakePipeline = Callable[..., Pipeline]
VERSION = ModelVersion("p", 5, "2004-Q3", "run", "logistic_regression", ("x",), (), {}, {})


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


@pytest.fixture
def watched(lake: Lake, origin: Origin) -> Any:
    """Put a partition's drift verdict and the verdicts on what matured in it on record."""

    def write(name: str, drift: str, *performance: str) -> None:
        row = {"verdict": drift, "reason": "r", "model_version": 1, "details": "{}"}
        rows = with_partition(pa.Table.from_pylist([row]), name)
        lake.write(monitoring.DRIFT, rows, partitions=[name], origin=origin)
        found = [{"measured": "m", "details": json.dumps({"verdict": v})} for v in performance]
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
        assert observe(lake, pipeline) == [
            Observation(quarter("2005-Q1"), "drift", "no drop"),
            Observation(quarter("2005-Q2"), "no drift", "drop"),
            Observation(quarter("2005-Q3"), "cannot tell", "cannot tell"),
            Observation(quarter("2005-Q4"), "no drift", "cannot tell"),
        ]


class TestTrainings:
    def test_the_latest_word_on_each_partition(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        def record(kind: Any, name: str, decision: str, run: str, step: str = "") -> None:
            writer = replace(origin, dag_run_id=run)
            ledger.record(lake, kind, name, decision, "", origin=writer, step=step)

        record("retraining", "2005-Q1", "yes", "score_1")
        record("training", "2005-Q1", "started", "train_1", "started")
        record("training", "2005-Q1", "refused", "train_1", "refused")
        record("retraining", "2005-Q2", "no", "score_2")
        record("retraining", "2005-Q3", "yes", "score_3")
        record("training", "2004-Q4", "started", "manual_1", "started")
        record("training", "2005-Q4", "started", "train_4", "started")
        record("training", "2005-Q4", "failed", "train_4", "failed")
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
        assert entry.reason.startswith("drift in 1 of the latest 3 partitions, 2 needed")
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
    lake.write(scoring.TABLE, rows, partitions=["2004-Q4"], origin=origin)


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

    def test_what_nobody_scored_then_is_scored_now_and_marked(
        self, matured: Lake, pipeline: Pipeline, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(*_: Any, **__: Any) -> None:
            predictions(matured, origin, [0.1, 0.2, 0.7, 0.8], back_scored=True)

        score = create_autospec(scoring.score, side_effect=write)
        monkeypatch.setattr(scoring, "score", score)
        for _ in range(2):  # cleared and run again, it is back-scored again
            (record,), registry = self.measure(matured, pipeline, origin, "2005-Q2")
            assert (record.value, record.back_scored) == (1.0, True)
            registry.require_champion.assert_called_once_with(quarter("2005-Q2"))
        assert [item.kwargs for item in score.call_args_list] == [{"back_scored": True}] * 2
        assert score.call_args.args[3] == matured.reference("features", "2004-Q4")
        assert len(monitoring.rows(matured, monitoring.PERFORMANCE)) == 1

    def test_what_had_matured_before_is_not_judged_again(
        self, matured: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        predictions(matured, origin, [0.1, 0.9, 0.4, 0.8], back_scored=False)
        records, _ = self.measure(matured, pipeline, origin, "2005-Q3")
        assert records == ()
        assert monitoring.rows(matured, monitoring.PERFORMANCE) == []


def test_a_scored_batch_survives_json() -> None:
    scored = Scored(
        TableReference("p", "predictions", 3, "2005-Q1", 10),
        TableReference("p", "profiles", 1, "2005-Q1", 1),
        2,
    )
    assert Scored.from_dict(json.loads(json.dumps(scored.to_dict()))) == scored
