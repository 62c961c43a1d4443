"""Performance: a drop only when it is sure, and maturity counted on rows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from include.errors import MonitoringError
from include.evaluation import bootstrap
from include.evaluation.bootstrap import Interval, bootstrap_interval
from include.evaluation.metric_values import measure
from include.monitoring.performance import (
    HeldOut,
    PerformanceRecord,
    assess_performance,
    coverage_by_partition,
    mature_partitions,
    partitions_to_judge,
)
from include.specification.problem import Problem
from include.specification.sections.monitoring import PerformanceMonitoring

BINARY = Problem("binary")
RULE = PerformanceMonitoring(metric="roc_auc", max_drop=0.05)
Y = np.repeat([0, 1], [900, 100])
SCORES = np.clip(np.random.default_rng(0).beta(2, 8, 1000) + 0.15 * Y, 0, 1)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resample less often: where the bounds lie is tested with the bootstrap."""
    monkeypatch.setattr(bootstrap, "_RESAMPLES", 100)


def promised(
    value: float, below: float = 0.0, above: float = 0.0, rows: int = 1_000, **changes: Any
) -> HeldOut:
    """What a version reached, with the distances of its 95 % interval."""
    return HeldOut(Interval(value, value - below, value + above, **changes), rows)


def assess(y: Any = Y, scores: Any = SCORES, **changes: Any) -> PerformanceRecord:
    return assess_performance(
        **{
            "problem": BINARY,
            "y": y,
            "scores": scores,
            "partition": "2005-Q1",
            "model_version": 3,
            "held_out": promised(0.8),
            "rule": RULE,
            "back_scored": False,
            "seed": 7,
            **changes,
        },
    )


class TestAssessPerformance:
    def test_record(self) -> None:
        record = assess()
        interval = bootstrap_interval("roc_auc", BINARY, Y, SCORES, confidence=0.9, seed=7)
        assert (record.rows, record.positives, record.model_version) == (1000, 100, 3)
        assert (record.value, record.lower, record.upper) == (
            measure("roc_auc", BINARY, Y, SCORES),
            interval.lower,
            interval.upper,
        )
        assert record.observed_over_predicted == pytest.approx(100 / SCORES.sum())
        assert record.verdict == "no drop"
        document = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        assert PerformanceRecord.from_dict(document) == record
        assert assess(back_scored=True).back_scored

    def test_a_drop_is_more_than_what_is_allowed(self) -> None:
        value = assess().value
        assert value is not None
        rule = PerformanceMonitoring(metric="roc_auc", max_drop=0.2)
        assert assess(rule=rule, held_out=promised(value + 0.2001)).verdict == "drop"
        assert assess(rule=rule, held_out=promised(value + 0.1999)).verdict == "no drop"

    @pytest.mark.parametrize(
        ("rows", "labelled", "normal"),
        [(1_000, 1_000, 1.6449), (999, 1_000, 2.3263), (1_000, 999, 2.3263)],
    )
    def test_a_drop_is_sure_on_both_sides(self, rows: int, labelled: int, normal: float) -> None:
        y, scores = Y[-labelled:], SCORES[-labelled:]
        rule = PerformanceMonitoring(metric="roc_auc", max_drop=0.0)
        record = assess(y, scores, rule=rule)
        assert record.value is not None
        assert record.upper is not None
        # Of 90 % and 95 % intervals, to the confidence that is asked for.
        ours = (record.upper - record.value) * normal / 1.6449
        for drop, verdict in ((0.0501, "drop"), (0.0499, "no drop")):
            theirs = math.sqrt(0.05**2 - ours**2) * 1.9600 / normal
            held_out = promised(record.value + drop, below=theirs, above=9.0, rows=rows)
            assert assess(y, scores, rule=rule, held_out=held_out).verdict == verdict

    def test_a_held_out_interval_of_another_confidence_counts_as_what_it_is(self) -> None:
        value = assess().value
        assert value is not None
        wide = promised(value + 0.1, below=0.11)
        assert assess(held_out=wide).verdict == "drop"
        narrow = promised(value + 0.1, below=0.11, confidence=0.8)
        assert assess(held_out=narrow).verdict == "no drop"

    def test_reason(self) -> None:
        record = assess(held_out=promised(0.99))
        assert record.value is not None
        assert record.upper is not None
        least = 0.99 - record.upper  # both of 95 %, one-sided
        assert record.verdict == "drop"
        assert record.reason == (
            f"roc_auc {record.value:.4f} against held-out 0.9900: worse by "
            f"{0.99 - record.value:.4f} (0.05 allowed), by at least {least:.4f} with 95% confidence"
        )
        better = assess(held_out=promised(record.value - 0.1, rows=10))
        assert "worse by -0.1000 (0.05 allowed), by at least -0." in better.reason
        assert better.reason.endswith("with 99% confidence")

    def test_mirrored_where_lower_is_better(self) -> None:
        rule = PerformanceMonitoring(metric="brier_score", max_drop=0.0)
        record = assess(rule=rule)
        value, lower = record.value, record.lower
        assert value is not None
        assert lower is not None
        assert assess(rule=rule, held_out=promised(lower - 0.0001, below=9.0)).verdict == "drop"
        assert assess(rule=rule, held_out=promised(lower + 0.0001)).verdict == "no drop"
        assert assess(rule=rule, held_out=promised(lower - 0.0001, above=0.1)).verdict == "no drop"

    def test_what_a_version_reached_is_read_from_its_evidence(self) -> None:
        intervals = {
            "roc_auc": {"value": 0.8, "lower": 0.7, "upper": 0.9, "resamples": 1000},
            "r2": {"value": 0.8, "lower": math.nan, "upper": 0.9},
        }
        evidence = {"challenger": intervals, "rows": 150}
        assert HeldOut.of(evidence, "roc_auc") == HeldOut(Interval(0.8, 0.7, 0.9), 150)
        assert HeldOut.of(evidence, "log_loss") is HeldOut.of(evidence, "r2") is None
        assert HeldOut.of(None, "roc_auc") is None

    def test_unknown_promise_cannot_tell(self) -> None:
        record = assess(held_out=None)
        assert (record.verdict, record.held_out) == ("cannot tell", None)
        assert record.reason == "the held-out roc_auc of version 3 is unknown"
        assert record.value is not None

    def test_few_of_a_class_cannot_tell_but_are_measured(self) -> None:
        record = assess(Y[:929], SCORES[:929])
        assert record.verdict == "cannot tell"
        assert record.reason == "29 positives and 900 negatives, 30 of each needed to tell"
        assert record.value is not None
        assert assess(Y[:930], SCORES[:930]).verdict != "cannot tell"
        assert assess(Y[:901], SCORES[:901]).value is not None

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


class TestMulticlass:
    PROBLEM = Problem("multiclass", ("DM", "DO"))
    RULE = PerformanceMonitoring(metric="accuracy", max_drop=0.05)
    SHARES = (0.8, 0.2)

    def assess(self, labels: list[str]) -> PerformanceRecord:
        shares = [self.SHARES] * len(labels)
        return assess(labels, shares, problem=self.PROBLEM, rule=self.RULE)

    def test_labels_that_the_version_does_not_know_are_told(self) -> None:
        record = self.assess(["DM"] * 80 + ["DO"] * 15 + ["SF"] * 4 + ["PX"])
        assert (record.value, record.positives, record.bias) == (0.8, None, None)
        assert record.unseen == {"SF": 4, "PX": 1}
        assert record.reason.endswith("; version 3 does not know SF (4 rows), PX (1 row)")
        assert record.calibration_error == pytest.approx(0.0)
        assert record.observed_over_predicted is None
        document = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        assert PerformanceRecord.from_dict(document) == record

    def test_known_labels_are_no_new_class(self) -> None:
        record = self.assess(["DM"] * 80 + ["DO"] * 20)
        assert (record.unseen, record.new_class, record.verdict) == ({}, "no new class", "no drop")

    @pytest.mark.parametrize(("right", "verdict"), [(75, "no drop"), (74, "drop")])
    def test_what_is_allowed_is_no_drop(self, right: int, verdict: str) -> None:
        # Everything is taken for DM, so that every resample says the same.
        rule = PerformanceMonitoring(metric="accuracy", max_drop=0.25)
        labels = ["DM"] * right + ["DO"] * (100 - right)
        record = assess(
            labels, [self.SHARES] * 100, problem=self.PROBLEM, rule=rule, held_out=promised(1.0)
        )
        assert (record.upper, record.verdict) == (right / 100, verdict)

    def test_one_class_or_few_rows_cannot_tell(self) -> None:
        needed = "30 rows of at least 2 classes needed to tell"
        assert self.assess(["DM"] * 40).reason == f"40 rows of 1 classes, {needed}"
        few = self.assess(["DM"] * 20 + ["SF"] * 9)
        assert few.reason == f"29 rows of 2 classes, {needed}; version 3 does not know SF (9 rows)"
        assert few.value is not None

    @pytest.mark.parametrize(("rows", "told"), [(9, "no new class"), (10, "new class")])
    def test_a_new_class_has_rows_to_learn_it_from(self, rows: int, told: str) -> None:
        record = self.assess(["DM"] * 80 + ["SF"] * rows + ["PX"] * 9)
        assert (record.unseen["SF"], record.new_class) == (rows, told)


class TestRegression:
    RULE = PerformanceMonitoring(metric="mean_absolute_error", max_drop=0.5)

    def assess(self, y: Any, values: Any, held_out: float) -> PerformanceRecord:
        problem = Problem("regression")
        return assess(y, values, problem=problem, rule=self.RULE, held_out=promised(held_out))

    def test_an_error_drops_upwards(self) -> None:
        y = np.arange(100.0)
        record = self.assess(y, y - 5, held_out=3.0)
        assert (record.value, record.verdict, record.bias) == (5.0, "drop", -5.0)
        assert "against held-out 3.0000: worse by 2.0000 (0.5 allowed)" in record.reason
        assert record.observed_over_predicted == pytest.approx(y.sum() / (y - 5).sum())
        assert (record.calibration_error, record.positives) == (None, None)
        assert self.assess(y, y - 5, held_out=4.5).verdict == "no drop"
        document = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        assert PerformanceRecord.from_dict(document) == record

    def test_few_rows_cannot_tell(self) -> None:
        record = self.assess([1.0], [2.0], held_out=3.0)
        assert (record.verdict, record.value) == ("cannot tell", None)
        assert record.reason == "1 rows, 30 needed to tell"
        assert self.assess(np.arange(29.0), np.arange(29.0), held_out=3.0).value == 0.0


def test_reads_what_was_written_when_everything_was_binary() -> None:
    record = assess()
    document = record.to_dict()
    del document["unseen"], document["bias"]
    assert PerformanceRecord.from_dict(document) == record


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
        assert coverage_by_partition({}, {"2003-Q1": 0}) == {}

    def test_mature(self) -> None:
        assert mature_partitions(self.ROWS, self.KNOWN, 0.99) == ("2004-Q3",)
        assert mature_partitions(self.ROWS, self.KNOWN, 0.98) == ("2004-Q3", "2004-Q4")
        assert mature_partitions(self.ROWS, {}, 0.01) == ()

    @pytest.mark.parametrize("known", [{"2004-Q3": 101}, {"2004-Q3": -1}, {"2003-Q1": 1}])
    def test_impossible_counts_are_errors(self, known: dict[str, int]) -> None:
        with pytest.raises(MonitoringError, match="must know between 0 and"):
            mature_partitions(self.ROWS, known, 0.99)

    @pytest.mark.parametrize(
        ("rows", "known", "told"),
        [
            ({"a": 3}, {"a": 4}, "partition a: must know between 0 and 3 labels, its rows, got 4."),
            ({}, {"b": 1}, "partition b: must know between 0 and 0 labels, its rows, got 1."),
            ({"c": -1}, {}, "partition c: must know between 0 and -1 labels, its rows, got 0."),
        ],
    )
    def test_impossible_counts_are_told(
        self, rows: dict[str, int], known: dict[str, int], told: str
    ) -> None:
        with pytest.raises(MonitoringError) as caught:
            coverage_by_partition(rows, known)
        assert str(caught.value).startswith(told)

    def test_full_coverage_can_be_reached(self) -> None:
        assert mature_partitions({"a": 3, "b": 3}, {"a": 3, "b": 2}, 1.0) == ("a",)

    @pytest.mark.parametrize("coverage", [0.0, 1.1, math.nan])
    def test_impossible_coverage_is_an_error(self, coverage: float) -> None:
        with pytest.raises(MonitoringError, match="coverage: must lie in"):
            mature_partitions(self.ROWS, self.KNOWN, coverage)


class TestPartitionsToJudge:
    def test_what_matured_while_the_partition_lasted(self) -> None:
        assert partitions_to_judge(["c", "b", "d", "a"], ["a", "b"], ["a"], ["b"]) == (
            ("c", "d"),
            (),
        )

    def test_what_should_have_been_judged_before(self) -> None:
        assert partitions_to_judge(["a", "b", "c", "d"], ["c", "a", "b"], ["a"], []) == (
            ("d",),
            ("b", "c"),
        )

    def test_history_and_what_earlier_partitions_judged_is_left_out(self) -> None:
        assert partitions_to_judge(["a", "b"], ["a"], ["a"], ["b"]) == ((), ())
        assert partitions_to_judge([], [], [], []) == ((), ())
