"""What batches of a version are compared with: a profile of what it was trained and held out on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from include.evaluation import prediction_columns
from include.monitoring.binning import fit_binning
from include.monitoring.drift import calibrate
from include.monitoring.profiles import Profile, merge_all, profile
from include.registry.model_files import Reference
from include.specification.problem import Scores
from include.training.training_sets import TrainingData


def make_reference(data: TrainingData, scores: Scores) -> Reference:
    """Profile the training set with the model's scores, and the noise between its partitions.

    Of scores only those of held-out rows count: on rows that it was fitted on a model is surer than
    it will be on a batch. Where there is one partition only, the noise is that between two halves
    of it.

    Args:
        data: The training set, n_rows rows.
        scores: Of all its rows, as ``include.specification.problem`` says.
    """
    watched = prediction_columns.watched(data.problem, scores)
    held_out = data.features[data.holdout]
    of_scores = fit_binning(
        held_out, [], [], predictions=watched[data.holdout], classes=data.problem.classes
    )
    binning = replace(
        fit_binning(data.features, list(data.numeric), list(data.categorical)),
        predictions=of_scores.predictions,
        prediction_levels=of_scores.prediction_levels,
    )
    slices = data.partitions
    if len(set(slices)) == 1:
        slices = np.arange(len(slices)) % 2
    parts: list[Profile] = []
    for name in sorted(set(slices)):
        inside = slices == name
        telling = data.holdout[inside]
        parts.append(profile(data.features[inside], binning, watched[inside], telling))
    return Reference(profile=merge_all(parts), thresholds=calibrate(parts))
