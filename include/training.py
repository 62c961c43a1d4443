"""Training sets from mature partitions, and candidates searched on them.

As of partition p a training set sees what was known when p closed: mature partitions only, each
row with its label as known then. The latest ``holdout`` partitions only judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
import psutil
import pyarrow as pa
from sklearn.pipeline import Pipeline as Estimator

from include import candidates
from include.errors import TrainingError
from include.evaluation import higher_is_better, metric
from include.features import LABELS, feature_columns, join_labels, split_kinds
from include.features import TABLE as FEATURES
from include.lineage import Origin, TableReference
from include.models import prepare
from include.partitions import Partition
from include.performance import mature_partitions
from include.problem import Problem
from include.specification import Candidate, Pipeline
from include.tables import PARTITION, Lake, with_partition

TABLE = "training_sets"
SLICE = "source_partition"
_MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class TrainingSet:
    """A training set on the store.

    Args:
        reference: Its partition of ``training_sets``.
        train: Partitions that the search sees, in time order.
        holdout: Partitions that only judge, in time order.
        positives: Rows with label 1 in train and holdout.
    """

    reference: TableReference
    train: tuple[str, ...]
    holdout: tuple[str, ...]
    positives: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping (for XCom)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingSet:
        """Read what :meth:`to_dict` gave."""
        return cls(
            reference=TableReference.from_dict(values["reference"]),
            train=tuple(values["train"]),
            holdout=tuple(values["holdout"]),
            positives=(values["positives"][0], values["positives"][1]),
        )


@dataclass(frozen=True)
class TrainingData:
    """A training set in memory, sorted by time and entity so that a seed means something.

    Args:
        problem: What labels mean; multiclass: with the classes of the rows not held out, sorted,
            rare ones left out.
        features: Prepared feature columns, shape (n_rows, n_features).
        labels: As ``problem`` says, shape (n_rows,).
        partitions: Partition of each row, shape (n_rows,).
        numeric: Numeric feature columns.
        categorical: Categorical feature columns.
        holdout: Whether the row only judges, bool, shape (n_rows,).
        ordered: Whether partitions follow each other in time, so that validation must too.
    """

    problem: Problem
    features: pd.DataFrame
    labels: np.ndarray
    partitions: np.ndarray
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    holdout: np.ndarray
    ordered: bool


@dataclass(frozen=True)
class TrainedCandidate:
    """A fitted candidate.

    Args:
        name: Builder.
        parameters: Chosen hyperparameters.
        validation: Metric on the time-ordered validation folds inside the training partitions.
        estimator: Fitted on all training partitions.
    """

    name: str
    parameters: dict[str, Any]
    validation: float
    estimator: Estimator


def known_labels(lake: Lake, partition: Partition) -> pd.DataFrame:
    """Read the labels that were known when a partition closed.

    Returns:
        Entity column, ``label`` and ``known_at``; one row per delivery of a label.
    """
    held = [name for name in lake.partitions(LABELS) if name <= str(partition)]
    labels: pd.DataFrame = lake.read(LABELS, partitions=held).to_pandas()
    return labels[labels["known_at"] < pd.Timestamp(partition.end)]


def mature_as_of(lake: Lake, pipeline: Pipeline, partition: Partition) -> tuple[str, ...]:
    """List the partitions whose labels were (nearly) all known when a partition closed.

    Returns:
        Names in time order.
    """
    rows = {
        name: count for name, count in lake.row_counts(FEATURES).items() if name <= str(partition)
    }
    entities = lake.read(
        FEATURES, partitions=list(rows), columns=[pipeline.entity, PARTITION]
    ).to_pandas()
    labelled = entities[pipeline.entity].isin(known_labels(lake, partition)[pipeline.entity])
    known = entities[labelled].groupby(PARTITION).size()
    return mature_partitions(
        rows, {str(name): int(count) for name, count in known.items()}, pipeline.training.coverage
    )


def build_training_set(
    lake: Lake, pipeline: Pipeline, partition: Partition, origin: Origin
) -> TrainingSet:
    """Join the latest mature partitions with their labels and write them as one training set.

    Raises:
        TrainingError: If too few partitions are mature, a side has one class only, or the set
            would not fit in memory.
    """
    rules = pipeline.training
    mature = mature_as_of(lake, pipeline, partition)
    if len(mature) < rules.window:
        raise TrainingError(
            f"training set {pipeline.name} as of {partition}: {rules.window} mature partitions "
            f"are needed (labels of {rules.coverage:.0%} of the rows known before "
            f"{partition.end:%Y-%m-%d}), got {len(mature)}: {', '.join(mature) or 'none'}. "
            "Land older partitions, wait for labels, or shorten training.window."
        )
    window = mature[-rules.window :]
    features = lake.reference(FEATURES)
    labels = lake.reference(LABELS)
    _check_memory(lake, pipeline, features, window)
    frame = lake.read(FEATURES, partitions=window, version=features.version).to_pandas()
    joined = join_labels(
        frame,
        known_labels(lake, partition),
        entity=pipeline.entity,
        known_before=partition.end,
    ).rename(columns={PARTITION: SLICE})
    joined = joined.sort_values([pipeline.event_time, pipeline.entity], kind="stable")
    train, holdout = window[: -rules.holdout], window[-rules.holdout :]
    positives = _count_classes(pipeline, partition, joined, train, holdout)
    rows = with_partition(pa.Table.from_pandas(joined, preserve_index=False), str(partition))
    reference = lake.write(
        TABLE, rows, partitions=[str(partition)], origin=origin.reading(features, labels)
    )
    return TrainingSet(reference, train, holdout, positives)


def load_training_set(lake: Lake, pipeline: Pipeline, training_set: TrainingSet) -> TrainingData:
    """Read a training set into memory, as candidates are fitted on it."""
    reference = training_set.reference
    frame = lake.read(
        TABLE, partitions=[str(reference.partition)], version=reference.version
    ).to_pandas()
    frame = frame.sort_values([pipeline.event_time, pipeline.entity], kind="stable")
    columns = [c for c in feature_columns(pipeline, list(frame.columns)) if c != SLICE]
    numeric, categorical = split_kinds(frame, columns)
    return TrainingData(
        problem=Problem.of(pipeline),
        features=prepare(frame, numeric, categorical),
        labels=frame["label"].to_numpy(np.int8),
        partitions=frame[SLICE].to_numpy(object),
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        holdout=frame[SLICE].isin(training_set.holdout).to_numpy(),
        ordered=pipeline.has_time,
    )


def train_candidate(
    name: str, options: Candidate, data: TrainingData, *, metric_name: str, seed: int
) -> TrainedCandidate:
    """Search hyperparameters on time-ordered folds, then fit on all training partitions.

    Args:
        name: Builder of ``include.candidates``.
        options: How many trials; 0 takes the builder's defaults.
        data: The training set; held-out rows are not touched.
        metric_name: Metric to optimise.
        seed: Seed of the search and of the estimator.

    Raises:
        TrainingError: If the candidate is unknown, or a validation fold holds one class only.
    """
    builder = candidates.builder(name)
    visible = ~data.holdout
    features, labels = data.features[visible], data.labels[visible]
    folds = _time_ordered_folds(data.partitions[visible])
    _check_folds(name, folds, labels, data.partitions[visible])

    def validate(parameters: dict[str, Any], trial: optuna.Trial | None) -> float:
        values = []
        for step, (fit, check) in enumerate(folds):
            estimator = builder.build(parameters, data.numeric, data.categorical, seed)
            estimator.fit(features[fit], labels[fit])
            scores = estimator.predict_proba(features[check])[:, 1]
            values.append(metric(metric_name, labels[check], scores))
            if trial is not None:
                trial.report(float(np.mean(values)), step)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return float(np.mean(values))

    if options.trials:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            direction="maximize" if higher_is_better(metric_name) else "minimize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        )
        study.enqueue_trial(builder.defaults)
        study.optimize(
            lambda trial: validate(builder.search(trial), trial), n_trials=options.trials
        )
        parameters, value = study.best_params, float(study.best_value)
    else:
        parameters, value = builder.defaults, validate(builder.defaults, None)
    estimator = builder.build(parameters, data.numeric, data.categorical, seed)
    estimator.fit(features, labels)
    return TrainedCandidate(name, parameters, value, estimator)


def _time_ordered_folds(partitions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Validate on each of the two latest partitions (one if there are two) with all before it."""
    names = sorted(set(partitions))
    latest = names[-2:] if len(names) > 2 else names[-1:]
    return [(partitions < name, partitions == name) for name in latest]


def _check_folds(
    name: str,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
    partitions: np.ndarray,
) -> None:
    for rows in (rows for fold in folds for rows in fold):
        positives, total = int(labels[rows].sum()), int(rows.sum())
        if positives in (0, total):
            raise TrainingError(
                f"candidate {name}: both sides of each validation fold must hold both classes, "
                f"got {positives} positives in {total} rows of "
                f"{', '.join(sorted(set(partitions[rows])))}. Lengthen training.window or check "
                "the labels."
            )


def _count_classes(
    pipeline: Pipeline,
    partition: Partition,
    frame: pd.DataFrame,
    train: Sequence[str],
    holdout: Sequence[str],
) -> tuple[int, int]:
    counts = []
    for side, names in (("training", train), ("held-out", holdout)):
        labels = frame.loc[frame[SLICE].isin(names), "label"]
        positives = int(labels.sum())
        if positives in (0, len(labels)):
            raise TrainingError(
                f"training set {pipeline.name} as of {partition}: {side} partitions "
                f"{', '.join(names)} must hold both classes, got {positives} positives in "
                f"{len(labels)} rows. Lengthen training.window or check the labels."
            )
        counts.append(positives)
    return counts[0], counts[1]


def _check_memory(
    lake: Lake, pipeline: Pipeline, features: TableReference, window: Sequence[str]
) -> None:
    columns = len(lake.open(FEATURES, features.version).schema().fields)
    rows = sum(file.rows for file in lake.files(features) if file.partition in window)
    # Measured on the example data: about 60 bytes a value while pandas holds strings and a copy.
    needed = rows * columns * 60
    available = int(psutil.virtual_memory().available * _MEMORY_SHARE)
    if needed > available:
        raise TrainingError(
            f"training set {pipeline.name}: {rows:,} rows x {columns} columns need about "
            f"{needed / 2**30:.1f} GiB, got {available / 2**30:.1f} GiB to use. "
            "Shorten training.window, or give the workers more memory."
        )
