"""Named scikit-learn builders and their search spaces.

A candidate takes the raw feature columns: imputation and encoding are part of the model, so that
training and scoring cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from include.errors import TrainingError
from include.specification import nearest

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Builder:
    """How to make and search one kind of candidate.

    Args:
        build: Makes an unfitted estimator from hyperparameters, numeric columns, categorical
            columns and a seed.
        search: Draws hyperparameters from an Optuna trial.
        defaults: Hyperparameters without a search.
    """

    build: Callable[[dict[str, Any], Sequence[str], Sequence[str], int], Pipeline]
    search: Callable[[optuna.Trial], dict[str, Any]]
    defaults: dict[str, Any]


def builder(name: str) -> Builder:
    """Look a builder up by its name in the pipeline file.

    Raises:
        TrainingError: If there is none.
    """
    if name not in BUILDERS:
        raise TrainingError(
            f"candidate {name!r}: must be a known builder{nearest(name, tuple(BUILDERS))}"
        )
    return BUILDERS[name]


def _logistic_regression(
    parameters: dict[str, Any], numeric: Sequence[str], categorical: Sequence[str], seed: int
) -> Pipeline:
    encode = ColumnTransformer(
        [
            (
                "numeric",
                make_pipeline(
                    SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
                ),
                list(numeric),
            ),
            (
                "categorical",
                OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=100),
                list(categorical),
            ),
        ]
    )
    model = LogisticRegression(C=parameters["C"], max_iter=1000, random_state=seed)
    return Pipeline([("encode", encode), ("model", model)])


def _hist_gradient_boosting(
    parameters: dict[str, Any], numeric: Sequence[str], categorical: Sequence[str], seed: int
) -> Pipeline:
    # At most 200 levels: the booster bins a category into one of 255; rare and new ones share one.
    encode = ColumnTransformer(
        [
            ("numeric", "passthrough", list(numeric)),
            (
                "categorical",
                OrdinalEncoder(
                    handle_unknown="use_encoded_value",
                    unknown_value=np.nan,
                    encoded_missing_value=np.nan,
                    max_categories=200,
                ),
                list(categorical),
            ),
        ]
    )
    first = len(numeric)
    model = HistGradientBoostingClassifier(
        learning_rate=parameters["learning_rate"],
        max_leaf_nodes=parameters["max_leaf_nodes"],
        min_samples_leaf=parameters["min_samples_leaf"],
        l2_regularization=parameters["l2_regularization"],
        max_iter=200,
        early_stopping=True,
        n_iter_no_change=10,
        validation_fraction=0.15,
        categorical_features=list(range(first, first + len(categorical))),
        random_state=seed,
    )
    return Pipeline([("encode", encode), ("model", model)])


BUILDERS = {
    "logistic_regression": Builder(
        build=_logistic_regression,
        search=lambda trial: {"C": trial.suggest_float("C", 1e-3, 10.0, log=True)},
        defaults={"C": 0.1},
    ),
    "hist_gradient_boosting": Builder(
        build=_hist_gradient_boosting,
        search=lambda trial: {
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 7, 31),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 20, 200, log=True),
            "l2_regularization": trial.suggest_float("l2_regularization", 1e-3, 10.0, log=True),
        },
        defaults={
            "learning_rate": 0.1,
            "max_leaf_nodes": 15,
            "min_samples_leaf": 50,
            "l2_regularization": 1.0,
        },
    ),
}
