"""Quantile sketches of numeric columns: small, mergeable, and the same in every run.

A sketch is a t-digest, serialised and in base64, so that it can be kept as plain JSON.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
from datasketches import tdigest_double
from numpy.typing import NDArray

# The t-digest is the one quantile sketch of DataSketches that draws no random numbers. At this
# size its worst error was 2.5 % of rank over 2,000 to 3 million normal values, and it takes 6 kB.
_SKETCH_SIZE = 300
# Sketching every value would cost ten times the sort; so many order statistics lose nothing.
_SKETCHED_VALUES = 4096


def sketch_values(ordered: NDArray[np.float64]) -> str:
    """Sketch finite values, float64, shape (n_values,), ascending; there may be none.

    Takes evenly spaced order statistics, each standing for ``stride`` values. The sketch takes no
    weights: adding it to itself in powers of two gives every value its own.
    """
    stride = max(1, math.ceil(len(ordered) / _SKETCHED_VALUES))
    power = tdigest_double(_SKETCH_SIZE)
    power.update(np.ascontiguousarray(ordered[stride // 2 :: stride]))
    whole = tdigest_double(_SKETCH_SIZE)
    while True:
        copy = tdigest_double.deserialize(power.serialize())
        if stride & 1:
            whole.merge(copy)
        stride >>= 1
        if not stride:
            return _encoded(whole)
        power.merge(tdigest_double.deserialize(power.serialize()))


def merge_sketches(left: str, right: str) -> str:
    """Sketch the values of both sides together."""
    merged = _digest(left)
    merged.merge(_digest(right))
    return _encoded(merged)


def estimate_quantile(sketch: str, q: float) -> float:
    """Estimate the value at rank ``q`` in [0, 1] of at least one sketched value."""
    return float(_digest(sketch).get_quantile(q))


def _encoded(sketch: Any) -> str:
    return base64.b64encode(sketch.serialize()).decode("ascii")


def _digest(encoded: str) -> Any:
    return tdigest_double.deserialize(base64.b64decode(encoded))
