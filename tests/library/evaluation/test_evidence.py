"""Evidence: both models on the same rows, and what cannot be judged left open."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from include.errors import MonitoringError
from include.evaluation import bootstrap
from include.evaluation.bootstrap import paired_bootstrap
from include.evaluation.evidence import METRICS, Evidence, gather_evidence
from include.evaluation.metric_values import measure
from include.specification.metric_names import Metric
from include.specification.problem import Problem
from include.specification.sections.decision import Costs
from include.specification.sections.promotion import Promotion

MakeScores = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
BINARY = Problem("binary")
POLICY = Promotion.model_validate({"require": {"roc_auc": 0.6}, "guard": {"slices": ["state"]}})


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resample less often where the bounds are not what is tested."""
    monkeypatch.setattr(bootstrap, "_RESAMPLES", 50)


class TestGatherEvidence:
    @pytest.mark.usefixtures("few_resamples")
    def test_with_a_champion(self, make_scores: MakeScores) -> None:
        y, good, poor = make_scores(2000)
        slices = pd.DataFrame({"state": np.where(np.arange(2000) % 100 == 0, "AK", "CA")})
        evidence = gather_evidence(
            BINARY,
            y,
            good,
            poor,
            slices,
            policy=POLICY,
            metric="roc_auc",
            seed=7,
            partitions=["2004-Q4"],
        )
        assert (evidence.rows, evidence.positives) == (2000, 200)
        assert evidence.partitions == ("2004-Q4",)
        assert evidence.challenger["roc_auc"].value == measure("roc_auc", BINARY, y, good)
        assert evidence.champion == {
            name: measure(name, BINARY, y, poor) for name in METRICS["binary"]
        }
        assert evidence.comparison == paired_bootstrap(
            "roc_auc", BINARY, y, good, poor, confidence=0.95, seed=7
        )
        alaska, california = evidence.slices
        assert (alaska.level, alaska.rows, alaska.positives) == ("AK", 20, 2)
        assert alaska.challenger is alaska.champion is alaska.difference is alaska.upper is None
        assert california.difference is not None
        assert california.upper is not None
        assert california.upper > california.difference > 0
        document = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
        assert Evidence.from_dict(document) == evidence

    @pytest.mark.usefixtures("few_resamples")
    def test_slices_too_small_to_judge_are_judged_together(self, make_scores: MakeScores) -> None:
        y, good, poor = make_scores(2000)
        # Fifty slices of twenty rows: the model that is good elsewhere is inverted there.
        small = np.arange(2000) % 2 == 0
        names = ["CA" if i % 2 else f"S{i // 40:02}" for i in range(2000)]
        inverted = np.where(small, 1 - good, good)
        evidence = gather_evidence(
            BINARY,
            y,
            inverted,
            poor,
            pd.DataFrame({"state": names}),
            policy=POLICY,
            metric="roc_auc",
            seed=7,
        )
        california, *alone, together = evidence.slices
        assert {item.upper for item in alone} == {None}
        assert (len(alone), together.level) == (50, "(50 small slices together)")
        assert (together.rows, together.positives, together.pooled) == (
            *(1000, int(y[small].sum()), 50),
        )
        expected = paired_bootstrap(
            "roc_auc", BINARY, y[small], inverted[small], poor[small], confidence=0.95, seed=7
        )
        assert (together.difference, together.upper) == (expected.difference, expected.upper)
        assert expected.upper < -0.05
        assert (california.rows, california.pooled) == (1000, 0)

    @pytest.mark.usefixtures("few_resamples")
    def test_without_a_champion(self, make_scores: MakeScores) -> None:
        y, good, _ = make_scores(1000)
        slices = pd.DataFrame({"state": ["CA"] * 1000})
        evidence = gather_evidence(
            BINARY, y, good, None, slices, policy=POLICY, metric="log_loss", seed=7
        )
        assert evidence.champion is evidence.comparison is None
        assert set(evidence.challenger) == set(METRICS["binary"])
        (only,) = evidence.slices
        assert only.challenger == measure("log_loss", BINARY, y, good)
        assert only.champion is None
        assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))) == evidence

    @pytest.mark.parametrize("rows", [0, 5])
    def test_absent_rows_or_class_leave_no_metric(self, rows: int) -> None:
        slices = pd.DataFrame({"state": ["CA"] * rows})
        evidence = gather_evidence(
            BINARY,
            [0] * rows,
            [0.1] * rows,
            [0.2] * rows,
            slices,
            policy=POLICY,
            metric="roc_auc",
            seed=7,
        )
        assert (evidence.rows, evidence.positives) == (rows, 0)
        assert evidence.challenger == evidence.champion == {}
        assert evidence.comparison is None
        assert evidence.calibration_error == (pytest.approx(0.1) if rows else None)
        assert evidence.champion_calibration_error == (pytest.approx(0.2) if rows else None)

    @pytest.mark.usefixtures("few_resamples")
    def test_a_required_calibration_error_is_told_beside_the_metrics(self) -> None:
        require = {"roc_auc": 0.6, "calibration_error": 0.3}
        evidence = gather_evidence(
            BINARY,
            [1, 0] * 20,
            [0.9, 0.1] * 20,
            None,
            pd.DataFrame({"state": ["CA"] * 40}),
            policy=POLICY.model_copy(update={"require": require}),
            metric="roc_auc",
            seed=7,
        )
        assert set(evidence.challenger) == set(METRICS["binary"])
        assert evidence.calibration_error == pytest.approx(0.1)
        assert evidence.champion_calibration_error is None

    def test_evidence_of_before_champions_were_compared_by_it_is_read(self) -> None:
        document = dataclasses.asdict(
            gather_evidence(
                BINARY,
                [],
                [],
                None,
                pd.DataFrame({"state": []}),
                policy=POLICY,
                metric="roc_auc",
                seed=7,
            )
        )
        del document["champion_calibration_error"]
        assert Evidence.from_dict(document).champion_calibration_error is None

    @pytest.mark.usefixtures("few_resamples")
    def test_one_row_of_a_class_can_be_measured_but_no_slice_judged(self) -> None:
        evidence = gather_evidence(
            BINARY,
            [1] + [0] * 40,
            [0.9] + [0.1] * 40,
            [0.2] + [0.1] * 40,
            pd.DataFrame({"state": ["AK"] * 41}),
            policy=POLICY,
            metric="roc_auc",
            seed=7,
        )
        assert set(evidence.challenger) == set(evidence.champion or ()) == set(METRICS["binary"])
        assert evidence.comparison is not None
        assert (evidence.bias, evidence.absolute_error, evidence.classes) == (None, {}, ())
        (alaska,) = evidence.slices
        assert (alaska.rows, alaska.positives, alaska.challenger) == (41, 1, None)

    @pytest.mark.usefixtures("few_resamples")
    def test_each_model_decides_by_its_own_threshold(self, make_scores: MakeScores) -> None:
        y, good, poor = make_scores(1000)
        low, high = (dataclasses.replace(BINARY, threshold=at) for at in (0.3, 0.6))

        def gather(problem: Problem, champion_threshold: float | None) -> Evidence:
            return gather_evidence(
                problem,
                y,
                good,
                poor,
                pd.DataFrame({"state": ["CA"] * 1000}),
                policy=POLICY,
                metric="f1",
                seed=7,
                champion_threshold=champion_threshold,
                costs=Costs(false_negative=5, false_positive=1),
            )

        ours, theirs = f1_score(y, good >= 0.3), f1_score(y, poor >= 0.6)
        evidence = gather(low, 0.6)
        assert evidence.challenger["f1"].value == pytest.approx(ours)
        assert (evidence.champion or {})["f1"] == pytest.approx(theirs)
        assert (evidence.champion or {})["roc_auc"] == measure("roc_auc", BINARY, y, poor)
        assert evidence.comparison is not None
        (slice_,) = evidence.slices  # all rows, so the same numbers
        for found in (evidence.comparison, slice_):
            assert (found.challenger, found.champion) == pytest.approx((ours, theirs))
            assert found.difference == pytest.approx(ours - theirs)
        # Every resample, too: the other way round is the same difference with the other sign.
        swapped = paired_bootstrap(
            "f1", high, y, poor, good, confidence=0.95, seed=7, champion_problem=low
        )
        assert swapped.lower == pytest.approx(-evidence.comparison.upper)
        wrong = evidence.decided["challenger"]
        assert confusion_matrix(y, good >= 0.3).ravel().tolist() == [
            wrong.true_negatives,
            wrong.false_positives,
            wrong.false_negatives,
            wrong.true_positives,
        ]
        cost = (5 * wrong.false_negatives + wrong.false_positives) / 1000
        assert wrong.mean_cost == pytest.approx(cost)
        assert evidence.decided["champion"].threshold == 0.6
        document = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
        assert Evidence.from_dict(document) == evidence
        # A version of before decides by half, in metrics alone.
        assert list(gather(low, None).decided) == ["challenger"]
        assert (gather(low, None).champion or {})["f1"] == measure("f1", BINARY, y, poor)
        plain = gather(BINARY, None)
        assert plain.decided == {}
        del (document := plain.to_dict())["decided"]  # as an earlier release wrote it
        assert Evidence.from_dict(json.loads(json.dumps(document))) == plain

    def test_guarded_column_must_be_there(self) -> None:
        with pytest.raises(MonitoringError, match="slice state: must be a column"):
            gather_evidence(
                BINARY,
                [0, 0, 1, 1],
                [0.1, 0.4, 0.35, 0.8],
                None,
                pd.DataFrame(index=range(4)),
                policy=POLICY,
                metric="x",
                seed=7,
            )

    @pytest.mark.usefixtures("few_resamples")
    def test_what_is_asked_for_comes_on_top(self, make_scores: MakeScores) -> None:
        y, good, _ = make_scores(200)
        metric = Metric(f"{__name__}:rows_above_half", ("binary",), "classes")
        evidence = gather_evidence(
            Problem("binary", own_metrics={"own": metric}),
            y,
            good,
            None,
            pd.DataFrame(index=range(200)),
            policy=Promotion.model_validate({"require": {"cohen_kappa": 0.1}}),
            metric="roc_auc",
            seed=7,
            also=["recall"],
        )
        assert set(evidence.challenger) == {*METRICS["binary"], "cohen_kappa", "recall", "own"}


def rows_above_half(labels: np.ndarray, classes: np.ndarray) -> float:
    """An own metric."""
    return float(classes.sum())


class TestOtherTasks:
    @pytest.mark.usefixtures("few_resamples")
    def test_multiclass(self) -> None:
        problem = Problem("multiclass", ("DM", "DO", "PX"))
        y = np.array(["DM"] * 40 + ["DO"] * 30 + ["PX"] * 3 + ["SF"] * 2, dtype=object)
        hot = np.array([[label == name for name in problem.classes] for label in y])
        good, poor = (share * hot + (1 - share) / 3 for share in (0.9, 0.1))
        good, poor = (scores / scores.sum(axis=1, keepdims=True) for scores in (good, poor))
        poor[::2] = poor[::2][:, ::-1]
        slices = pd.DataFrame({"state": ["AK"] * 70 + ["CA"] * 5})
        evidence = gather_evidence(
            problem,
            y,
            good,
            poor,
            slices,
            policy=POLICY.model_copy(update={"require": {"accuracy": 0.5}}),
            metric="balanced_accuracy",
            seed=7,
            challenger_classes=["DM", "DO"],
        )
        assert (evidence.task, evidence.rows, evidence.positives) == ("multiclass", 75, None)
        assert set(evidence.challenger) == set(METRICS["multiclass"])
        assert evidence.challenger["accuracy"].value == 73 / 75
        assert [(item.name, item.rows, item.recall) for item in evidence.classes] == [
            ("DM", 40, 1.0),
            ("DO", 30, 1.0),
            ("PX", 3, 1.0),
            ("SF", 2, 0.0),
        ]
        # The champion knows PX; the challenger does not, whatever its column says.
        assert evidence.unseen == {"PX": 3, "SF": 2}
        assert evidence.comparison is not None
        assert evidence.comparison.lower > 0
        alaska, california = evidence.slices
        assert alaska.upper is not None
        assert california.challenger is None
        document = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
        assert Evidence.from_dict(document) == evidence

    @pytest.mark.usefixtures("few_resamples")
    def test_regression(self) -> None:
        problem = Problem("regression")
        y = np.arange(100.0)
        evidence = gather_evidence(
            problem,
            y,
            y + 1,
            y - 3,
            pd.DataFrame({"state": ["AK"] * 29 + ["CA"] * 71}),
            policy=POLICY.model_copy(update={"require": {"max_error": 2.0}}),
            metric="mean_absolute_error",
            seed=7,
        )
        assert (evidence.task, evidence.positives, evidence.calibration_error) == (
            "regression",
            None,
            None,
        )
        assert evidence.challenger["mean_absolute_error"].value == 1.0
        assert (evidence.bias, evidence.absolute_error) == (1.0, {"0.5": 1, "0.9": 1, "0.99": 1})
        assert evidence.comparison is not None
        assert evidence.comparison.difference == 2.0
        alaska, california = evidence.slices
        assert (alaska.difference, california.difference) == (None, 2.0)
        document = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
        assert Evidence.from_dict(document) == evidence

    @pytest.mark.parametrize(
        ("problem", "scores"),
        [
            (Problem("multiclass", ("a", "b")), np.empty((0, 2))),
            (Problem("regression"), np.empty(0)),
        ],
    )
    def test_absent_rows_leave_no_metric(self, problem: Problem, scores: np.ndarray) -> None:
        evidence = gather_evidence(
            problem,
            [],
            scores,
            scores,
            pd.DataFrame({"state": []}),
            policy=POLICY,
            metric="log_loss" if problem.classes else "r2",
            seed=7,
        )
        assert evidence.challenger == evidence.champion == {}
        assert (evidence.comparison, evidence.bias, evidence.unseen) == (None, None, {})


def test_reads_what_was_written_when_everything_was_binary(make_scores: MakeScores) -> None:
    y, good, _ = make_scores(100)
    evidence = gather_evidence(
        BINARY,
        y,
        good,
        None,
        pd.DataFrame({"state": ["CA"] * 100}),
        policy=POLICY,
        metric="roc_auc",
        seed=7,
    )
    document = evidence.to_dict()
    for name in ("task", "classes", "unseen", "bias", "absolute_error"):
        del document[name]
    for interval in document["challenger"].values():
        del interval["resamples"]
    assert Evidence.from_dict(document) == evidence
