"""What decides a fit, as one digest: two fits with the same digest give the same model.

It takes the content of the training set, the rules of the search, the candidate, and the code that
fits: by its version where it is installed, by its source where it is the project's own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from include.specification.candidate_defaults import Preset
from include.specification.pipeline import Pipeline
from include.training.training_sets import TrainingData

# MLflow takes at most 36 characters for the digest of a data set.
_LENGTH = 32
_LIBRARIES = ("numpy", "optuna", "pandas", "scikit-learn", "imbalanced-learn")
_OWN_MODULES = (
    *("include.estimators", "include.training.candidates", "include.training.search"),
    # What the search scores with, and what becomes of the fitted model.
    *("include.evaluation.metric_values", "include.registry.model_files"),
    *("include.evaluation.decision_threshold", "include.evaluation.prediction_columns"),
    *("include.specification.candidate_defaults", "include.specification.problem"),
)


def digest_data(data: TrainingData) -> str:
    """Digest the content of a training set: rows, labels, partitions, and which rows only judge."""
    digest = hashlib.sha256(json.dumps(list(data.features.columns)).encode())
    for column in (data.features, pd.Series(data.labels), pd.Series(data.partitions, dtype=object)):
        digest.update(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
    digest.update(np.asarray(data.holdout, np.bool_).tobytes())
    return digest.hexdigest()[:_LENGTH]


def digest_fit(data: TrainingData, pipeline: Pipeline, name: str, preset: Preset) -> str:
    """Digest all that decides what fitting a candidate gives.

    Args:
        data: The training set.
        pipeline: The pipeline file.
        name: Name of the candidate in it.
        preset: The candidate, as :meth:`~include.specification.pipeline.Pipeline.candidate`
            completes it.
    """
    rules, decision = pipeline.training, pipeline.decision
    asked = {rules.metric, decision.maximize if decision else None}
    own = [metric for name, metric in pipeline.metrics.items() if name in asked]
    estimator = str(preset.estimator(pipeline.task))
    decides: dict[str, Any] = {
        "data": digest_data(data),
        "task": data.problem.task,
        "classes": data.problem.classes,
        "columns": (data.numeric, data.categorical),
        "ordered": data.ordered,
        "metric": (rules.metric, [metric.model_dump(mode="json") for metric in own]),
        "decision": decision and decision.model_dump(mode="json"),
        "rules": (rules.seed, rules.imbalance, rules.calibration),
        "candidate": (name, asdict(preset), rules.candidates[name].trials),
        "libraries": [_version(library) for library in _LIBRARIES],
        "code": [_source(module) for module in _OWN_MODULES],
        "estimator": [_version(library) for library in distributions(estimator)]
        or _source(estimator.rpartition(".")[0]),
        "own metrics": [_source(metric.function.partition(":")[0]) for metric in own],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def distributions(estimator: str) -> list[str]:
    """Name the distribution that an estimator's import path belongs to; none if it is our own."""
    package = estimator.partition(".")[0]
    if package == "sklearn":  # to look it up takes a second, because it reads every distribution
        return ["scikit-learn"]
    return importlib.metadata.packages_distributions().get(package, [])[:1]


def _version(library: str) -> tuple[str, str]:
    return library, importlib.metadata.version(library)


def _source(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None:
        return ""  # building the candidate says what is missing
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()
