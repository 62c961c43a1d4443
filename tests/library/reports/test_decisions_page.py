"""Overview: one row a partition, told by the pipeline's own metric."""

from __future__ import annotations

import dataclasses

from include.monitoring.performance import PerformanceRecord
from include.reports.decisions_page import HEADS, Row

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
