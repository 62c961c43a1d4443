"""How often gate and watch decide wrongly on data whose truth is known; docs/what-counts.md.

    .venv/bin/python -m bench.decisions [calibration ...]

Seeds are fixed: the numbers of a part are the same wherever it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from include.evaluation.calibration import calibration_error
from include.specification.problem import Problem

_BINARY = Problem("binary")
_Scores = NDArray[np.float64]


def main() -> None:
    """Run the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    for name in parser.parse_args().parts or PARTS:
        print(f"\n{name}")
        PARTS[name]()


def calibration() -> None:
    """How much worse than another a calibrated model's calibration error is, by chance alone.

    The label hangs on two causes; each model knows one of them, and its probabilities are exact.
    """
    repeats = 2_000
    limits = (0.03, 0.05, 0.10)
    for rows in (150, 300, 1_000):
        generator = np.random.default_rng(7)
        excess = []
        for _ in range(repeats):
            causes = generator.normal(size=(2, rows))
            labels = (generator.random(rows) < _sigmoid(causes.sum(axis=0) - 1)).astype(int)
            first, second = (
                calibration_error(_BINARY, labels, _given_one(cause)) for cause in causes
            )
            excess.append((first or 0) - (second or 0))
        shares = [f"{limit:.2f}: {np.mean(np.array(excess) > limit):.1%}" for limit in limits]
        print(f"{rows:>6} rows, exceeds by more than {', '.join(shares)}")


def _given_one(cause: _Scores) -> _Scores:
    """Probability of 1 given one of two normal causes, the other averaged out."""
    points, weights = np.polynomial.hermite_e.hermegauss(30)
    probabilities: _Scores = _sigmoid(cause[:, np.newaxis] + points - 1) @ weights
    return probabilities / weights.sum()


def _sigmoid(values: _Scores) -> _Scores:
    return 1 / (1 + np.exp(-values))


PARTS: dict[str, Callable[[], None]] = {"calibration": calibration}

if __name__ == "__main__":
    main()
