"""Reports: the page of evidence for each task as it lies on the store, and the head of drift."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.evaluation.decision_threshold import DecisionThreshold
from include.evaluation.evidence import gather_evidence
from include.evaluation.promotion_gate import decide_promotion
from include.monitoring.binning import Binning
from include.monitoring.drift import calibrate, detect_drift
from include.monitoring.profiles import Profile, profile
from include.registry.model_files import ModelVersion
from include.reports.evidence_figures import confusion_of_largest
from include.reports.evidence_page import publish_evidence
from include.specification.problem import Problem, Scores
from include.specification.sections.monitoring import DriftMonitoring
from include.specification.sections.promotion import Promotion
from include.steps.training import Evaluation
from include.storage.lineage import TableReference
from include.storage.object_store import ObjectStore
from include.templates import render
from include.training.training_sets import TrainingSet

METRIC = {
    "binary": "roc_auc",
    "multiclass": "balanced_accuracy",
    "regression": "mean_absolute_error",
}


def make_case(task: str) -> tuple[Problem, np.ndarray, Scores, Scores]:
    generator = np.random.default_rng(1)
    if task == "binary":
        y = (np.arange(300) < 60).astype(int)
        scores = [np.clip(generator.beta(2, 6, 300) + up * y, 0, 1) for up in (0.4, 0.1)]
        return Problem("binary"), y, scores[0], scores[1]
    if task == "regression":
        y = generator.gamma(2, 6, 300)
        return Problem("regression"), y, y + generator.normal(0, 1, 300), np.full(300, 12.0)
    y = generator.choice(["DM", "DO", "PX", "SF"], 300, p=[0.5, 0.3, 0.15, 0.05]).astype(object)
    problem = Problem("multiclass", ("DM", "DO", "PX"))
    hot = np.array([[label == name for name in problem.classes] for label in y], dtype=float)
    models = [up * hot + generator.random((300, 3)) for up in (2.0, 0.2)]
    ours, theirs = (model / model.sum(axis=1, keepdims=True) for model in models)
    return problem, y, ours, theirs


class TestEvidence:
    @pytest.fixture
    def publish(self, lake: Any, make_pipeline: Any) -> Any:
        """Judge a challenger of a task and return the page of the evidence."""

        def publish(
            task: str,
            rows: int = 300,
            *,
            first: bool = False,
            decision: DecisionThreshold | None = None,
        ) -> str:
            problem, labels, ours, theirs = make_case(task)
            if decision is not None:
                problem = replace(problem, threshold=decision.threshold)
            labels, ours, theirs = labels[:rows], ours[:rows], theirs[:rows]
            policy = Promotion.model_validate(
                {"require": {METRIC[task]: 0.5}, "guard": {"slices": ["state"]}}
            )
            evidence = gather_evidence(
                problem,
                labels,
                ours,
                None if first else theirs,
                pd.DataFrame({"state": ["<CA>"] * rows}),
                policy=policy,
                metric=METRIC[task],
                seed=7,
                partitions=["2004-Q4"],
                costs=None if decision is None else decision.section.costs,
            )
            verdict = decide_promotion(problem, evidence, policy, METRIC[task])
            classes = {"DM": 100, "XX": 2} if task == "multiclass" else {}
            training_set = TrainingSet(
                TableReference(lake.pipeline, "training_sets", 3, "2005-Q1", 900),
                ("2004-Q3",),
                ("2004-Q4",),
                (600, 300),
                classes,
            )
            version = ModelVersion(
                lake.pipeline,
                1,
                "2005-Q1",
                "run",
                "ridge",
                ("x",),
                ("state",),
                {},
                training_set.to_dict(),
                problem.task,
                problem.classes,
                decision=decision,
            )
            evaluation = Evaluation(
                verdict, evidence, problem, labels, ours, None if first else theirs
            )
            uri = publish_evidence(lake, make_pipeline(), version, evaluation)
            return ObjectStore(lake.settings).read(uri).decode()

        return publish

    def test_binary(self, publish: Any) -> None:
        page = publish("binary")
        assert "300 held-out rows (60 positives) of 2004-Q4" in page
        assert "state = &lt;CA&gt;" in page
        assert "<th>positives</th>" in page
        assert re.search(
            r"expected calibration error</td><td>0\.\d{4}</td><td></td><td>0\.\d{4}</td>", page
        )
        assert "ROC on held-out rows" in page
        assert "600 rows to train and 300 held out" in page
        assert "<h2>Classes</h2>" not in page

    def test_decisions_of_a_threshold(self, publish: Any) -> None:
        rule = {"costs": {"false_negative": 5, "false_positive": 1}}
        page = publish("binary", decision=DecisionThreshold(0.4, rule, 240, 50, 0.25))
        _, labels, scores, _ = make_case("binary")
        cells = np.bincount(2 * labels + (scores >= 0.4)).tolist()
        told = "".join(f"<td>{rows}</td>" for rows in cells)
        cost = (5 * cells[2] + cells[1]) / 300
        assert f"<td>challenger</td><td>0.4</td>{told}<td>{cost:.4f}</td>" in page
        assert "<td>champion</td><td>0" not in page  # it has no threshold
        how = (
            "from 0.4 on (costs: {false_negative: 5, false_positive: 1}; mean cost 0.2500 on 240 "
            "validation rows)"
        )
        assert f"The challenger decides a row as 1 {how}" in page
        assert f"<td>decides as 1</td><td>{how}</td>" in page
        assert "Challenger: rows by class and prediction" in page

    def test_without_a_threshold_nothing_is_decided(self, publish: Any) -> None:
        page = publish("binary")
        assert "<h2>Decisions</h2>" not in page
        assert "decides as 1" not in page
        assert "rows by class and prediction" not in page

    def test_multiclass(self, publish: Any) -> None:
        page = publish("multiclass")
        assert "positives" not in page.split("<h2>Model card</h2>")[0].split("Plotly")[0]
        assert "Classes that it does not know, and so predicts wrong: SF (" in page
        assert 'SF <span class="no">unknown to it</span>' in page
        assert "Challenger: rows by class and prediction" in page
        assert "Calibration of the likeliest class" in page
        assert "DM 100, XX 2 (too few, left out)" in page

    def test_regression(self, publish: Any) -> None:
        page = publish("regression")
        assert "mean error (predicted minus observed)" in page
        assert "absolute error of 90 % of the rows is at most" in page
        assert "Observed against predicted, by decile" in page
        assert "Challenger: predicted minus observed" in page
        assert "calibration error" not in page

    @pytest.mark.parametrize("task", METRIC)
    def test_the_first_challenger_has_no_champion(self, publish: Any, task: str) -> None:
        page = publish(task, first=True)
        assert "none yet" in page
        assert '"name":"champion"' not in page

    @pytest.mark.parametrize("task", METRIC)
    def test_too_few_labels_leave_no_figures(self, publish: Any, task: str) -> None:
        page = publish(task, rows=1)
        assert '<div class="figures"></div>' in page
        assert "refused: held-out rows hold" in page
        assert "too few rows to judge" in page


class TestConfusion:
    def test_by_hand(self) -> None:
        labels = np.array(["a", "a", "a", "b", "b", "c"], dtype=object)
        predicted = np.array(["a", "b", "z", "b", "b", "a"], dtype=object)
        names, table = confusion_of_largest(labels, predicted)
        assert names == ["a", "b", "c", "z"]
        assert table.tolist() == [[1, 1, 0, 1], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]

    def test_the_rest_shares_a_row(self) -> None:
        labels = np.array(["a", "a", "a", "b", "b", "c", "d"], dtype=object)
        names, table = confusion_of_largest(labels, labels, limit=3)
        assert names == ["a", "b", "(other)"]
        assert table.tolist() == [[3, 0, 0], [0, 2, 0], [0, 0, 2]]


def test_head_of_a_drift_report_shows_predicted_classes() -> None:
    def batch(rare: int) -> Profile:
        named = np.array(["DM"] * (600 - rare) + ["DO"] * rare, dtype=object)
        binning = Binning({"x": (1.0,)}, {}, prediction_levels=("DM", "DO"))
        return profile(pd.DataFrame({"x": np.ones(600)}), binning, named)

    reference = batch(60)
    verdict = detect_drift(reference, batch(300), calibrate([reference]), DriftMonitoring())
    page = render(
        "drift_banner",
        pipeline="rodents",
        partition="1995",
        verdict=verdict,
        version=1,
        sample_rows=5000,
        differing=[],
        left_out=[],
        hidden=0,
    )
    assert "<td>(predictions)</td>" in page
    assert "<th>Cramer&#39;s V</th>" in page
