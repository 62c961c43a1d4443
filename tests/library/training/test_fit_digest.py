"""What makes a fit another one: every input, rule and library, and nothing else."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.training import fit_digest
from include.training.fit_digest import digest_data, digest_fit, distributions
from include.training.training_sets import TrainingData

CANDIDATE = "logistic_regression"


@pytest.fixture
def data() -> TrainingData:
    return TrainingData(
        problem=Problem("binary"),
        features=pd.DataFrame({"x": [1.0, np.nan, 3.0], "c": ["a", None, "b"]}),
        labels=np.array([0, 1, 0], np.int8),
        partitions=np.array(["2004-Q3", "2004-Q4", "2005-Q1"], object),
        numeric=("x",),
        categorical=("c",),
        holdout=np.array([False, False, True]),
        ordered=True,
    )


@pytest.fixture
def digest(make_pipeline: Callable[..., Pipeline]) -> Callable[..., str]:
    def of(data: TrainingData, candidate: Any = None, **rules: Any) -> str:
        candidates = {CANDIDATE: candidate or {}, "random_forest": {}}
        pipeline = make_pipeline(training={"candidates": candidates, **rules})
        return digest_fit(data, pipeline, CANDIDATE, pipeline.candidate(CANDIDATE))

    return of


def test_the_same_is_the_same(data: TrainingData, digest: Any) -> None:
    same = replace(data, features=data.features.copy(), holdout=list(data.holdout))
    assert digest(data) == digest(same)
    assert digest(data) == digest(data, coverage=0.5)  # it decided what the data are
    assert len(digest(data)) == len(digest_data(data)) == 32


@pytest.mark.parametrize(
    "changed",
    [
        {"features": pd.DataFrame({"x": [1.0, np.nan, 3.5], "c": ["a", None, "b"]})},
        {"features": pd.DataFrame({"y": [1.0, np.nan, 3.0], "c": ["a", None, "b"]})},
        {"labels": np.array([1, 1, 0], np.int8)},
        {"partitions": np.array(["2004-Q3", "2004-Q3", "2005-Q1"], object)},
        {"holdout": np.array([False, True, True])},
    ],
    ids=["value", "name", "label", "partition", "held out"],
)
def test_other_data_are_another_fit(data: TrainingData, digest: Any, changed: Any) -> None:
    assert digest_data(replace(data, **changed)) != digest_data(data)
    assert digest(replace(data, **changed)) != digest(data)


@pytest.mark.parametrize(
    "changed",
    [
        {"numeric": (), "categorical": ("x", "c")},
        {"ordered": False},
        {"problem": Problem("multiclass", ("0", "1"))},
    ],
)
def test_so_is_another_problem(data: TrainingData, digest: Any, changed: Any) -> None:
    assert digest(replace(data, **changed)) != digest(data)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 8},
        {"metric": "log_loss"},
        {"calibration": "sigmoid"},
        {"imbalance": "class_weight"},
        {"candidate": {"trials": 1}},
        {"candidate": {"parameters": {"C": 0.5}}},
        {"candidate": {"search": {"C": [0.1, 1.0]}}},
        {"candidate": {"encoding": "ordinal"}},
        {"candidate": {"estimator": "sklearn.ensemble.ExtraTreesClassifier"}},
    ],
    ids=str,
)
def test_so_is_another_rule(data: TrainingData, digest: Any, changed: Any) -> None:
    assert digest(data, **changed) != digest(data)


def test_so_is_another_decision(
    data: TrainingData, make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(decision: Any) -> str:
        own = {"gain": {"function": "include.pipelines.loan_default:gain", "takes": "classes"}}
        pipeline = make_pipeline(metrics=own, **({"decision": decision} if decision else {}))
        return digest_fit(data, pipeline, CANDIDATE, pipeline.candidate(CANDIDATE))

    rules = [
        None,
        {"threshold": 0.35},
        {"threshold": 0.4},
        {"maximize": "f1"},
        {"maximize": "gain"},
        {"costs": {"false_negative": 5, "false_positive": 1}},
    ]
    found = [digest(decision) for decision in rules]
    assert len(set(found)) == len(rules)
    # The code of one's own metric decides only where it is asked.
    source = fit_digest._source
    own = "include.pipelines.loan_default"
    monkeypatch.setattr(fit_digest, "_source", lambda name: "x" if name == own else source(name))
    changed = [digest(decision) for decision in rules]
    assert [before != after for before, after in zip(found, changed, strict=True)] == [
        decision == {"maximize": "gain"} for decision in rules
    ]


def test_so_is_another_version_of_a_library(
    data: TrainingData, digest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(data)
    version = importlib.metadata.version
    monkeypatch.setattr(
        fit_digest.importlib.metadata,
        "version",
        lambda name: "99" if name == "scikit-learn" else version(name),
    )
    assert digest(data) != before


def test_code_of_the_project_counts_by_its_source(
    data: TrainingData, digest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"estimator": "include.estimators.EncodedClassifier"}
    assert distributions(own["estimator"]) == []
    assert distributions("sklearn.svm.SVC") == ["scikit-learn"]
    before = digest(data, own)
    monkeypatch.setattr(fit_digest, "_source", lambda module: f"another {module}")
    assert digest(data, own) != before


def test_a_module_that_is_not_there_is_told_by_the_fit(data: TrainingData, digest: Any) -> None:
    assert digest(data, {"estimator": "include.nowhere.at_all.Estimator"})
