"""The reference of a version: features of all rows, scores of those it was not fitted on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from include.monitoring.drift import FLOORS, PREDICTIONS, detect_drift
from include.monitoring.profiles import CategoricalProfile, profile
from include.registry.model_files import Reference
from include.specification.problem import Problem
from include.specification.sections.monitoring import DriftMonitoring
from include.training.reference_profile import make_reference
from include.training.training_sets import TrainingData

RULE = DriftMonitoring(share_of_features=1.0)


def draw(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = pd.DataFrame(generator.normal(size=(rows, 3)), columns=["a", "b", "c"])
    chance = 1 / (1 + np.exp(-features["a"]))
    return features, (generator.random(rows) < chance).to_numpy(np.int8)


def snapshot(rows: int = 2_000) -> TrainingData:
    features, labels = draw(rows, 1)
    return TrainingData(
        problem=Problem("binary"),
        features=features,
        labels=labels,
        partitions=np.full(rows, "snapshot-0001", dtype=object),
        numeric=("a", "b", "c"),
        categorical=(),
        holdout=np.arange(rows) % 4 == 0,
        ordered=False,
    )


def test_a_forest_does_not_drift_on_a_batch_like_its_training_data() -> None:
    data = snapshot()
    forest = RandomForestClassifier(50, random_state=7, n_jobs=1)
    forest.fit(data.features[~data.holdout], data.labels[~data.holdout])
    scores = forest.predict_proba(data.features)[:, 1]

    def told(reference: Reference) -> Any:
        batch, _ = draw(2_000, 2)
        current = profile(batch, reference.profile.binning, forest.predict_proba(batch)[:, 1])
        return detect_drift(reference.profile, current, reference.thresholds, RULE)

    assert told(make_reference(data, scores)).verdict == "no drift"
    of_all = dataclasses.replace(data, holdout=np.ones_like(data.holdout))
    assert told(make_reference(of_all, scores)).verdict == "drift"


def test_features_are_those_of_all_rows_and_scores_those_of_held_out_ones() -> None:
    data = snapshot(400)
    scores = np.where(data.holdout, np.linspace(0, 1, 400), 1.0)
    reference = make_reference(data, scores)
    assert reference.profile.rows == 400
    assert reference.profile.numeric["a"].rows == 400
    assert reference.profile.predictions is not None
    assert reference.profile.predictions.rows == 100
    assert sorted(reference.profile.binning.predictions or ())[-1] < 1.0


def test_thresholds_excuse_nothing_that_two_held_out_partitions_show() -> None:
    data = snapshot(4_000)
    partitions = np.repeat(["1", "2", "3", "4"], 1_000).astype(object)
    holdout = partitions >= "3"
    # On what it was fitted on it is sure, and the two held-out partitions differ.
    scores = np.select([partitions == "3", partitions == "4"], [0.4, 0.6], 1.0)
    data = dataclasses.replace(data, partitions=partitions, holdout=holdout, ordered=True)
    thresholds = make_reference(data, scores).thresholds
    assert thresholds.partitions == 4
    assert thresholds.columns[PREDICTIONS]["PSI"] == FLOORS["PSI"]


@pytest.mark.parametrize("held_out", [0, 10])
def test_predicted_classes_and_no_held_out_row_at_all(held_out: int) -> None:
    data = dataclasses.replace(
        snapshot(600), problem=Problem("multiclass", ("x", "y")), holdout=np.arange(600) < held_out
    )
    scores = np.column_stack([np.full(600, 0.7), np.full(600, 0.3)])
    reference = make_reference(data, scores)
    found = reference.profile.predictions
    assert isinstance(found, CategoricalProfile)
    assert (found.rows, found.counts[0]) == (held_out, held_out)
    batch = profile(data.features, reference.profile.binning, np.full(600, "x", dtype=object))
    verdict = detect_drift(reference.profile, batch, reference.thresholds, RULE)
    assert verdict.verdict == "no drift"
    assert (verdict.predictions is None) == (held_out == 0)
