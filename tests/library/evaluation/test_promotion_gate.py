"""Promotion: every check alone, and a gate that fails closed."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from include.errors import MonitoringError
from include.evaluation.bootstrap import Interval, PairedComparison
from include.evaluation.evidence import Evidence, SliceComparison
from include.evaluation.metric_values import ClassResult
from include.evaluation.promotion_gate import PromotionDecision, decide_promotion, hold_back
from include.specification.metric_names import Metric
from include.specification.problem import Problem
from include.specification.sections.promotion import Promotion

BINARY = Problem("binary")
POLICY = Promotion.model_validate(
    {
        "require": {"roc_auc": 0.6},
        "beat_champion": {"confidence": 0.95, "margin": 0.0},
        "guard": {"slices": ["State"], "max_drop": 0.05, "calibration": 0.1},
    }
)
COMPARISON = PairedComparison(0.87, 0.85, 0.02, 0.01, 0.03, 0.95, 1000)
CALIFORNIA = SliceComparison("State", "CA", 900, 90, 0.80, 0.86, -0.06, -0.01)
ALASKA = SliceComparison("State", "AK", 20, 1, None, None, None, None)
GOOD = Evidence(
    metric="roc_auc",
    partitions=("2004-Q3", "2004-Q4"),
    rows=1000,
    positives=100,
    challenger={"roc_auc": Interval(0.87, 0.85, 0.89)},
    champion={"roc_auc": 0.85},
    comparison=COMPARISON,
    slices=(ALASKA, CALIFORNIA),
    calibration_error=0.02,
    champion_calibration_error=0.03,
)
FIRST = dataclasses.replace(
    GOOD,
    champion=None,
    champion_calibration_error=None,
    comparison=None,
    slices=(dataclasses.replace(CALIFORNIA, champion=None, difference=None, upper=None),),
)


def decide(evidence: Evidence | None = GOOD, policy: Promotion = POLICY, **changes: Any):
    if evidence is not None:
        evidence = dataclasses.replace(evidence, **changes)
    return decide_promotion(BINARY, evidence, policy, "roc_auc")


def failed(decision: PromotionDecision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_good_challenger_is_promoted_with_numbers() -> None:
    decision = decide()
    assert decision.promoted
    assert decision.reason == (
        "promoted: roc_auc 0.8700 >= 0.6000 required; roc_auc 0.8700 against champion 0.8500, "
        "lower bound of the difference 0.0100 > 0"
    )
    assert [check.name for check in decision.checks] == [
        "evidence",
        "require roc_auc",
        "champion",
        "slice State",
        "calibration",
    ]
    document = json.loads(json.dumps(decision.to_dict()))
    assert PromotionDecision.from_dict(document) == decision


def test_no_champion_lets_the_minimum_decide() -> None:
    decision = decide(FIRST)
    assert decision.promoted
    assert decision.reason.endswith("no champion yet: the minimum decides")
    weak = decide(FIRST, challenger={"roc_auc": Interval(0.59, 0.5, 0.7)})
    assert weak.reason == "refused: roc_auc 0.5900 < 0.6000 required"


@pytest.mark.parametrize(
    ("changes", "name", "detail"),
    [
        ({"positives": 1}, "evidence", "1000 held-out rows, 1 positives and 999 negatives"),
        ({"positives": 999}, "evidence", "1000 held-out rows, 999 positives and 1 negatives"),
        (
            {"challenger": {"roc_auc": Interval(0.6, 0.5, 0.7)}},
            "require roc_auc",
            "roc_auc 0.6000 >= 0.6000 required",
        ),
        (
            {"calibration_error": 0.13},
            "calibration",
            "calibration error 0.1300 against champion 0.0300, within 0.1 above it",
        ),
        (
            {"comparison": dataclasses.replace(COMPARISON, lower=1e-9)},
            "champion",
            "roc_auc 0.8700 against champion 0.8500, lower bound of the difference 0.0000 > 0",
        ),
    ],
)
def test_what_just_suffices(changes: dict[str, Any], name: str, detail: str) -> None:
    decision = decide(**changes)
    assert decision.promoted
    assert [check.detail for check in decision.checks if check.name == name] == [detail]


class TestHeldBack:
    def test_whatever_the_gate_says_stays_on_record(self) -> None:
        accepted = decide()
        held = hold_back(accepted, "frozen by Ada")
        assert not held.promoted
        assert held.reason == f"refused: frozen by Ada; the gate: {accepted.reason}"
        assert held.checks[:-1] == accepted.checks
        assert (held.checks[-1].name, held.checks[-1].passed) == ("by hand", False)
        refused = hold_back(decide(None), "frozen by Ada")
        assert (refused.promoted, refused.reason) == (
            *(False, "refused: frozen by Ada; the gate: refused: there is no evidence"),
        )

    def test_nobody_holds_it_back(self) -> None:
        assert hold_back(decide(), "") == decide()


class TestRefusals:
    def test_no_evidence(self) -> None:
        decision = decide(None)
        assert (decision.promoted, decision.reason) == (False, "refused: there is no evidence")

    def test_champion_not_surely_beaten(self) -> None:
        close = dataclasses.replace(
            COMPARISON, challenger=0.8539, champion=0.8561, difference=-0.0022, lower=-0.0047
        )
        assert decide(comparison=close).reason == (
            "refused: roc_auc 0.8539 against champion 0.8561, "
            "lower bound of the difference -0.0047 <= 0"
        )

    def test_lower_bound_must_exceed_the_margin(self) -> None:
        policy = POLICY.model_copy(
            update={"beat_champion": POLICY.beat_champion.model_copy(update={"margin": 0.01})}
        )
        assert failed(decide(policy=policy)) == ["champion"]
        assert failed(decide(comparison=dataclasses.replace(COMPARISON, lower=0.0))) == ["champion"]

    def test_absent_comparison_with_a_champion(self) -> None:
        assert failed(decide(comparison=None)) == ["champion"]

    def test_comparison_at_too_low_a_confidence(self) -> None:
        weak = dataclasses.replace(COMPARISON, confidence=0.9)
        assert "confidence of 0.9, 0.95 needed" in decide(comparison=weak).reason
        assert failed(decide(comparison=weak)) == ["champion"]

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            ({"challenger": {}}, ["require roc_auc"]),
            ({"challenger": {"roc_auc": Interval(math.nan, 0, 1)}}, ["require roc_auc"]),
            ({"comparison": dataclasses.replace(COMPARISON, lower=math.nan)}, ["champion"]),
            ({"calibration_error": math.nan}, ["calibration"]),
            ({"calibration_error": None}, ["calibration"]),
            ({"calibration_error": 0.14}, ["calibration"]),
            ({"champion_calibration_error": None}, ["calibration"]),
            ({"champion_calibration_error": math.nan}, ["calibration"]),
            ({"positives": None}, ["evidence"]),
            ({"positives": 0}, ["evidence"]),
            ({"positives": 1000}, ["evidence"]),
            ({"rows": 0, "positives": 0}, ["evidence"]),
            ({"metric": "log_loss"}, ["evidence"]),
            ({"slices": ()}, ["slice State"]),
            ({"slices": (ALASKA,)}, ["slice State"]),
            (
                {"slices": (dataclasses.replace(CALIFORNIA, upper=math.nan),)},
                ["slice State"],
            ),
        ],
    )
    def test_what_is_absent_or_no_number_refuses(
        self, changes: dict[str, Any], names: list[str]
    ) -> None:
        decision = decide(**changes)
        assert not decision.promoted
        assert failed(decision) == names

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"positives": None}, "held-out rows hold 0 positives and 1000 negatives"),
            ({"positives": 1000}, "held-out rows hold 1000 positives and 0 negatives"),
            (
                {"calibration_error": 0.14},
                "calibration error 0.1400 against champion 0.0300, more than 0.1 above it",
            ),
            (
                {"challenger": {"roc_auc": Interval(0.5999, 0.5, 0.7)}},
                "roc_auc 0.5999 < 0.6000 required",
            ),
        ],
    )
    def test_the_numbers_are_told(self, changes: dict[str, Any], told: str) -> None:
        assert decide(**changes).reason == f"refused: {told}"

    def test_every_failure_is_told(self) -> None:
        decision = decide(positives=0, comparison=None, calibration_error=None)
        assert decision.reason == (
            "refused: held-out rows hold 0 positives and 1000 negatives; the comparison with the "
            "champion is absent; the calibration error of challenger or champion is absent"
        )


class TestCalibration:
    REQUIRED = Promotion.model_validate({"require": {"roc_auc": 0.6, "calibration_error": 0.1}})

    def test_a_better_model_need_not_be_calibrated_where_the_champion_is_not(self) -> None:
        found = decide(
            challenger={"roc_auc": Interval(0.70, 0.65, 0.75)},
            comparison=PairedComparison(0.70, 0.57, 0.13, 0.05, 0.2, 0.95, 1000),
            calibration_error=0.23,
            champion_calibration_error=0.27,
        )
        assert found.promoted
        assert found.checks[4].detail == (
            "calibration error 0.2300 against champion 0.2700, within 0.1 above it"
        )

    def test_without_a_champion_only_what_is_required_counts(self) -> None:
        assert decide(FIRST, calibration_error=0.4).promoted
        found = decide(FIRST, self.REQUIRED, calibration_error=0.11, slices=())
        assert found.reason == "refused: calibration_error 0.1100 > 0.1000 required"
        assert decide(FIRST, self.REQUIRED, calibration_error=0.1, slices=()).promoted

    @pytest.mark.parametrize("error", [None, math.nan])
    def test_what_is_required_and_absent_refuses(self, error: float | None) -> None:
        found = decide(FIRST, self.REQUIRED, calibration_error=error, slices=())
        assert found.reason == "refused: calibration_error of the challenger is absent"

    def test_what_is_required_counts_beside_a_champion_too(self) -> None:
        found = decide(GOOD, self.REQUIRED, calibration_error=0.23, champion_calibration_error=0.27)
        assert failed(found) == ["require calibration_error"]


class TestSlices:
    def test_raw_drop_that_may_be_noise_passes(self) -> None:
        check = decide().checks[3]
        assert check.passed
        assert check.detail == (
            "none of 1 slices of State is worse by more than 0.05, "
            "cannot tell for 1 with too few rows: AK"
        )

    def test_surely_worse_slice_refuses(self) -> None:
        worse = dataclasses.replace(CALIFORNIA, difference=-0.1, upper=-0.0501)
        assert decide(slices=(ALASKA, worse)).reason == (
            "refused: worse by more than 0.05 on State CA by at least 0.0501"
        )
        at_bound = dataclasses.replace(CALIFORNIA, difference=-0.1, upper=-0.05)
        assert decide(slices=(at_bound,)).promoted

    def test_long_lists_are_cut(self) -> None:
        many = tuple(dataclasses.replace(ALASKA, level=f"S{i}") for i in range(9))
        check = decide(slices=(*many, CALIFORNIA)).checks[3]
        assert check.detail.endswith("S0, S1, S2, S3, S4 and 4 more")

    def test_small_slices_count_together(self) -> None:
        small = tuple(dataclasses.replace(ALASKA, level=f"S{i}") for i in range(59))
        pool = dataclasses.replace(
            CALIFORNIA, level="(59 small slices together)", rows=59 * 20, upper=0.01, pooled=59
        )
        found = decide(slices=(*small, CALIFORNIA, pool))
        assert found.promoted
        assert found.checks[3].detail == (
            "none of 2 slices of State is worse by more than 0.05, of which one is 59 small "
            "slices together"
        )
        worse = dataclasses.replace(pool, upper=-0.3)
        assert decide(slices=(*small, CALIFORNIA, worse)).reason == (
            "refused: worse by more than 0.05 on State (59 small slices together) by at least "
            "0.3000"
        )
        unknown = dataclasses.replace(pool, challenger=None, difference=None, upper=None)
        assert decide(slices=(*small, CALIFORNIA, unknown)).reason == (
            "refused: 900 of 2080 rows lie in slices of State that can be judged, 80% needed"
        )

    @pytest.mark.parametrize(("unjudged", "promoted"), [(225, True), (226, False)])
    def test_four_of_five_rows_must_be_judged(self, unjudged: int, promoted: bool) -> None:
        slices = (dataclasses.replace(ALASKA, rows=unjudged), CALIFORNIA)
        assert decide(slices=slices).promoted == promoted


class TestLowerIsBetter:
    POLICY = Promotion.model_validate({"require": {"log_loss": 0.3}})

    def decide(self, value: float) -> PromotionDecision:
        evidence = dataclasses.replace(
            FIRST, metric="log_loss", challenger={"log_loss": Interval(value, value, value)}
        )
        return decide_promotion(BINARY, evidence, self.POLICY, "log_loss")

    def test_required_value_is_a_maximum(self) -> None:
        assert self.decide(0.3).promoted
        assert self.decide(0.31).reason == "refused: log_loss 0.3100 > 0.3000 required"


class TestRegression:
    PROBLEM = Problem("regression")
    POLICY = Promotion.model_validate(
        {"require": {"mean_absolute_error": 4, "r2": 0.5}, "guard": {"slices": ["zone"]}}
    )
    ZONE = SliceComparison("zone", "JFK", 300, None, 5.0, 5.2, 0.2, 0.4)
    GOOD = dataclasses.replace(
        GOOD,
        metric="mean_absolute_error",
        positives=None,
        challenger={
            "mean_absolute_error": Interval(3.1, 3.0, 3.2),
            "r2": Interval(0.8, 0.7, 0.9),
        },
        champion={"mean_absolute_error": 3.5, "r2": 0.7},
        comparison=PairedComparison(3.1, 3.5, 0.4, 0.3, 0.5, 0.95, 1000),
        slices=(ZONE,),
        calibration_error=None,
        task="regression",
    )

    def decide(self, **changes: Any) -> PromotionDecision:
        evidence = dataclasses.replace(self.GOOD, **changes)
        return decide_promotion(self.PROBLEM, evidence, self.POLICY, "mean_absolute_error")

    def test_errors_have_a_maximum_and_there_is_no_calibration(self) -> None:
        decision = self.decide()
        assert decision.reason == (
            "promoted: mean_absolute_error 3.1000 <= 4.0000 required; r2 0.8000 >= 0.5000 "
            "required; mean_absolute_error 3.1000 against champion 3.5000, lower bound of the "
            "difference 0.3000 > 0"
        )
        assert "calibration" not in [check.name for check in decision.checks]
        large = {**self.GOOD.challenger, "mean_absolute_error": Interval(4.1, 4.0, 4.2)}
        assert failed(self.decide(challenger=large)) == ["require mean_absolute_error"]

    def test_a_slice_with_a_larger_error_refuses(self) -> None:
        worse = dataclasses.replace(self.ZONE, challenger=6.0, difference=-0.8, upper=-0.6)
        assert failed(self.decide(slices=(worse,))) == ["slice zone"]

    def test_needs_two_rows_and_evidence_of_the_same_task(self) -> None:
        assert self.decide(rows=2).promoted
        assert "held-out rows hold 1 rows" in self.decide(rows=1).reason
        assert "evidence is about a binary task" in self.decide(task="binary").reason


class TestMulticlass:
    POLICY = Promotion.model_validate({"require": {"own": 0.5}})
    OWN = Metric("include.pipelines.x:cost", ("multiclass",), "classes", higher_is_better=False)
    PROBLEM = Problem("multiclass", ("a", "b"), {"own": OWN})

    def decide(self, *classes: ClassResult) -> PromotionDecision:
        evidence = dataclasses.replace(
            FIRST,
            metric="own",
            positives=None,
            challenger={"own": Interval(0.4, 0.3, 0.5)},
            slices=(),
            task="multiclass",
            classes=classes,
            unseen={"new": 3},
        )
        return decide_promotion(self.PROBLEM, evidence, self.POLICY, "own")

    def test_unknown_classes_are_told_and_stop_nothing(self) -> None:
        decision = self.decide(ClassResult("a", 9, 9, 1, 1), ClassResult("new", 3, 0, 0, None))
        assert decision.promoted
        assert decision.reason.startswith("promoted: own 0.4000 <= 0.5000 required")
        assert decision.checks[0].detail == (
            "1000 held-out rows, 2 classes, of which the challenger does not know new (3 rows)"
        )

    def test_one_class_is_not_enough(self) -> None:
        decision = self.decide(ClassResult("a", 9, 9, 1, 1), ClassResult("b", 0, 0, None, None))
        assert failed(decision) == ["evidence"]
        assert decision.checks[0].detail == (
            "held-out rows hold 1 classes, of which the challenger does not know new (3 rows)"
        )

    def test_a_class_of_one_row_is_one(self) -> None:
        decision = self.decide(
            ClassResult("a", 9, 9, 1, 1),
            ClassResult("b", 1, 1, 1, 1),
            ClassResult("c", 0, 0, None, None),
        )
        assert decision.checks[0].detail.startswith("1000 held-out rows, 2 classes, of which")


def test_unknown_metric_is_an_error() -> None:
    policy = POLICY.model_copy(update={"require": {"r2": 0.9}})
    with pytest.raises(MonitoringError, match="metric r2"):
        decide(policy=policy)
