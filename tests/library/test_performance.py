"""Performance: a drop only when it is sure, and maturity counted on rows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from include.bootstrap import bootstrap_interval
from include.errors import MonitoringError
from include.evaluation import metric
from include.performance import (
    PerformanceRecord,
    assess_performance,
    coverage_by_partition,
    mature_partitions,
    newly_matured,
)
from include.specification import PerformanceMonitoring

RULE = PerformanceMonitoring(metric="roc_auc", max_drop=0.05)
Y = np.repeat([0, 1], [900, 100])
SCORES = np.clip(np.random.default_rng(0).beta(2, 8, 1000) + 0.15 * Y, 0, 1)


def assess(y: Any = Y, scores: Any = SCORES, **changes: Any) -> PerformanceRecord:
    return assess_performance(
        y,
        scores,
        **{
            "partition": "2005-Q1",
            "model_version": 3,
            "held_out": 0.8,
            "rule": RULE,
            "back_scored": False,
            "seed": 7,
            **changes,
        },
    )


class TestAssessPerformance:
    def test_record(self) -> None:
        record = assess()
        interval = bootstrap_interval("roc_auc", Y, SCORES, confidence=0.9, seed=7)
        assert (record.rows, record.positives, record.model_version) == (1000, 100, 3)
        assert (record.value, record.lower, record.upper) == (
            metric("roc_auc", Y, SCORES),
            interval.lower,
            interval.upper,
        )
        assert record.observed_over_predicted == pytest.approx(100 / SCORES.sum())
        assert record.verdict == "no drop"
        document = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        assert PerformanceRecord.from_dict(document) == record
        assert assess(back_scored=True).back_scored

    def test_drop_needs_the_whole_interval_below(self) -> None:
        upper = assess().upper
        assert upper is not None
        assert assess(held_out=upper + 0.0501).verdict == "drop"
        assert assess(held_out=upper + 0.0499).verdict == "no drop"

    def test_reason(self) -> None:
        record = assess(held_out=0.99)
        assert record.reason == (
            f"roc_auc {record.value:.4f} [{record.lower:.4f}, {record.upper:.4f}] lies below "
            "0.9400 (held-out 0.9900, 0.05 allowed)"
        )

    def test_mirrored_where_lower_is_better(self) -> None:
        rule = PerformanceMonitoring(metric="brier_score", max_drop=0.01)
        lower = assess(rule=rule, held_out=0.5).lower
        assert lower is not None
        assert assess(rule=rule, held_out=lower - 0.0101).verdict == "drop"
        record = assess(rule=rule, held_out=lower - 0.0099)
        assert record.verdict == "no drop"
        assert "does not lie above" in record.reason

    @pytest.mark.parametrize("held_out", [None, math.nan, math.inf])
    def test_unknown_promise_cannot_tell(self, held_out: float | None) -> None:
        record = assess(held_out=held_out)
        assert (record.verdict, record.held_out) == ("cannot tell", None)
        assert record.reason == "the held-out roc_auc of version 3 is unknown"
        assert record.value is not None

    def test_few_of_a_class_cannot_tell_but_are_measured(self) -> None:
        record = assess(Y[:929], SCORES[:929])
        assert record.verdict == "cannot tell"
        assert record.reason == "29 positives and 900 negatives, 30 of each needed to tell"
        assert record.value is not None
        assert assess(Y[:930], SCORES[:930]).verdict != "cannot tell"

    @pytest.mark.parametrize("label", [0, 1])
    def test_one_class_has_no_value(self, label: int) -> None:
        record = assess([label] * 50, [0.5] * 50)
        assert (record.verdict, record.value, record.lower) == ("cannot tell", None, None)
        assert record.observed_over_predicted == 2 * label
        assert record.calibration_error == 0.5

    def test_scores_that_promise_nothing_have_no_ratio(self) -> None:
        record = assess(Y, np.zeros(1000))
        assert record.observed_over_predicted is None
        assert (record.value, record.verdict) == (0.5, "drop")

    def test_no_rows_and_bad_scores_are_errors(self) -> None:
        with pytest.raises(MonitoringError, match="performance 2005-Q1: needs labelled"):
            assess([], [])
        with pytest.raises(MonitoringError, match=r"must lie in \[0, 1\]"):
            assess([0, 1], [0.5, math.nan])


class TestMaturity:
    ROWS = {"2004-Q4": 200, "2004-Q3": 100, "2005-Q1": 50, "2005-Q2": 0}  # noqa: RUF012
    KNOWN = {"2004-Q3": 99, "2004-Q4": 197}  # noqa: RUF012

    def test_coverage(self) -> None:
        assert coverage_by_partition(self.ROWS, self.KNOWN) == {
            "2004-Q3": 0.99,
            "2004-Q4": 0.985,
            "2005-Q1": 0.0,
            "2005-Q2": 0.0,
        }
        assert coverage_by_partition({}, {}) == {}

    def test_mature(self) -> None:
        assert mature_partitions(self.ROWS, self.KNOWN, 0.99) == ("2004-Q3",)
        assert mature_partitions(self.ROWS, self.KNOWN, 0.98) == ("2004-Q3", "2004-Q4")
        assert mature_partitions(self.ROWS, {}, 0.01) == ()

    @pytest.mark.parametrize("known", [{"2004-Q3": 101}, {"2004-Q3": -1}, {"2003-Q1": 1}])
    def test_impossible_counts_are_errors(self, known: dict[str, int]) -> None:
        with pytest.raises(MonitoringError, match="must know between 0 and"):
            mature_partitions(self.ROWS, known, 0.99)

    @pytest.mark.parametrize("coverage", [0.0, 1.1, math.nan])
    def test_impossible_coverage_is_an_error(self, coverage: float) -> None:
        with pytest.raises(MonitoringError, match="coverage: must lie in"):
            mature_partitions(self.ROWS, self.KNOWN, coverage)

    def test_newly_matured(self) -> None:
        assert newly_matured(["a", "b"], ["c", "b", "d"]) == ("c", "d")
        assert newly_matured([], []) == ()
