"""Whether a challenger takes the baton: a pure function of evidence and policy.

The gate fails closed. Evidence that is absent, incomplete, or not a number refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from include.evaluation.evidence import Evidence, SliceComparison
from include.evaluation.metric_values import describe_unseen, higher_is_better
from include.specification.metric_names import CALIBRATION_ERROR
from include.specification.problem import Problem
from include.specification.sections.promotion import Promotion
from include.wording import some

# Of the rows; a guard that could judge fewer guards nothing.
_COVERED = 0.8


@dataclass(frozen=True)
class Check:
    """One condition of the gate, and the numbers that decided it."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class PromotionDecision:
    """The gate's answer.

    Args:
        promoted: True only if there is at least one check and every one passed.
        checks: Every condition that was looked at, in a fixed order.
        reason: One sentence with numbers.
    """

    promoted: bool
    checks: tuple[Check, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        checks = tuple(Check(**item) for item in document["checks"])
        return cls(promoted=document["promoted"], checks=checks, reason=document["reason"])


def decide_promotion(
    problem: Problem, evidence: Evidence | None, policy: Promotion, metric: str
) -> PromotionDecision:
    """Decide whether the challenger becomes champion.

    The checks, in order:

    - *evidence*: there are enough held-out rows, judged by ``metric`` (binary: of both classes;
      multiclass: of two; regression: two rows);
    - *require <metric>*: the challenger reaches each required value (stays at or below it where
      lower is better);
    - *champion*: the lower bound of the paired bootstrap exceeds the margin. Without a champion
      the required values decide;
    - *slice <column>*: no slice is surely worse. A raw drop on a few hundred rows is noise, so a
      slice fails only if the upper bound of its paired difference lies below ``-max_drop``.
      Slices too small to judge are judged together; what could be judged must hold 80 % of the
      rows;
    - *calibration*: the expected calibration error exceeds the champion's by no more than the
      guard allows; not for regression.

    Args:
        problem: What the evidence is about.
        evidence: From :func:`~include.evaluation.evidence.gather_evidence`; None refuses.
        policy: The pipeline's promotion section.
        metric: Metric by which challenger and champion are compared.

    Raises:
        MonitoringError: If a required metric is unknown, so that its direction is.
    """
    if evidence is None:
        checks: tuple[Check, ...] = (Check("evidence", False, "there is no evidence"),)
    else:
        checks = tuple(_checks(problem, evidence, policy, metric))
    failed = [check.detail for check in checks if not check.passed]
    if failed:
        return PromotionDecision(False, checks, f"refused: {'; '.join(failed)}")
    told = [check.detail for check in checks if check.name == "champion" or "require" in check.name]
    return PromotionDecision(True, checks, f"promoted: {'; '.join(told)}")


def hold_back(decision: PromotionDecision, objection: str) -> PromotionDecision:
    """Refuse what a person holds back, whatever the gate says; that stays in the reason.

    Args:
        decision: The gate's answer.
        objection: Who holds the challenger back, and why; '' if nobody does.
    """
    if not objection:
        return decision
    return replace(
        decision,
        promoted=False,
        checks=(*decision.checks, Check("by hand", False, objection)),
        reason=held_back(objection, decision.reason),
    )


def held_back(objection: str, gate: str) -> str:
    """Say that a person holds a challenger back, and what the gate said of it."""
    return f"refused: {objection}; the gate: {gate}"


def _checks(
    problem: Problem, evidence: Evidence, policy: Promotion, metric: str
) -> Iterator[Check]:
    yield _check_evidence(problem, evidence, metric)
    for name, bound in policy.require.items():
        yield _check_required(problem, evidence, name, bound)
    yield _check_champion(evidence, policy, metric)
    for column in policy.guard.slices:
        yield _check_slices(evidence, column, policy.guard.max_drop)
    if problem.task != "regression":
        yield _check_calibration(evidence, policy.guard.calibration)


def _check_evidence(problem: Problem, evidence: Evidence, metric: str) -> Check:
    if evidence.metric != metric:
        detail = f"the evidence compares {evidence.metric}, the policy asks for {metric}"
    elif evidence.task != problem.task:
        detail = f"the evidence is about a {evidence.task} task, the pipeline about {problem.task}"
    elif not _has_enough(evidence):
        detail = f"held-out rows hold {_describe(evidence)}"
    else:
        detail = f"{evidence.rows} held-out rows"
        if evidence.task != "regression":
            detail += f", {_describe(evidence)}"
        return Check("evidence", True, detail)
    return Check("evidence", False, detail)


def _has_enough(evidence: Evidence) -> bool:
    match evidence.task:
        case "binary":
            return 0 < (evidence.positives or 0) < evidence.rows
        case "multiclass":
            return sum(item.rows > 0 for item in evidence.classes) > 1
        case "regression":
            return evidence.rows > 1


def _describe(evidence: Evidence) -> str:
    match evidence.task:
        case "binary":
            positives = evidence.positives or 0
            return f"{positives} positives and {evidence.rows - positives} negatives"
        case "multiclass":
            held = sum(item.rows > 0 for item in evidence.classes)
            unseen = describe_unseen(evidence.unseen)
            return f"{held} classes" + (
                f", of which the challenger does not know {unseen}" if unseen else ""
            )
        case "regression":
            return f"{evidence.rows} rows"


def _check_calibration(evidence: Evidence, allowed: float) -> Check:
    ours, theirs = evidence.calibration_error, evidence.champion_calibration_error
    if evidence.champion is None:
        return Check("calibration", True, "no champion yet: calibration error not compared")
    if ours is None or theirs is None or not math.isfinite(ours - theirs):
        detail = "the calibration error of challenger or champion is absent"
        return Check("calibration", False, detail)
    passed = ours <= theirs + allowed
    detail = f"calibration error {ours:.4f} against champion {theirs:.4f}, "
    detail += f"{'within' if passed else 'more than'} {allowed:g} above it"
    return Check("calibration", passed, detail)


def _check_required(problem: Problem, evidence: Evidence, name: str, bound: float) -> Check:
    if name == CALIBRATION_ERROR:
        higher, value = False, evidence.calibration_error
    else:
        higher, interval = higher_is_better(name, problem), evidence.challenger.get(name)
        value = None if interval is None else interval.value
    if value is None or not math.isfinite(value):
        return Check(f"require {name}", False, f"{name} of the challenger is absent")
    passed = value >= bound if higher else value <= bound
    sign = (">=" if passed else "<") if higher else ("<=" if passed else ">")
    return Check(f"require {name}", passed, f"{name} {value:.4f} {sign} {bound:.4f} required")


def _check_champion(evidence: Evidence, policy: Promotion, metric: str) -> Check:
    rule, paired = policy.beat_champion, evidence.comparison
    if evidence.champion is None and paired is None:
        return Check("champion", True, "no champion yet: the minimum decides")
    if paired is None or not math.isfinite(paired.lower):
        return Check("champion", False, "the comparison with the champion is absent")
    if paired.confidence < rule.confidence:
        return Check(
            "champion",
            False,
            f"the comparison has a confidence of {paired.confidence:g}, {rule.confidence:g} needed",
        )
    passed = paired.lower > rule.margin
    return Check(
        "champion",
        passed,
        f"{metric} {paired.challenger:.4f} against champion {paired.champion:.4f}, lower bound of "
        f"the difference {paired.lower:.4f} {'>' if passed else '<='} {rule.margin:g}",
    )


def _check_slices(evidence: Evidence, column: str, max_drop: float) -> Check:
    name = f"slice {column}"
    slices = [item for item in evidence.slices if item.column == column]
    if not slices:
        return Check(name, False, f"no slice of {column} was measured")
    if evidence.champion is None:
        return Check(name, True, f"no champion yet: {len(slices)} slices of {column} not compared")
    judged = [item for item in slices if item.upper is not None]
    unknown = [item.level for item in slices if item.upper is None and not item.pooled]
    pooled = max(item.pooled for item in slices)
    rows = sum(item.rows for item in slices if not item.pooled)
    covered = sum(item.rows for item in judged)
    # Written so that NaN counts as worse.
    worse = [item for item in judged if not _upper(item) >= -max_drop]
    if worse:
        listed = [f"{item.level} by at least {-_upper(item):.4f}" for item in worse]
        return Check(name, False, f"worse by more than {max_drop:g} on {column} {some(listed)}")
    if covered < _COVERED * rows:
        detail = f"{covered} of {rows} rows lie in slices of {column} that can be judged"
        return Check(name, False, f"{detail}, {_COVERED:.0%} needed")
    detail = f"none of {len(judged)} slices of {column} is worse by more than {max_drop:g}"
    if any(item.pooled for item in judged):
        detail += f", of which one is {pooled} small slices together"
    elif unknown:
        detail += f", cannot tell for {len(unknown)} with too few rows: {some(unknown)}"
    return Check(name, True, detail)


def _upper(item: SliceComparison) -> float:
    return math.nan if item.upper is None else item.upper
