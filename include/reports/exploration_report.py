"""The exploratory report on a training set: every feature, and how it goes with the target.

Our table says what matters for the model; below it, skrub's report shows the distributions and
what goes with what. Features are described on a bounded random sample of the rows to train on:
what only judges shall guide nobody who chooses features. The target is described on every row.
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.features.feature_columns import HELD_OUT, LABEL, SLICE, feature_columns, split_kinds
from include.specification.metric_names import Task
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import REPORTS
from include.templates import render
from include.training import association
from include.training.training_sets import TrainingSet, read_training_set

SAMPLE_ROWS = 50_000
# skrub's part of the page takes about 0.05 s and 30 kB a column.
SHOWN_FEATURES = 100
# A model is rarely as good as this; a single feature hardly ever.
_TOO_GOOD = {"binary": 0.99, "multiclass": 0.99, "regression": 0.98}
_ALONE = {"binary": "ROC AUC", "multiclass": "balanced accuracy", "regression": "R\u00b2"}
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHOWN_CLASSES = 8
_TUKEY = 1.5

Labels = NDArray[np.generic]


@dataclass(frozen=True)
class FeatureSummary:
    """One feature of a training set; None where the data cannot tell.

    Args:
        name: Column.
        kind: ``numeric`` or ``categorical``, as candidates treat it.
        missing: Share of rows without a value, in [0, 1].
        distinct: Number of different values.
        outliers: Numeric: share of the values outside Tukey's fences, in [0, 1].
        measure: What ``association`` is.
        association: With the target; Spearman's correlation is in [-1, 1], the rest in [0, 1].
        alone: How well this feature alone predicts the target: ROC AUC, balanced accuracy or
            R squared, cross-validated.
        suspicious: Whether it predicts the target too well to be known beforehand.
    """

    name: str
    kind: str
    missing: float
    distinct: int
    outliers: float | None
    measure: str
    association: float | None
    alone: float | None
    suspicious: bool


@dataclass(frozen=True)
class TargetSlice:
    """The target in the rows of one partition that train, or that only judge.

    Args:
        partition: Name of the partition.
        role: ``training`` or ``held out``.
        rows: Number of rows.
        values: Shares of the classes, or quantiles, as the table's heads say.
    """

    partition: str
    role: str
    rows: int
    values: tuple[float, ...]


def publish_exploration(lake: Lake, pipeline: Pipeline, training_set: TrainingSet) -> str:
    """Publish the exploratory report on a training set; returns the address of the page."""
    name = str(training_set.reference.partition)
    rows = read_training_set(lake, training_set)
    problem = Problem.of(pipeline)
    facts = to_pandas(rows.select([LABEL, SLICE, HELD_OUT]))
    heads, slices = describe_target(
        problem, problem.encode_labels(facts[LABEL]), facts[SLICE], facts[HELD_OUT]
    )
    training = rows.filter(pc.invert(rows[HELD_OUT]))
    frame = _sample(training, pipeline)
    features = describe_features(
        problem.task,
        frame[feature_columns(pipeline, list(frame.columns))],
        problem.encode_labels(frame[LABEL]),
        pipeline.training.seed,
    )
    shown = [feature.name for feature in features[:SHOWN_FEATURES]]
    page = render(
        "exploration",
        title=f"{pipeline.name} as of {name}: training set",
        pipeline=pipeline,
        training_set=training_set,
        partition=name,
        rows=rows.num_rows,
        training_rows=training.num_rows,
        sample_rows=len(frame),
        heads=heads,
        slices=slices,
        features=features,
        alone=_ALONE[problem.task],
        too_good=_TOO_GOOD[problem.task],
        shown_features=len(shown),
        report=_table_report(frame[[LABEL, *shown]]),
    )
    uri = exploration_uri(pipeline.name, name)
    ObjectStore(lake.settings).write(uri, page.encode(), "text/html; charset=utf-8")
    return uri


def exploration_uri(pipeline: str, partition: str) -> str:
    """Name the page about the training set as of a partition."""
    return f"s3://{REPORTS}/{pipeline}/exploration/{partition}/index.html"


def describe_features(
    task: Task, features: pd.DataFrame, target: Labels, seed: int
) -> tuple[FeatureSummary, ...]:
    """Describe every feature, those that go most with the target first.

    Args:
        task: Kind of target.
        features: Shape (n_rows, n_features).
        target: Labels as :class:`~include.specification.problem.Problem` says, shape (n_rows,).
        seed: Seed of what is drawn.
    """
    numeric, _ = split_kinds(features, list(features.columns))
    summaries = [
        _describe(task, features[name], target, numeric=name in numeric, seed=seed)
        for name in features.columns
    ]
    return tuple(sorted(summaries, key=lambda item: (-abs(item.association or 0), item.name)))


def describe_target(
    problem: Problem, target: Labels, partitions: pd.Series, held_out: pd.Series
) -> tuple[tuple[str, ...], tuple[TargetSlice, ...]]:
    """Describe the target in each partition.

    Args:
        problem: What labels mean.
        target: Labels, shape (n_rows,).
        partitions: Partition of each row, shape (n_rows,).
        held_out: Whether the row only judges, bool, shape (n_rows,).

    Returns:
        Heads of the table's columns (classes or quantiles), and the partitions in order.
    """
    labels = pd.Series(target, index=partitions.index)
    groups = labels.groupby([partitions, held_out], sort=True)
    if problem.task == "regression":
        heads = ["mean", *(f"{quantile:.0%}" for quantile in _QUANTILES)]
        values = [[part.mean(), *part.quantile(list(_QUANTILES))] for _, part in groups]
    else:
        common = list(labels.value_counts().index)
        classes = sorted(common) if len(common) <= _SHOWN_CLASSES else common[:_SHOWN_CLASSES]
        heads = [str(level) for level in classes]
        values = [[(part == level).mean() for level in classes] for _, part in groups]
        if len(common) > len(classes):
            heads.append("others")
            values = [[*shares, 1 - sum(shares)] for shares in values]
    slices = [
        TargetSlice(
            str(partition),
            "held out" if only_judges else "training",
            len(part),
            tuple(float(value) for value in row),
        )
        for ((partition, only_judges), part), row in zip(groups, values, strict=True)
    ]
    return tuple(heads), tuple(slices)


def _describe(
    task: Task, column: pd.Series, target: Labels, *, numeric: bool, seed: int
) -> FeatureSummary:
    measure, strength = _associate(task, column, target, numeric=numeric)
    alone = association.alone(column, target, task, numeric=numeric, seed=seed)
    return FeatureSummary(
        name=str(column.name),
        kind="numeric" if numeric else "categorical",
        missing=float(column.isna().mean()),
        distinct=int(column.nunique()),
        outliers=_outliers(column) if numeric else None,
        measure=measure,
        association=strength,
        alone=alone,
        suspicious=max(alone or 0, abs(strength or 0)) >= _TOO_GOOD[task],
    )


def _associate(
    task: Task, column: pd.Series, target: Labels, *, numeric: bool
) -> tuple[str, float | None]:
    if numeric:
        known = column.notna().to_numpy()
        values = column[known].to_numpy(np.float64)
        if task == "multiclass":
            classes = association.codes(pd.Series(target[known]))
            return "correlation ratio", association.correlation_ratio(classes, values)
        return "Spearman", association.spearman(values, target[known].astype(np.float64))
    levels = association.codes(column)
    if task == "regression":
        ratio = association.correlation_ratio(levels, target.astype(np.float64))
        return "correlation ratio", ratio
    return "Cram\u00e9r's V", association.cramers_v(levels, association.codes(pd.Series(target)))


def _outliers(column: pd.Series) -> float | None:
    values = column.dropna().to_numpy(np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [0.25, 0.75])
    reach = _TUKEY * (high - low)
    return float(((values < low - reach) | (values > high + reach)).mean())


def _sample(rows: pa.Table, pipeline: Pipeline) -> pd.DataFrame:
    """Draw at most SAMPLE_ROWS rows; sorted first, so that a seed means something."""
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in pipeline.keys])
    if len(order) > SAMPLE_ROWS:
        generator = np.random.default_rng(pipeline.training.seed)
        order = order.take(np.sort(generator.choice(len(order), SAMPLE_ROWS, replace=False)))
    return to_pandas(rows.take(order))


def _table_report(frame: pd.DataFrame) -> str:
    # skrub makes its folder when it is imported, by default in the home of the worker.
    os.environ.setdefault("SKB_DATA_DIRECTORY", tempfile.gettempdir())
    import matplotlib

    logging.getLogger("matplotlib.category").setLevel(logging.WARNING)
    matplotlib.use("agg")  # a window system may not be used from a forked process
    from skrub import TableReport

    # Huge and infinite numbers have no variance.
    with np.errstate(all="ignore"):
        return str(
            TableReport(
                frame,
                verbose=0,
                plot_distributions=True,
                compute_associations=True,
                open_tab="distributions",
            ).html_snippet()
        )
