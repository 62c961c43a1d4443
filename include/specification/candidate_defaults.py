"""The candidates that a pipeline file can name: estimator, encoding, defaults and search space.

Only facts stand here, so that reading a pipeline file needs no scikit-learn;
``include.training.candidates`` builds. A file can change every part of a preset, or name any other
estimator by its import path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from include.specification.metric_names import Task

Encoding = Literal["one_hot", "ordinal"]


@dataclass(frozen=True)
class Preset:
    """One kind of candidate.

    Args:
        classifier: Import path of the classifier; None if there is none.
        regressor: Import path of the regressor; None if there is none.
        encoding: ``one_hot`` imputes, scales and encodes; ``ordinal`` keeps missing values and
            numbers the categories.
        parameters: Arguments of the estimator.
        search: By argument: a list of choices, or ``low``, ``high`` and perhaps ``log``.
    """

    classifier: str | None
    regressor: str | None
    encoding: Encoding
    parameters: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Sequence[Any] | Mapping[str, Any]] = field(default_factory=dict)

    def estimator(self, task: Task) -> str | None:
        """Import path for a task; None if the preset cannot do it."""
        return self.regressor if task == "regression" else self.classifier


PRESETS: dict[str, Preset] = {
    "hist_gradient_boosting": Preset(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "ordinal",
        {
            "learning_rate": 0.1,
            "max_leaf_nodes": 15,
            "min_samples_leaf": 20,
            "l2_regularization": 1.0,
            "max_iter": 200,
            "early_stopping": True,
            "n_iter_no_change": 10,
            "validation_fraction": 0.15,
        },
        {
            "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
            "max_leaf_nodes": {"low": 7, "high": 31},
            "min_samples_leaf": {"low": 20, "high": 200, "log": True},
            "l2_regularization": {"low": 1e-3, "high": 10.0, "log": True},
        },
    ),
    "k_nearest_neighbors": Preset(
        "sklearn.neighbors.KNeighborsClassifier",
        "sklearn.neighbors.KNeighborsRegressor",
        "one_hot",
        {"n_neighbors": 50, "weights": "distance"},
        {"n_neighbors": {"low": 5, "high": 100, "log": True}, "weights": ["uniform", "distance"]},
    ),
    "logistic_regression": Preset(
        "sklearn.linear_model.LogisticRegression",
        None,
        "one_hot",
        {"C": 0.1, "max_iter": 1000},
        {"C": {"low": 1e-3, "high": 10.0, "log": True}},
    ),
    "multilayer_perceptron": Preset(
        "sklearn.neural_network.MLPClassifier",
        "sklearn.neural_network.MLPRegressor",
        "one_hot",
        {
            "hidden_layer_sizes": [64],
            "alpha": 0.1,
            "learning_rate_init": 0.01,
            "early_stopping": True,
            "max_iter": 200,
        },
        {
            "alpha": {"low": 1e-5, "high": 10.0, "log": True},
            "learning_rate_init": {"low": 3e-4, "high": 3e-2, "log": True},
        },
    ),
    "random_forest": Preset(
        "sklearn.ensemble.RandomForestClassifier",
        "sklearn.ensemble.RandomForestRegressor",
        "one_hot",
        {"n_estimators": 200, "min_samples_leaf": 5, "max_features": "sqrt"},
        {
            "min_samples_leaf": {"low": 1, "high": 50, "log": True},
            "max_features": ["sqrt", 0.3, 0.6, 1.0],
        },
    ),
    "ridge": Preset(
        None,
        "sklearn.linear_model.Ridge",
        "one_hot",
        {"alpha": 1.0},
        {"alpha": {"low": 1e-3, "high": 1e3, "log": True}},
    ),
    "support_vector_machine": Preset(
        "sklearn.svm.SVC",
        "sklearn.svm.SVR",
        "one_hot",
        {"C": 1.0, "gamma": "scale"},
        {
            "C": {"low": 1e-2, "high": 100.0, "log": True},
            "gamma": ["scale", 1e-3, 1e-2, 1e-1],
        },
    ),
    "xgboost": Preset(
        "xgboost.XGBClassifier",
        "xgboost.XGBRegressor",
        "ordinal",
        {
            "n_estimators": 200,
            "learning_rate": 0.05,
            "max_depth": 4,
            "min_child_weight": 1.0,
            "subsample": 0.8,
        },
        {
            "learning_rate": {"low": 0.01, "high": 0.2, "log": True},
            "max_depth": {"low": 2, "high": 8},
            "min_child_weight": {"low": 1.0, "high": 50.0, "log": True},
            "subsample": {"low": 0.5, "high": 1.0},
        },
    ),
}


def names_for(task: Task) -> tuple[str, ...]:
    """List the presets that can do a task, sorted."""
    return tuple(sorted(name for name, preset in PRESETS.items() if preset.estimator(task)))
