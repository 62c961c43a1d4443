"""Overview: one row a partition, told by the pipeline's own metric."""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from include.monitoring.performance import PerformanceRecord
from include.reports.decisions_page import HEADS, Row, decisions, render_decisions
from include.steps import monitoring
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.ledger import Kind
from include.storage.lineage import Origin

RECORD = PerformanceRecord(
    partition="1994",
    model_version=1,
    metric="balanced_accuracy",
    rows=500,
    positives=None,
    value=0.51234,
    lower=0.5,
    upper=0.52,
    held_out=None,
    observed_over_predicted=None,
    calibration_error=0.1,
    verdict="cannot tell",
    reason="",
    back_scored=False,
)


def cells(*records: PerformanceRecord) -> dict[str, str]:
    row = Row("1995", 1234, 2, 1, "drift", records, "yes", "new_class", "promoted", "better")
    return dict(zip(HEADS, row.cells(), strict=True))


def test_performance_names_its_metric_and_unknown_classes() -> None:
    assert cells(RECORD)["performance"] == "balanced_accuracy 0.5123"
    one = dataclasses.replace(RECORD, unseen={"PX": 3})
    two = dataclasses.replace(RECORD, unseen={"PX": 3, "SF": 1}, value=None, held_out=0.6)
    found = cells(one, two)
    assert found["performance"] == (
        "balanced_accuracy 0.5123, 1 unknown class\nbalanced_accuracy, 2 unknown classes"
    )
    assert found["held out"] == "\n0.6000"
    assert found["matured"] == "1994 (made then)\n1994 (made then)"


def test_a_partition_without_matured_labels() -> None:
    found = cells()
    assert found["performance"] == ""
    assert (found["rows"], found["champion"]) == ("1,234", "v1")
    assert found["reason"] == "new_class; better"


def test_decisions_name_the_champion_before_and_after(lake: Lake) -> None:
    def decide(kind: Kind, partition: str, decision: str, run: str, **evidence: object) -> None:
        origin = Origin("p_train", run, "task")
        ledger.record(
            lake, kind, partition, decision, f"why {run}", origin=origin, evidence=evidence
        )

    def train(
        partition: str, outcome: str, run: str, champion: int | None, challenger: int
    ) -> None:
        decide("promotion", partition, outcome, run, champion=champion, challenger=challenger)
        decide("training", partition, outcome, run)

    ledger.record(lake, "training", "2005-Q4", "started", "x", origin=Origin("d", "a", "t"))
    train("2005-Q4", "promoted", "a", None, 1)
    drift = pa.table({"partition": ["2006-Q1"], "model_version": [1], "verdict": ["drift"]})
    lake.write(monitoring.DRIFT, drift, partitions=["2006-Q1"], origin=Origin("d", "s", "t"))
    decide("retraining", "2006-Q2", "no", "c")
    decide("retraining", "2006-Q1", "yes", "b")
    train("2006-Q1", "promoted", "d", 1, 2)
    train("2006-Q2", "refused", "e", 2, 3)
    decide("training", "2006-Q3", "started", "f")
    found = [(d.partition, d.about, d.decision, d.champion, d.reason) for d in decisions(lake)]
    assert found == [
        ("2005-Q4", "training", "promoted", "none -> v1", "why a"),
        ("2006-Q1", "retraining", "yes", "v1", "why b"),
        ("2006-Q1", "training", "promoted", "v1 -> v2", "why d"),
        ("2006-Q2", "retraining", "no", "none", "why c"),
        ("2006-Q2", "training", "refused", "v2", "why e"),
        ("2006-Q3", "training", "started", "none", "why f"),
    ]


def test_an_answer_that_counts_no_more_is_struck_out_and_listed_nowhere_else(lake: Lake) -> None:
    origin = Origin("p_score", "run_1", "task")
    for decision in ("no", "yes"):
        ledger.record(lake, "retraining", "2005-Q1", decision, f"why {decision}", origin=origin)
    assert [item.decision for item in decisions(lake)] == ["yes"]
    lines = [line for line in render_decisions(lake).splitlines() if "why" in line]
    assert ["superseded" in line for line in lines] == [False, True]
    assert 'class="yes">yes<' in lines[0]
    assert '<tr class="superseded">' in lines[1]
    assert "why no (superseded)" in lines[1]
    assert 'class="no"' not in lines[1]
