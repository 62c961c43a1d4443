"""What batches of a version are compared with: a profile of the data that it was trained on."""

from __future__ import annotations

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

    Where there is one partition only, the noise is that between two halves of it.

    Args:
        data: The training set.
        scores: The model's, of all its rows.
    """
    watched = prediction_columns.watched(data.problem, scores)
    binning = fit_binning(
        data.features,
        list(data.numeric),
        list(data.categorical),
        predictions=watched,
        classes=data.problem.classes,
    )
    slices = data.partitions
    if len(set(slices)) == 1:
        slices = np.arange(len(slices)) % 2
    parts: list[Profile] = []
    for name in sorted(set(slices)):
        inside = slices == name
        parts.append(profile(data.features[inside], binning, watched[inside]))
    return Reference(profile=merge_all(parts), thresholds=calibrate(parts))
