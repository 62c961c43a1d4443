"""Drift of a batch against a reference, from their profiles alone.

A feature drifts when at least two of its tests, and at least half of them, exceed their
thresholds, or when its missing or unseen share jumps. Thresholds never lie below what the
reference's own partitions show against each other, nor below what chance alone gives two samples
of these sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from include.errors import MonitoringError
from include.monitoring.divergence import (
    CATEGORICAL_STATISTICS,
    NUMERIC_STATISTICS,
    compare_levels,
    compare_numbers,
    sampling_noise,
)
from include.monitoring.profiles import CategoricalProfile, NumericProfile, Profile, merge_all
from include.specification.own_columns import PREDICTIONS
from include.specification.sections.monitoring import DriftMonitoring

_MISSING = "missing share"
_UNSEEN = "unseen share"
_MINIMUM_PARTITIONS = 3
_SHOWN = 3  # columns of a reason

# What counts as a shift when the reference has nothing to say about its own noise.
FLOORS: Mapping[str, float] = {
    "PSI": 0.1,  # "some change" (Siddiqi, Credit Risk Scorecards, 2006)
    "Jensen-Shannon": 0.1,  # Evidently's default; the square root of the divergence, base 2
    "Kolmogorov-Smirnov": 0.1,  # a tenth of the rows moved; the p-value fires on any large batch
    "Wasserstein": 0.1,  # a tenth of a standard deviation, Evidently's default
    "Cramer's V": 0.1,  # a small effect (Cohen, Statistical Power Analysis, 1988)
    "entropy difference": 0.1,  # nats; no convention exists, a tenth like its neighbours
    _MISSING: 0.1,
    _UNSEEN: 0.1,
}


@dataclass(frozen=True)
class Thresholds:
    """Largest harmless value of every test, by column; predictions are ``(predictions)``.

    Args:
        columns: Threshold by test by column.
        partitions: Number of reference partitions large enough to show noise; below 3 none did.
    """

    columns: Mapping[str, Mapping[str, float]]
    partitions: int

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**document)


@dataclass(frozen=True)
class ColumnDrift:
    """The tests of one column.

    Args:
        column: Its name.
        statistics: Value by test. A test that has nothing to compare (no finite value on one
            side) is absent; the missing share then speaks.
        thresholds: Threshold by the same tests, sampling noise of these sizes included.
        exceeded: Tests above their threshold, furthest first.
        drifted: The column's verdict.
        severity: Largest statistic over its threshold.
    """

    column: str
    statistics: Mapping[str, float]
    thresholds: Mapping[str, float]
    exceeded: tuple[str, ...]
    drifted: bool
    severity: float

    def describe(self) -> str:
        """Say which test is furthest over its threshold, e.g. ``LowDoc PSI 0.41 > 0.25``."""
        test = max(self.statistics, key=lambda name: self.statistics[name] / self.thresholds[name])
        value, threshold = self.statistics[test], self.thresholds[test]
        sign = ">" if value > threshold else "<="
        return f"{self.column} {test} {value:.2f} {sign} {threshold:.2f}"

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`DriftVerdict.to_dict` wrote of one column."""
        return cls(**{**document, "exceeded": tuple(document["exceeded"])})


@dataclass(frozen=True)
class DriftVerdict:
    """What can be said of a batch.

    Args:
        verdict: ``cannot tell`` is for samples that are too small; it is not ``no drift``.
        reason: One sentence for people.
        drifted: Names of the drifted features, worst first.
        share: Drifted features over all features, in [0, 1].
        features: Tests of every feature, worst first; empty when it cannot be told.
        predictions: Tests of the predictions; None when they were not asked about or it cannot
            be told.
        reference_rows: Rows of the reference.
        current_rows: Rows of the batch.
    """

    verdict: Literal["drift", "no drift", "cannot tell"]
    reason: str
    drifted: tuple[str, ...]
    share: float
    features: tuple[ColumnDrift, ...]
    predictions: ColumnDrift | None
    reference_rows: int
    current_rows: int

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        fields = dict(document)
        predictions = fields["predictions"]
        fields["drifted"] = tuple(fields["drifted"])
        fields["features"] = tuple(ColumnDrift.from_dict(item) for item in fields["features"])
        fields["predictions"] = predictions and ColumnDrift.from_dict(predictions)
        return cls(**fields)


def calibrate(partition_profiles: Sequence[Profile], *, minimum_rows: int = 500) -> Thresholds:
    """Learn from the reference's own partitions which values of the tests are harmless.

    The threshold of a test is the largest value that any partition shows against the merge of the
    others, or the conventional floor if that is larger. The thresholds of a share are the same
    noise *plus* 0.1. With fewer than three partitions, of predictions with fewer than three that
    were predicted, there is no noise to learn and the floors stand alone.

    Args:
        partition_profiles: One profile a reference partition, on one binning.
        minimum_rows: Partitions below it teach nothing: their noise would excuse any drift.

    Raises:
        MonitoringError: If there is no profile, or their binnings differ.
    """
    kinds = _kinds(merge_all(partition_profiles))
    telling = [item for item in partition_profiles if item.rows >= max(minimum_rows, 1)]
    learned = [
        _compare(merge_all([*telling[:position], *telling[position + 1 :]]), item)
        for position, item in enumerate(telling)
        if len(telling) >= _MINIMUM_PARTITIONS
    ]
    columns = {
        column: {
            test: _threshold(test, [noise.get(test, 0.0) for noise in _learned_of(column, learned)])
            for test in _tests(kind)
        }
        for column, kind in kinds.items()
    }
    return Thresholds(columns=columns, partitions=len(telling))


def _learned_of(
    column: str, learned: Sequence[Mapping[str, Mapping[str, float]]]
) -> list[Mapping[str, float]]:
    found = [noise[column] for noise in learned if column in noise]
    return found if len(found) >= _MINIMUM_PARTITIONS else []


def detect_drift(
    reference: Profile, current: Profile, thresholds: Thresholds, rule: DriftMonitoring
) -> DriftVerdict:
    """Judge a batch against the reference of the model that scored it.

    The batch drifts when the share of drifted features reaches ``rule.share_of_features``, or when
    ``rule.prediction`` and the predictions drift. Where either side holds no prediction that
    counts, those are not compared, and the reason says so.

    Args:
        reference: Profile of the training data, with predictions if ``rule.prediction``.
        current: Profile of the batch, on the same binning.
        thresholds: From :func:`calibrate` on the reference's partitions.
        rule: The pipeline's rule; below its ``minimum_rows`` on either side nothing can be told.

    Raises:
        MonitoringError: If the reference has no rows, the binnings differ, predictions are asked
            about that were not profiled, there is no feature, or a column has no thresholds.
    """
    _demand_comparable(reference, current, thresholds, rule)
    smaller = min(reference.rows, current.rows)
    if smaller < rule.minimum_rows:
        side = "the batch" if current.rows == smaller else "the reference"
        return DriftVerdict(
            verdict="cannot tell",
            reason=f"{side} has {smaller} rows, {rule.minimum_rows} needed to tell",
            drifted=(),
            share=0.0,
            features=(),
            predictions=None,
            reference_rows=reference.rows,
            current_rows=current.rows,
        )
    judged = {
        column: _judge(column, statistics, _with_noise(thresholds, column, reference, current))
        for column, statistics in _compare(reference, current).items()
    }
    predictions = judged.pop(PREDICTIONS, None) if rule.prediction else None
    judged.pop(PREDICTIONS, None)
    features = tuple(sorted(judged.values(), key=lambda item: (-item.severity, item.column)))
    drifted = tuple(item for item in features if item.drifted)
    share = len(drifted) / len(features)
    fired = share >= rule.share_of_features or bool(predictions and predictions.drifted)
    return DriftVerdict(
        verdict="drift" if fired else "no drift",
        reason=_reason(drifted, len(features), predictions, asked=rule.prediction),
        drifted=tuple(item.column for item in drifted),
        share=share,
        features=features,
        predictions=predictions,
        reference_rows=reference.rows,
        current_rows=current.rows,
    )


def _compare(reference: Profile, current: Profile) -> dict[str, dict[str, float]]:
    compared: dict[str, dict[str, float]] = {}
    for name, side in reference.numeric.items():
        edges = reference.binning.numeric[name]
        compared[name] = compare_numbers(side, current.numeric[name], edges)
    for name, levels in reference.categorical.items():
        compared[name] = compare_levels(levels, current.categorical[name])
        compared[name][_UNSEEN] = current.unseen_share(name) - reference.unseen_share(name)
    for name, statistics in compared.items():
        statistics[_MISSING] = current.missing_share(name) - reference.missing_share(name)
    if (
        reference.predictions
        and current.predictions
        and reference.predictions.rows
        and current.predictions.rows
    ):
        edges = reference.binning.predictions or ()
        compared[PREDICTIONS] = _compare_predictions(
            reference.predictions, current.predictions, edges
        )
    return compared


def _compare_predictions(
    reference: NumericProfile | CategoricalProfile,
    current: NumericProfile | CategoricalProfile,
    edges: Sequence[float],
) -> dict[str, float]:
    statistics: dict[str, float] = {}
    if isinstance(reference, NumericProfile) and isinstance(current, NumericProfile):
        statistics = compare_numbers(reference, current, edges)
    elif isinstance(reference, CategoricalProfile) and isinstance(current, CategoricalProfile):
        statistics = compare_levels(reference, current)
        statistics[_UNSEEN] = current.other / current.rows - reference.other / reference.rows
    statistics[_MISSING] = current.missing / current.rows - reference.missing / reference.rows
    return statistics


def _judge(
    column: str, statistics: Mapping[str, float], thresholds: Mapping[str, float]
) -> ColumnDrift:
    over = {test: value / thresholds[test] for test, value in statistics.items()}
    exceeded = sorted((test for test in over if over[test] > 1), key=lambda t: (-over[t], t))
    tests = [test for test in statistics if test not in (_MISSING, _UNSEEN)]
    agreeing = [test for test in exceeded if test in tests]
    jumped = len(agreeing) < len(exceeded)
    return ColumnDrift(
        column=column,
        statistics=statistics,
        thresholds={test: thresholds[test] for test in statistics},
        exceeded=tuple(exceeded),
        drifted=jumped or (len(agreeing) >= 2 and 2 * len(agreeing) >= len(tests)),
        severity=max(over.values()),
    )


def _threshold(test: str, noise: Sequence[float]) -> float:
    floor = FLOORS[test]
    largest = max(noise, default=0.0)
    return floor + max(largest, 0.0) if test in (_MISSING, _UNSEEN) else max(floor, largest)


def _with_noise(
    thresholds: Thresholds, column: str, reference: Profile, current: Profile
) -> dict[str, float]:
    """Raise thresholds to what sampling alone exceeds in two samples of these sizes."""
    noise = sampling_noise(_column(reference, column), _column(current, column))
    known = thresholds.columns[column]
    return {test: max(value, noise.get(test, 0.0)) for test, value in known.items()}


def _column(profile: Profile, name: str) -> NumericProfile | CategoricalProfile:
    if name == PREDICTIONS and profile.predictions:
        return profile.predictions
    return profile.numeric.get(name) or profile.categorical[name]


def _kinds(profile: Profile) -> dict[str, str]:
    kinds = dict.fromkeys(profile.numeric, "numeric")
    kinds |= dict.fromkeys(profile.categorical, "categorical")
    if isinstance(profile.predictions, NumericProfile):
        kinds[PREDICTIONS] = "numeric"
    elif profile.predictions:
        kinds[PREDICTIONS] = "categorical"
    return kinds


def _tests(kind: str) -> tuple[str, ...]:
    if kind == "numeric":
        return (*NUMERIC_STATISTICS, _MISSING)
    return (*CATEGORICAL_STATISTICS, _MISSING, _UNSEEN)


def _demand_comparable(
    reference: Profile, current: Profile, thresholds: Thresholds, rule: DriftMonitoring
) -> None:
    if not reference.rows:
        raise MonitoringError(
            "profile reference: must have rows to tell drift, got 0. Check the training set."
        )
    for side, profile in (("reference", reference), ("current", current)):
        if rule.prediction and profile.predictions is None:
            raise MonitoringError(
                f"profile {side}: must hold predictions, got none. Profile it with them, or "
                "set monitoring.drift.prediction to false."
            )
    if reference.binning != current.binning:
        raise MonitoringError(
            "profile current: must be counted on the reference's binning, got another. "
            "Profile the batch with the binning of the model that scored it."
        )
    if not reference.columns:
        raise MonitoringError("profile reference: must hold features, got none. Profile some.")
    expected = [*reference.columns, *([PREDICTIONS] if rule.prediction else [])]
    lacking = [name for name in expected if name not in thresholds.columns]
    if lacking:
        raise MonitoringError(
            f"column {lacking[0]}: must have thresholds, got none. Calibrate them on the "
            "partitions of this reference."
        )


def _reason(
    drifted: Sequence[ColumnDrift],
    features: int,
    predictions: ColumnDrift | None,
    *,
    asked: bool,
) -> str:
    worst = ", ".join(item.describe() for item in drifted[:_SHOWN])
    more = f", and {len(drifted) - _SHOWN} more" if len(drifted) > _SHOWN else ""
    parts = [
        f"{len(drifted)} of {features} features drifted" + (f" ({worst}{more})" if worst else "")
    ]
    if predictions is not None:
        verb = "drifted" if predictions.drifted else "did not drift"
        told = predictions.describe().removeprefix(f"{PREDICTIONS} ")
        count = f"{len(predictions.exceeded)} of {len(predictions.statistics)} tests exceeded"
        parts.append(f"predictions {verb} ({told}, {count})")
    elif asked:
        parts.append("predictions not compared (one side has none of rows that were not fitted on)")
    return ", ".join(parts)
