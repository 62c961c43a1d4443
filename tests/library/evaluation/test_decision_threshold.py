"""The threshold is the best of all there are, by hand and against trying every one."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import MonitoringError
from include.evaluation import decision_threshold
from include.evaluation.decision_threshold import (
    MOST_ASKED,
    Decided,
    DecisionThreshold,
    choose_threshold,
    count_decided,
)
from include.evaluation.metric_values import measure
from include.specification.metric_names import Metric, names_for
from include.specification.problem import Problem
from include.specification.sections.decision import Costs, Decision

BINARY = Problem("binary")
# Ten rows; at 0.6 and more: 3 of 4 positives, 1 negative.
LABELS = np.array([0, 0, 0, 0, 1, 0, 0, 1, 1, 1], np.int8)
SCORES = np.array([0.05, 0.1, 0.1, 0.2, 0.3, 0.4, 0.6, 0.6, 0.8, 0.9])
EVERY_METRIC = names_for("binary", takes="classes")


def gain(labels: np.ndarray, decided: np.ndarray) -> float:
    """A metric of one's own: 3 for a hit, -1 for a false alarm."""
    return float(3 * (labels * decided).sum() - ((1 - labels) * decided).sum())


OWN = Problem("binary", own_metrics={"gain": Metric(f"{__name__}:gain", ("binary",), "classes")})


def rule(**section: Any) -> Decision:
    return Decision.model_validate(section)


def costs(false_negative: float, false_positive: float) -> Decision:
    return rule(costs={"false_negative": false_negative, "false_positive": false_positive})


@pytest.mark.parametrize(
    ("decision", "threshold", "value"),
    [
        # Costs by threshold: 0.9: 3 missed; 0.8: 2; 0.6: 1 and 1 alarm; 0.3: 0 and 2.
        (costs(1, 1), 0.8, 2 / 10),  # ties with 0.6 and 0.3; of equal ones the largest
        (costs(5, 1), 0.3, 2 / 10),
        (costs(1, 5), 0.8, 2 / 10),
        (costs(0, 1), math.nextafter(0.9, 1), 0.0),  # nobody is decided as 1
        (costs(1, 0), 0.3, 0.0),
        (costs(0.1, 0.3), 0.8, 0.02),
        # F1: 0.8: 4 / 6; 0.6: 6 / 8; 0.3: 8 / 10.
        (rule(maximize="f1"), 0.3, 0.8),
        (rule(maximize="accuracy"), 0.8, 0.8),
        (rule(maximize="precision"), 0.9, 1.0),
        (rule(maximize="recall"), 0.3, 1.0),
        (rule(maximize="balanced_accuracy"), 0.3, (1 + 4 / 6) / 2),
    ],
    ids=lambda item: item.told() if isinstance(item, Decision) else "",
)
def test_by_hand(decision: Decision, threshold: float, value: float) -> None:
    found = choose_threshold(decision, BINARY, LABELS, SCORES)
    assert found.threshold == threshold
    assert found.value == pytest.approx(value)
    assert (found.rows, found.positives) == (10, 4)
    assert found.section == decision


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (rule(threshold=0.123456789), "threshold: 0.123456789"),
        (costs(1234567, 0.1), "costs: {false_negative: 1234567, false_positive: 0.1}"),
    ],
)
def test_a_rule_is_told_with_all_its_digits(decision: Decision, told: str) -> None:
    assert decision.told() == told


def test_one_that_is_given_looks_at_no_rows() -> None:
    found = choose_threshold(rule(threshold=0.35), BINARY, [], [])
    assert found == DecisionThreshold(0.35, {"threshold": 0.35})
    assert found.describe() == "from 0.35 on (threshold: 0.35)"


def test_it_is_told_with_its_rule_and_what_it_reached() -> None:
    found = choose_threshold(costs(5, 1), BINARY, LABELS, SCORES)
    assert found.describe() == (
        "from 0.3 on (costs: {false_negative: 5, false_positive: 1}; mean cost 0.2000 on 10 "
        "validation rows)"
    )
    found = choose_threshold(rule(maximize="f1"), BINARY, LABELS, SCORES)
    assert found.describe() == "from 0.3 on (maximize: f1; f1 0.8000 on 10 validation rows)"
    assert DecisionThreshold.from_dict(asdict(found)) == found
    assert DecisionThreshold.from_dict(None) is None


@st.composite
def validated(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, and scores that may be equal, 0, 1 or next to each other."""
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=30))]
    coarse = st.sampled_from([0.0, 0.25, 0.5, math.nextafter(0.5, 1), 0.75, 1.0])
    values = st.one_of(coarse, st.floats(0, 1))
    scores = draw(st.lists(values, min_size=len(labels), max_size=len(labels)))
    return np.array(labels, np.int8), np.array(scores)


def every_threshold(scores: np.ndarray) -> list[float]:
    """Everything that decides differently: each score, between two, above all, and 0."""
    levels = sorted(set(scores))
    between = [(low + high) / 2 for low, high in itertools.pairwise(levels)]
    return [0.0, *levels, *between, 1.5]


def larger(found: DecisionThreshold, scores: np.ndarray) -> list[float]:
    """Thresholds above the chosen one that decide otherwise, and so must be worse."""
    return [*scores[scores > found.threshold], 1.5] if found.threshold <= scores.max() else []


class TestAgainstTryingEveryOne:
    @given(rows=validated(), name=st.sampled_from([*EVERY_METRIC, "gain"]))
    @settings(max_examples=120, deadline=None)
    def test_of_a_metric(self, rows: tuple[np.ndarray, np.ndarray], name: str) -> None:
        labels, scores = rows

        def worth(threshold: float) -> float:
            return measure(name, replace(OWN, threshold=threshold), labels, scores)

        found = choose_threshold(rule(maximize=name), OWN, labels, scores)
        tried = {threshold: worth(threshold) for threshold in every_threshold(scores)}
        assert worth(found.threshold) == pytest.approx(found.value, abs=1e-9)
        assert found.value == pytest.approx(max(tried.values()), abs=1e-9)
        assert all(worth(item) < max(tried.values()) for item in larger(found, scores))

    @given(rows=validated(), wrong=st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(any))
    @settings(max_examples=300, deadline=None)
    def test_of_costs(self, rows: tuple[np.ndarray, np.ndarray], wrong: tuple[int, int]) -> None:
        labels, scores = rows

        def total(threshold: float) -> int:
            yes = scores >= threshold
            missed = int(((labels == 1) & ~yes).sum())
            alarms = int(((labels == 0) & yes).sum())
            return wrong[0] * missed + wrong[1] * alarms

        found = choose_threshold(costs(*wrong), BINARY, labels, scores)
        tried = {threshold: total(threshold) for threshold in every_threshold(scores)}
        assert total(found.threshold) == min(tried.values())
        assert found.value == pytest.approx(min(tried.values()) / len(labels))
        assert all(total(item) > min(tried.values()) for item in larger(found, scores))

    @given(rows=validated(), seed=st.integers(0, 9))
    @settings(max_examples=50, deadline=None)
    def test_the_order_of_the_rows_does_not_matter(
        self, rows: tuple[np.ndarray, np.ndarray], seed: int
    ) -> None:
        labels, scores = rows
        order = np.random.default_rng(seed).permutation(len(labels))
        for decision in (costs(5, 1), rule(maximize="f1")):
            found = choose_threshold(decision, BINARY, labels, scores)
            assert choose_threshold(decision, BINARY, labels[order], scores[order]) == found


def test_every_metric_of_classes_is_exact() -> None:
    functions = {BINARY.metric(name).function for name in EVERY_METRIC}
    assert functions == set(decision_threshold._OF_COUNTS)


def test_a_metric_of_ones_own_is_asked_a_bounded_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(5000) % 2
    scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    asked: list[float] = []
    compute = decision_threshold.compute

    def counted(metric: Metric, problem: Problem, *rest: Any) -> float:
        asked.append(float(problem.threshold or 0))
        return compute(metric, problem, *rest)

    monkeypatch.setattr(decision_threshold, "compute", counted)
    found = choose_threshold(rule(maximize="gain"), OWN, labels, scores)
    assert len(asked) == len(set(asked)) == MOST_ASKED
    assert (min(asked), max(asked) > scores.max()) == (scores.min(), True)
    exact = max(gain(labels, scores >= item) for item in np.unique(scores))
    assert exact >= float(found.value or 0) > 0.99 * exact


def test_a_million_rows_take_no_time_to_speak_of() -> None:
    generator = np.random.default_rng(5)
    labels = (generator.random(1_000_000) < 0.1).astype(np.int8)
    scores = np.clip(generator.normal(0.3 + 0.2 * labels, 0.1), 0, 1)
    found = choose_threshold(costs(5, 1), BINARY, labels, scores)
    missed = int(((labels == 1) & (scores < found.threshold)).sum())
    alarms = int(((labels == 0) & (scores >= found.threshold)).sum())
    assert found.value == pytest.approx((5 * missed + alarms) / 1_000_000)


@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_one_class_choose_nothing(label: int) -> None:
    with pytest.raises(MonitoringError) as caught:
        choose_threshold(rule(maximize="f1"), BINARY, [label] * 3, [0.1, 0.2, 0.3])
    assert str(caught.value) == (
        f"decision maximize: f1: needs validation rows of both classes, got {3 * label} positives "
        f"and {3 - 3 * label} negatives. Lengthen training.window or check the labels."
    )


def test_scores_that_are_no_probabilities_choose_nothing() -> None:
    with pytest.raises(MonitoringError, match=r"scores: must lie in \[0, 1\], got nan"):
        choose_threshold(costs(1, 1), BINARY, [0, 1], [0.1, math.nan])


def test_what_comes_of_it_by_hand() -> None:
    wrong = Costs(false_negative=5, false_positive=1)
    assert count_decided(0.6, LABELS, SCORES, wrong) == Decided(0.6, 5, 1, 1, 3, 0.6)
    assert count_decided(0.6, LABELS, SCORES, None).mean_cost is None
    assert count_decided(0.95, LABELS, SCORES, wrong) == Decided(0.95, 6, 0, 4, 0, 2.0)


@pytest.mark.parametrize("unit", [5e-324, 1e-300, 1e-13, 1e-9, 1.0, 1e16, 1e307])
def test_the_unit_of_costs_does_not_matter(unit: float) -> None:
    labels, scores = np.array([0, 1, 0, 1, 1, 0]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])

    def chosen(missed: float, alarm: float) -> DecisionThreshold:
        costs = Costs(false_negative=missed, false_positive=alarm)
        return choose_threshold(Decision(costs=costs), Problem("binary"), labels, scores)

    usual, other = chosen(2, 1), chosen(2 * unit, unit)
    assert other.threshold == usual.threshold == 0.2
    assert usual.value == pytest.approx(2 / 6)
    assert other.value == pytest.approx(2 / 6 * unit, abs=5e-324)
    counted = count_decided(
        0.2, labels, scores, Costs(false_negative=2 * unit, false_positive=unit)
    )
    assert counted.mean_cost == pytest.approx(2 / 6 * unit, abs=5e-324)
