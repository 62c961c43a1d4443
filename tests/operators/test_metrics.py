"""The numbers that steps hand to Airflow's metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from airflow.sdk.observability import stats

from include.calendar.partitions import Frequency, Partition
from relevo import metrics
from relevo.metrics import COUNTERS, GAUGES, Measurement, measurements
from relevo.operators.base import PipelineOperator
from relevo.operators.preparation import IngestSourceOperator
from tests.operators.running import FEATURES, RAW

QUARTER = Partition(datetime(2005, 1, 1), Frequency.QUARTERLY)
RECORD = {"metric": "roc_auc", "value": 0.71, "held_out": 0.75, "verdict": "no drop"}

CASES = [
    (
        "IngestSourceOperator",
        RAW.to_dict(),
        [("rows_ingested", 100, {"dataset": "loans"})],
    ),
    (
        "ValidateFeaturesOperator",
        {"reference": FEATURES.to_dict(), "quarantined": 2},
        [
            ("rows_kept", 98, {"dataset": "features"}),
            ("rows_quarantined", 2, {"dataset": "features"}),
        ],
    ),
    (
        "ScoreBatchOperator",
        {"predictions": {"rows": 98}, "model_version": 3},
        [
            ("rows_scored", 98, {}),
            ("champion_version", 3, {}),
            ("scored_at_seconds", 1000.5, {}),
            ("partition_seconds", 90 * 86400, {}),
        ],
    ),
    (
        "DetectDriftOperator",
        {"verdict": "drift", "share": 0.4},
        [("drift_verdicts", 1, {"verdict": "drift"}), ("drifted_share", 0.4, {})],
    ),
    (
        "DetectDriftOperator",
        {"verdict": "cannot tell", "share": 0.0},
        [("drift_verdicts", 1, {"verdict": "cannot tell"})],
    ),
    (
        "MeasurePerformanceOperator",
        [RECORD, {**RECORD, "value": None, "held_out": None, "verdict": "cannot tell"}],
        [
            ("performance_verdicts", 1, {"verdict": "no drop"}),
            ("performance", 0.71, {"metric": "roc_auc"}),
            ("performance_promised", 0.75, {"metric": "roc_auc"}),
            ("performance_verdicts", 1, {"verdict": "cannot tell"}),
        ],
    ),
    ("MeasurePerformanceOperator", [], []),
    (
        "DecideRetrainingOperator",
        {"retrain": True},
        [("retraining_decisions", 1, {"decision": "yes"})],
    ),
    (
        "DecideRetrainingOperator",
        {"retrain": False},
        [("retraining_decisions", 1, {"decision": "no"})],
    ),
    (
        "CloseTrainingOperator",
        {"outcome": "refused"},
        [("trainings", 1, {"outcome": "refused"})],
    ),
    ("AwaitTrainingOperator", None, []),
]


@pytest.mark.parametrize(("step", "summary", "expected"), CASES)
def test_each_step_tells_its_numbers(step: str, summary: Any, expected: list[Any]) -> None:
    found = measurements(step, summary, partition=QUARTER, now=1000.5)
    assert found == tuple(Measurement(*item) for item in expected)
    assert {item.name for item in found} <= GAUGES | COUNTERS


def test_a_snapshot_has_no_length() -> None:
    found = measurements(
        "ScoreBatchOperator",
        {"predictions": {"rows": 98}, "model_version": 3},
        partition=Partition(datetime(1970, 1, 2), Frequency.NONE),
        now=1000.5,
    )
    assert "partition_seconds" not in {item.name for item in found}


def test_every_step_with_numbers_is_an_operator() -> None:
    def below(kind: type) -> set[str]:
        return {kind.__name__}.union(*(below(child) for child in kind.__subclasses__()))

    import relevo.operators.monitoring
    import relevo.operators.training  # noqa: F401

    assert {*metrics._READERS, "ScoreBatchOperator"} <= below(PipelineOperator)


@pytest.fixture
def ingesting(monkeypatch: pytest.MonkeyPatch) -> IngestSourceOperator:
    monkeypatch.setattr(IngestSourceOperator, "run", lambda self, context: RAW.to_dict())
    return IngestSourceOperator(
        task_id="ingest_loans", pipeline="loan_default", partition="2005-Q1", source="loans"
    )


def test_a_step_sends_its_numbers_with_the_pipeline(
    ingesting: IngestSourceOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(stats, "gauge", lambda name, value, tags: sent.append((name, value, tags)))
    assert ingesting.execute({}) == RAW.to_dict()
    assert sent == [("relevo.rows_ingested", 100, {"pipeline": "loan_default", "dataset": "loans"})]


def test_metrics_that_cannot_be_sent_fail_no_task(
    ingesting: IngestSourceOperator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no collector")

    monkeypatch.setattr(stats, "gauge", unreachable)
    assert ingesting.execute({}) == RAW.to_dict()
    assert "metrics of ingest_loans were not sent" in caplog.text
