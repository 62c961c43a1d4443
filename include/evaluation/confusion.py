"""Metrics of classes from a table of how often each class was predicted as each.

The same numbers as scikit-learn's functions of the rows, for the bootstrap, which asks for them a
thousand times; a test compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]


def _accuracy(table: Table) -> float:
    return float(np.trace(table) / table.sum())


def _balanced_accuracy(table: Table) -> float:
    truth = table.sum(axis=1)
    held = truth > 0
    return float((table.diagonal()[held] / truth[held]).mean())


def _kappa(table: Table) -> float:
    total = table.sum()
    chance = table.sum(axis=1) @ table.sum(axis=0) / total**2
    return float((np.trace(table) / total - chance) / (1 - chance))


def _matthews(table: Table) -> float:
    """Correlate truth and prediction (Gorodkin, Computational Biology and Chemistry 2004)."""
    truth, predicted, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    spread = (total**2 - truth @ truth) * (total**2 - predicted @ predicted)
    together = np.trace(table) * total - truth @ predicted
    return float(together / math.sqrt(spread)) if spread else 0.0


def _precision(table: Table) -> tuple[Any, Any]:
    return table.diagonal(), table.sum(axis=0)


def _recall(table: Table) -> tuple[Any, Any]:
    return table.diagonal(), table.sum(axis=1)


def _f1(table: Table) -> tuple[Any, Any]:
    return 2 * table.diagonal(), table.sum(axis=1) + table.sum(axis=0)


_WHOLE: dict[str, Callable[[Table], float]] = {
    "accuracy_score": _accuracy,
    "balanced_accuracy_score": _balanced_accuracy,
    "cohen_kappa_score": _kappa,
    "matthews_corrcoef": _matthews,
}
# Shares of each class, which are averaged: what stands above the line, and below.
_SHARES: dict[str, Callable[[Table], tuple[Any, Any]]] = {
    "f1_score": _f1,
    "precision_score": _precision,
    "recall_score": _recall,
}
# What a table tells; any other function of scikit-learn needs the rows.
FUNCTIONS = _WHOLE.keys() | _SHARES.keys()


def statistic(function: str, average: str) -> Callable[[Table], float]:
    """Name the function of a table, float64, shape (n_classes, n_classes), truth by prediction.

    Args:
        function: Function of ``sklearn.metrics``, one of ``FUNCTIONS``.
        average: ``binary`` (of the class 1), ``macro``, ``micro`` or ``weighted``; for those
            functions that know it.
    """
    return _WHOLE.get(function) or partial(_averaged, _SHARES[function], average)


def _averaged(shares: Callable[[Table], tuple[Any, Any]], average: str, table: Table) -> float:
    """Average precision, recall or F1 of the classes; 0 where a class has none."""
    truth, predicted = table.sum(axis=1), table.sum(axis=0)
    above, below = shares(table)
    values = np.divide(above, below, out=np.zeros(len(table)), where=below > 0)
    match average:
        case "binary":
            return float(values[1])
        case "micro":
            return _accuracy(table)
        case "weighted":
            return float(np.average(values, weights=truth))
        case _:
            return float(values[truth + predicted > 0].mean())
