"""How strongly one feature goes with the target.

Every function leaves rows without a value to its caller, and gives None where the data cannot
tell: too few rows, or only one value on a side.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, rankdata
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from include.specification.metric_names import Task

_FOLDS = 3
# So that every fold, and every fold of the encoder inside it, holds the class.
_MINIMUM_PER_CLASS = 10
_MINIMUM_ROWS = 30
_LEAF_SHARE = 0.04
_TARGET_TYPES = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}

Values = NDArray[np.float64]
Codes = NDArray[np.intp]


def spearman(left: Values, right: Values) -> float | None:
    """Correlate the ranks of two numeric columns, shape (n_rows,) each; in [-1, 1]."""
    if len(np.unique(left)) < 2 or len(np.unique(right)) < 2:
        return None
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def correlation_ratio(groups: Codes, values: Values) -> float | None:
    """Tell how much of the ranks of ``values`` lies between groups.

    The square root of epsilon squared (Kelley, 1935): unlike the plain correlation ratio, it stays
    near 0 for many groups that mean nothing.

    Args:
        groups: Group of each row, shape (n_rows,).
        values: Numbers, shape (n_rows,).

    Returns:
        In [0, 1].
    """
    rows, count = len(values), len(np.unique(groups))
    if count < 2 or rows <= count or len(np.unique(values)) < 2:
        return None
    ranks = pd.Series(rankdata(values))
    within = float(((ranks - ranks.groupby(groups).transform("mean")) ** 2).sum())
    total = float(((ranks - ranks.mean()) ** 2).sum())
    return math.sqrt(max(0.0, 1 - within / total * (rows - 1) / (rows - count)))


def cramers_v(left: Codes, right: Codes) -> float | None:
    """Tell how far two categorical columns depend on each other.

    Corrected for bias (Bergsma, 2013), so that many levels alone do not look like dependence.

    Args:
        left: Level of each row, shape (n_rows,).
        right: Level of each row, shape (n_rows,).

    Returns:
        In [0, 1].
    """
    table = pd.crosstab(left, right).to_numpy()
    rows, (r, k) = int(table.sum()), table.shape
    if min(r, k) < 2 or rows < 3:
        return None
    phi_squared = chi2_contingency(table, correction=False).statistic / rows
    phi_squared = max(0.0, phi_squared - (r - 1) * (k - 1) / (rows - 1))
    levels = min(size - (size - 1) ** 2 / (rows - 1) for size in (r, k))
    return min(1.0, math.sqrt(phi_squared / (levels - 1))) if levels > 1 else None


def alone(
    feature: pd.Series, target: NDArray[np.generic], task: Task, *, numeric: bool, seed: int
) -> float | None:
    """Measure how well a small decision tree on this feature alone predicts the target.

    Cross-validated. A missing value counts as a value of its own; rows of a class with fewer than
    ten are left out.

    Args:
        feature: Shape (n_rows,).
        target: Labels as :class:`~include.specification.problem.Problem` says, shape (n_rows,).
        task: Kind of target.
        numeric: Whether the feature is a number; else its levels are encoded by the target.
        seed: Seed of folds and tree.

    Returns:
        ROC AUC (binary), balanced accuracy (multiclass) or R squared (regression).
    """
    if task != "regression":
        members = pd.Series(target).groupby(target).transform("size").to_numpy()
        frequent = members >= _MINIMUM_PER_CLASS
        feature, target = feature[frequent], target[frequent]
    rows = len(target)
    if rows < _MINIMUM_ROWS or min(feature.nunique(dropna=False), len(np.unique(target))) < 2:
        return None
    limits = {"max_leaf_nodes": 32, "random_state": seed}
    folds = {"n_splits": _FOLDS, "shuffle": True, "random_state": seed}
    if task == "regression":
        tree = DecisionTreeRegressor(min_samples_leaf=max(5, rows // 200), **limits)
        split = KFold(**folds)
    else:
        # Balanced, so that a leaf may hold a rare class alone, but not a few of its rows.
        leaf = _LEAF_SHARE / len(np.unique(target))
        tree = DecisionTreeClassifier(
            class_weight="balanced", min_samples_leaf=5, min_weight_fraction_leaf=leaf, **limits
        )
        split = StratifiedKFold(**folds)
    # A tree needs the order only, but cannot take what is infinite or larger than 32 bits.
    # As floats, because pandas cuts the ranks of nullable whole numbers to whole ones.
    values = feature.astype("float64").rank().to_numpy() if numeric else codes(feature)
    estimator = tree
    if not numeric:
        estimator = make_pipeline(TargetEncoder(target_type=_TARGET_TYPES[task], cv=split), tree)
    method = "predict_proba" if task == "binary" else "predict"
    predicted = cross_val_predict(estimator, values.reshape(-1, 1), target, cv=split, method=method)
    match task:
        case "binary":
            return float(roc_auc_score(target, predicted[:, 1]))
        case "multiclass":
            return float(balanced_accuracy_score(target, predicted))
        case "regression":
            return float(r2_score(target, predicted))


def codes(column: pd.Series) -> Codes:
    """Number the levels of a column, missing as one of them, shape (n_rows,)."""
    return pd.factorize(column, use_na_sentinel=False)[0]
