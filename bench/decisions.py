"""How often gate and watch decide wrongly on data whose truth is known; docs/what-counts.md.

    .venv/bin/python -m bench.decisions [calibration ...]

Seeds are fixed: the numbers of a part are the same wherever it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from include.evaluation.bootstrap import bootstrap_interval
from include.evaluation.calibration import calibration_error
from include.evaluation.evidence import gather_evidence
from include.evaluation.promotion_gate import decide_promotion
from include.monitoring.drift import detect_drift
from include.monitoring.performance import HeldOut, assess_performance
from include.monitoring.profiles import profile
from include.registry.model_files import Reference
from include.specification.problem import Problem
from include.specification.sections.monitoring import DriftMonitoring, PerformanceMonitoring
from include.specification.sections.promotion import Promotion
from include.training.reference_profile import make_reference
from include.training.training_sets import TrainingData

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


def slices() -> None:
    """What the guard of slices says of a challenger that is much better on one large slice.

    Beside it lie 59 slices of 10 rows, on which it is inverted, or as good as the champion.
    """
    policy = Promotion.model_validate({"require": {"roc_auc": 0.5}, "guard": {"slices": ["state"]}})
    names = pd.DataFrame({"state": ["CA"] * 3_000 + [f"S{i // 10:02}" for i in range(590)]})
    for inverted in (True, False):
        generator = np.random.default_rng(7)
        alone = together = 0
        repeats = 10
        for _ in range(repeats):
            cause, noise = generator.normal(size=(2, len(names)))
            labels = (generator.random(len(names)) < _sigmoid(2 * cause - 1)).astype(int)
            champion = _sigmoid(cause + 2 * noise)
            challenger = _sigmoid(cause + 0.2 * noise)
            small = np.arange(len(names)) >= 3_000
            worse = 1 - challenger if inverted else champion
            challenger = np.where(small, worse, challenger)
            evidence = gather_evidence(
                *(_BINARY, labels, challenger, champion, names),
                policy=policy,
                metric="roc_auc",
                seed=7,
            )
            together += decide_promotion(_BINARY, evidence, policy, "roc_auc").promoted
            judged = [item for item in evidence.slices if item.upper is not None]
            beats = evidence.comparison is not None and evidence.comparison.lower > 0
            alone += beats and all((item.upper or 0) >= -0.05 for item in judged if not item.pooled)
        told = "inverted" if inverted else "as good"
        print(
            f"59 small slices {told}: promoted {alone} of {repeats} by the large slice alone, "
            f"{together} of {repeats} with the small ones together"
        )


def predictions() -> None:
    """How often predictions drift on batches that are like the training data, and on shifted ones.

    References of one snapshot of 4,800 rows, a fifth held out, and of eight partitions of 600 rows,
    the latest two held out; five batches of 2,000 rows for each, the shifted ones by a third of a
    standard deviation of what tells most.
    """
    estimators = {
        "logistic regression": LogisticRegression(),
        "forest": RandomForestClassifier(200, random_state=7, n_jobs=1),
        "nearest neighbours": KNeighborsClassifier(50, weights="distance"),
    }
    rule = DriftMonitoring(share_of_features=1.0)
    months = np.repeat([f"2024-{month:02}" for month in range(1, 9)], 600).astype(object)
    snapshot = np.full(len(months), "snapshot-0001", dtype=object)
    for kind, partitions, holdout in (
        ("snapshot", snapshot, np.arange(len(months)) % 5 == 0),
        ("partitions", months, months >= "2024-07"),
    ):
        for name, estimator in estimators.items():
            generator = np.random.default_rng(7)
            features, labels = _draw(generator, len(partitions))
            fitted = estimator.fit(features[~holdout], labels[~holdout])
            scores = fitted.predict_proba(features)[:, 1]
            batches = [_draw(generator, 2_000, shift)[0] for shift in (0, 1 / 3) for _ in range(5)]
            told = []
            for telling in (np.ones_like(holdout), holdout):
                data = TrainingData(
                    *(_BINARY, features, labels, partitions, tuple(map(str, features)), ()),
                    holdout=telling,
                    ordered=kind == "partitions",
                )
                reference = make_reference(data, scores)
                drifted = [_drifted(reference, batch, fitted, rule) for batch in batches]
                told.append(f"{sum(drifted[:5])} and {sum(drifted[5:])} of 5")
            print(f"{kind}, {name}: like and shifted, all rows {told[0]}; held-out rows {told[1]}")


def _drifted(reference: Reference, batch: pd.DataFrame, fitted: Any, rule: DriftMonitoring) -> bool:
    current = profile(batch, reference.profile.binning, fitted.predict_proba(batch)[:, 1])
    verdict = detect_drift(reference.profile, current, reference.thresholds, rule)
    return bool(verdict.predictions and verdict.predictions.drifted)


def _draw(
    generator: np.random.Generator, rows: int, shift: float = 0.0
) -> tuple[pd.DataFrame, NDArray[np.int8]]:
    """Draw ten features, of which three tell the label, the first most; that one is shifted."""
    values = generator.normal(size=(rows, 10))
    values[:, 0] += shift
    chance = _sigmoid(values[:, :3] @ np.array([1.5, 1.0, 0.5]) - 1)
    labels = (generator.random(rows) < chance).astype(np.int8)
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(10)]), labels


def drops() -> None:
    """How often performance is said to have dropped on labelled rows, against a held-out AUC.

    Once without a drop, once from 0.82 to 0.73 with 0.05 allowed; a quarter of the rows is 1.
    """
    for held_out_rows, rows in ((150, 300), (300, 300), (1_000, 300), (150, 2_000)):
        for area in (0.82, 0.73):
            exact, two_samples = _share_of_drops(held_out_rows, rows, area)
            print(
                f"{held_out_rows} held-out rows, {area} on {rows}: a drop by the held-out value "
                f"taken for exact {exact:.1%}, by two samples {two_samples:.1%}"
            )


def _share_of_drops(held_out_rows: int, rows: int, area: float) -> tuple[float, float]:
    rule = PerformanceMonitoring(metric="roc_auc", max_drop=0.05)
    generator = np.random.default_rng(7)
    exact, two_samples = [], []
    for _ in range(200):
        promised = bootstrap_interval(
            *("roc_auc", _BINARY, *_ranked(generator, held_out_rows, 0.82)),
            confidence=0.95,
            seed=7,
        )
        record = assess_performance(
            *(_BINARY, *_ranked(generator, rows, area)),
            partition="2025-01",
            model_version=1,
            held_out=HeldOut(promised, held_out_rows),
            rule=rule,
            back_scored=False,
            seed=7,
        )
        exact.append((record.upper or 0) < promised.value - rule.max_drop)
        two_samples.append(record.verdict == "drop")
    return float(np.mean(exact)), float(np.mean(two_samples))


def _ranked(
    generator: np.random.Generator, rows: int, area: float
) -> tuple[NDArray[np.int8], _Scores]:
    """Draw labels, a quarter 1, and scores of so large an area under the curve."""
    labels = (np.arange(rows) % 4 == 0).astype(np.int8)
    shift = float(norm.ppf(area)) * 2**0.5
    return labels, _sigmoid(generator.normal(size=rows) + labels * shift)


def _given_one(cause: _Scores) -> _Scores:
    """Probability of 1 given one of two normal causes, the other averaged out."""
    points, weights = np.polynomial.hermite_e.hermegauss(30)
    probabilities: _Scores = _sigmoid(cause[:, np.newaxis] + points - 1) @ weights
    return probabilities / weights.sum()


def _sigmoid(values: _Scores) -> _Scores:
    return 1 / (1 + np.exp(-values))


PARTS: dict[str, Callable[[], None]] = {
    "calibration": calibration,
    "slices": slices,
    "predictions": predictions,
    "drops": drops,
}

if __name__ == "__main__":
    main()
