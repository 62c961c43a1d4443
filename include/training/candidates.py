"""From a preset to an estimator that takes raw feature columns.

Imputation, encoding, balancing and calibration are part of the model, so that training and scoring
cannot differ.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from include.errors import TrainingError
from include.estimators import ClassFolds, EncodedClassifier, OversampledClassifier, ScarceColumns
from include.specification.candidate_defaults import Encoding, Preset
from include.specification.metric_names import Task
from include.specification.sections.training import Calibration
from include.wording import nearest

_CALIBRATION_FOLDS = 3
# A level in fewer rows shares a column with the other rare ones and with levels never seen.
_RARE_LEVEL = 0.001
# The boosters bin a category into one of 255; rare and new ones share one.
_MOST_LEVELS = 200
# Their losses and step sizes suppose a target of about unit variance.
_SCALED_TARGETS = ("sklearn.neural_network.", "sklearn.svm.")


def build(
    preset: Preset,
    task: Task,
    parameters: Mapping[str, Any],
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    imbalance: Literal["none", "class_weight", "smote"] = "none",
    calibration: Calibration = "none",
    seed: int,
) -> Any:
    """Make an unfitted estimator of a candidate; needs no data, so that a check can call it.

    A classifier that only decides, such as a support vector machine, gets its probabilities from a
    sigmoid calibration.

    Args:
        preset: The candidate, as :meth:`~include.specification.pipeline.Pipeline.candidate`
            completes it.
        task: Kind of target.
        parameters: Arguments of the estimator.
        numeric: Numeric feature columns.
        categorical: Categorical feature columns.
        imbalance: How rare classes are helped.
        calibration: How scores are calibrated.
        seed: Seed of everything random.

    Raises:
        TrainingError: If there is no such estimator, it does not take the parameters, or it cannot
            do what is asked.
    """
    path = preset.estimator(task) or ""
    if not numeric and not categorical:
        raise TrainingError(
            f"estimator {path}: needs at least one feature column, got none. Return features from "
            "the feature function."
        )
    model = _make(path, task, parameters, seed)
    encode = _encode(model, preset.encoding, numeric, categorical)
    if task == "regression":
        regressor = Pipeline([("encode", encode), ("model", model)])
        if path.startswith(_SCALED_TARGETS):
            return TransformedTargetRegressor(regressor=regressor, transformer=StandardScaler())
        return regressor
    if calibration == "none" and not hasattr(model, "predict_proba"):
        calibration = "sigmoid"
    balance = imbalance == "class_weight" and not _weigh_classes(path, model)
    # scikit-learn's own classifiers take labels that are strings; others want numbers from 0.
    if balance or (task == "multiclass" and not path.startswith("sklearn.")):
        model = EncodedClassifier(model, balance=balance)
    classifier = Pipeline([("encode", encode), ("model", model)])
    if imbalance == "smote":
        oversampled = OversampledClassifier(classifier, list(categorical), seed)
        classifier = Pipeline(
            [("complete", _complete(numeric, categorical)), ("model", oversampled)]
        )
    if calibration == "none":
        return classifier
    # One model, calibrated on its out-of-fold scores: an ensemble of the folds' models would be
    # several times as large and slow.
    return CalibratedClassifierCV(
        classifier, method=calibration, cv=ClassFolds(_CALIBRATION_FOLDS), ensemble=False
    )


def _make(path: str, task: Task, parameters: Mapping[str, Any], seed: int) -> Any:
    module_name, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise TrainingError(
            f"estimator {path}: must be importable, got {error}. Correct the path, or install its "
            "package."
        ) from error
    needed = ("fit", "predict", "get_params", "set_params", "__sklearn_tags__")
    if not isinstance(kind, type) or not all(hasattr(kind, method) for method in needed):
        raise TrainingError(
            f"estimator {path}: must be an estimator class as scikit-learn has them, got {kind!r}. "
            "Name a class that is derived from sklearn.base.BaseEstimator."
        )
    accepted = inspect.signature(kind).parameters
    if all(item.kind is not item.VAR_KEYWORD for item in accepted.values()):
        for argument in parameters:
            if argument not in accepted:
                raise TrainingError(
                    f"estimator {path}: must take its parameters, got {argument!r}"
                    f"{nearest(argument, tuple(accepted))}"
                )
    try:
        model = kind(**parameters)
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"estimator {path}: must take its parameters, got {error}. Correct them."
        ) from error
    is_right = is_regressor if task == "regression" else is_classifier
    if not is_right(model):
        wanted = "regressor" if task == "regression" else "classifier"
        raise TrainingError(
            f"estimator {path}: must be a {wanted} for task {task}, got {name}. Name a {wanted}."
        )
    scores = ("predict_proba", "decision_function")
    if task != "regression" and not any(hasattr(model, method) for method in scores):
        raise TrainingError(
            f"estimator {path}: must have predict_proba or decision_function, got neither. Name a "
            "classifier that can tell how sure it is."
        )
    # None means one job to scikit-learn, but every core to others; the workers share the cores.
    fixed = (
        {"random_state": seed}
        if path.startswith("sklearn.")
        else {
            "random_state": seed,
            "n_jobs": 1,
        }
    )
    known = model.get_params()
    return model.set_params(
        **{key: value for key, value in fixed.items() if key in known and key not in parameters}
    )


def _encode(
    model: Any, encoding: Encoding, numeric: Sequence[str], categorical: Sequence[str]
) -> ColumnTransformer:
    tags = get_tags(model).input_tags
    if encoding == "one_hot":
        numbers = make_pipeline(
            SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
            StandardScaler(),
        )
        levels = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=_RARE_LEVEL)
    else:
        missing = np.nan if tags.allow_nan else -1
        numbers = (
            ScarceColumns()
            if tags.allow_nan
            else SimpleImputer(strategy="median", keep_empty_features=True)
        )
        levels = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=missing,
            encoded_missing_value=missing,
            max_categories=_MOST_LEVELS,
        )
        if "categorical_features" in model.get_params():
            first = len(numeric)
            model.set_params(categorical_features=list(range(first, first + len(categorical))))
    return ColumnTransformer(
        _present(numeric, categorical, numbers, levels),
        sparse_threshold=0.3 if tags.sparse else 0,
    )


def _complete(numeric: Sequence[str], categorical: Sequence[str]) -> ColumnTransformer:
    """Fill in what is missing and bring numbers to one scale: SMOTE looks for near rows."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    levels = SimpleImputer(
        missing_values=None, strategy="constant", fill_value="(missing)", keep_empty_features=True
    )
    # The names of the columns are what the next step picks them by.
    return ColumnTransformer(
        _present(numeric, categorical, numbers, levels), verbose_feature_names_out=False
    ).set_output(transform="pandas")


def _present(
    numeric: Sequence[str], categorical: Sequence[str], numbers: Any, levels: Any
) -> list[tuple[str, Any, list[str]]]:
    """List the transformers of those kinds of columns that there are, numeric ones first."""
    kinds = [
        ("numeric", numbers, list(numeric)),
        ("categorical", levels, list(categorical)),
    ]
    return [kind for kind in kinds if kind[2]]


def _weigh_classes(path: str, model: Any) -> bool:
    """Let an estimator weigh classes itself; False if the rows' weights have to."""
    if "class_weight" in model.get_params():
        model.set_params(class_weight="balanced")
        return True
    if not has_fit_parameter(model, "sample_weight"):
        raise TrainingError(
            f"estimator {path}: must take class_weight or sample_weight to weigh classes, got "
            "neither. Use imbalance: smote, or leave the candidate out."
        )
    return False
