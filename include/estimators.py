"""What scikit-learn leaves to be done around an estimator: nearly empty columns, rare classes.

A fitted model is loaded by Spark workers, so nothing here needs more than scikit-learn to predict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if

_NEIGHBORS = 5
_LEAST_VALUES = 10
_LEAST_SHARE = 0.001

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _inner_has(name: str) -> Callable[[_Method], _Method]:
    """Offer a method only if the estimator inside has it, fitted or not."""
    available: Callable[[_Method], _Method] = available_if(
        lambda outer: hasattr(getattr(outer, "estimator_", outer.estimator), name)
    )
    return available


class ScarceColumns(TransformerMixin, BaseEstimator):
    """Silence numeric columns that were (nearly) always missing in training: 0 in every row.

    scikit-learn 1.9 fails to fit a histogram booster when the rows that it bins, which may be a
    sample, hold no value of a column.
    """

    def fit(self, features: Any, labels: Any = None) -> ScarceColumns:
        """Find the columns of features, float64, shape (n_rows, n_columns), with too few values."""
        values = np.asarray(features, np.float64)
        present = (~np.isnan(values)).sum(axis=0)
        self.scarce_ = present < max(_LEAST_VALUES, _LEAST_SHARE * len(values))
        return self

    def transform(self, features: Any) -> NDArray[np.float64]:
        """Set those columns to 0 and keep the others, float64, shape (n_rows, n_columns)."""
        values = np.asarray(features, np.float64)
        return np.where(self.scarce_, 0.0, values) if self.scarce_.any() else values


class _Wrapped(ClassifierMixin, BaseEstimator):
    """Predicts with ``estimator_``, fitted by a subclass, whose columns follow ``classes_``."""

    estimator: Any
    estimator_: Any
    classes_: NDArray[Any]

    @_inner_has("predict_proba")
    def predict_proba(self, features: Any) -> NDArray[Any]:
        """Give the probability of each class, float, shape (n_rows, n_classes)."""
        return self.estimator_.predict_proba(features)  # type: ignore[no-any-return]

    @_inner_has("decision_function")
    def decision_function(self, features: Any) -> NDArray[Any]:
        """Give the confidence in each class, float, shape (n_rows,) or (n_rows, n_classes)."""
        return self.estimator_.decision_function(features)  # type: ignore[no-any-return]


class EncodedClassifier(_Wrapped):
    """Fit a classifier on class numbers, perhaps with weights that balance the classes.

    Args:
        estimator: Classifier; needs ``sample_weight`` in ``fit`` to balance.
        balance: Whether rows of rare classes weigh more, as ``class_weight="balanced"`` does.
    """

    def __init__(self, estimator: Any, *, balance: bool = False) -> None:
        self.estimator = estimator
        self.balance = balance

    def fit(self, features: Any, labels: NDArray[Any]) -> EncodedClassifier:
        """Fit on features, shape (n_rows, n_columns), and labels of any dtype, shape (n_rows,)."""
        self.classes_, codes = np.unique(labels, return_inverse=True)
        weights = (
            {"sample_weight": compute_sample_weight("balanced", codes)} if self.balance else {}
        )
        self.estimator_ = clone(self.estimator).fit(features, codes, **weights)
        return self

    def predict(self, features: Any) -> NDArray[Any]:
        """Name the class of each row, shape (n_rows,)."""
        return self.classes_[self.estimator_.predict(features)]  # type: ignore[no-any-return]


class OversampledClassifier(_Wrapped):
    """Fit a classifier on rows to which SMOTE added until every class is as frequent as the first.

    The sampler is made for fitting only and is no part of the model.

    Args:
        estimator: Classifier.
        categorical: Names of the columns that are not numbers.
        random_state: Seed of the sampler.
    """

    def __init__(self, estimator: Any, categorical: Sequence[str], random_state: int) -> None:
        self.estimator = estimator
        self.categorical = categorical
        self.random_state = random_state

    def fit(self, features: pd.DataFrame, labels: NDArray[Any]) -> OversampledClassifier:
        """Fit on complete rows, shape (n_rows, n_columns), and labels, shape (n_rows,)."""
        sampler = _smote(features, labels, list(self.categorical), self.random_state)
        if sampler is not None:
            features, labels = sampler.fit_resample(features, labels)
        self.estimator_ = clone(self.estimator).fit(features, labels)
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, features: Any) -> NDArray[Any]:
        """Name the class of each row, shape (n_rows,)."""
        return self.estimator_.predict(features)  # type: ignore[no-any-return]


class ClassFolds:
    """Stratified folds, fewer of them where the rarest class has too few rows.

    Args:
        folds: Number of folds, at least 2.
    """

    def __init__(self, folds: int) -> None:
        self.folds = folds

    def __repr__(self) -> str:
        """Render as the call that makes it, for the estimator's own rendering."""
        return f"ClassFolds({self.folds})"

    def split(
        self, features: Any, labels: NDArray[Any], groups: None = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the positions to fit on and those to predict, fold by fold."""
        yield from StratifiedKFold(self.get_n_splits(features, labels)).split(features, labels)

    def get_n_splits(self, features: Any, labels: NDArray[Any], groups: None = None) -> int:
        """Count the folds: at least 2, else no more than rows of the rarest class."""
        _, counts = np.unique(labels, return_counts=True)
        return max(2, min(self.folds, int(counts.min())))


def _smote(
    features: pd.DataFrame, labels: NDArray[Any], categorical: list[str], seed: int
) -> Any | None:
    """Make the sampler for the kinds of columns; None if no class can be added to."""
    from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

    classes, counts = np.unique(labels, return_counts=True)
    # SMOTE draws between neighbours of a class: one row alone has none.
    grown = {
        name: int(counts.max())
        for name, count in zip(classes, counts, strict=True)
        if 1 < count < counts.max()
    }
    if not grown:
        return None
    smallest = min(count for name, count in zip(classes, counts, strict=True) if name in grown)
    options = {
        "sampling_strategy": grown,
        "random_state": seed,
        "k_neighbors": int(min(_NEIGHBORS, smallest - 1)),
    }
    if not categorical:
        return SMOTE(**options)
    if len(categorical) == features.shape[1]:
        return SMOTEN(**options)
    # Named one by one: "auto" takes columns of strings for numbers.
    return SMOTENC(categorical, **options)
