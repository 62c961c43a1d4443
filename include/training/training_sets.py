"""Training sets from mature partitions.

As of partition p a training set sees what was known when p closed: mature partitions only, each
row with its label as known then. The latest ``holdout`` partitions only judge; of snapshots, which
have no order in time, a fixed share of the entities does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.partitions import Partition
from include.errors import TrainingError
from include.features import labels
from include.features.feature_columns import (
    HELD_OUT,
    KNOWN_AT,
    LABEL,
    SLICE,
    feature_columns,
    split_kinds,
)
from include.features.held_out import is_held_out
from include.features.known_labels import known_labels, mature_as_of
from include.features.point_in_time import join_labels
from include.registry.model_files import prepare
from include.specification.generations import TRAINING_SETS
from include.specification.pipeline import Pipeline
from include.specification.problem import MINIMUM_CLASS_ROWS, Problem
from include.storage.data_frames import to_pandas, to_series
from include.storage.lake_tables import PARTITION, Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.row_digests import digest_rows
from include.wording import some

TABLE = TRAINING_SETS
# Details of a commit: the partitions that the training set was made from, and a digest of all that
# a model is fitted on and judged by.
WINDOW, ROWS = "window", "rows"
_MEMORY_SHARE = 0.5
_log = logging.getLogger(__name__)
# A table that an older release began keeps the names that it gave to our columns.
_EARLIER = {
    LABEL: "label",
    KNOWN_AT: "known_at",
    SLICE: "source_partition",
    HELD_OUT: "held_out",
}


@dataclass(frozen=True)
class TrainingSet:
    """A training set on the store.

    Args:
        reference: Its partition of ``training_sets``.
        train: Partitions that the search sees, in time order.
        holdout: Partitions that only judge, in time order; none for snapshots, where a share of
            the entities judges.
        rows: Rows that the search sees, and rows that only judge.
        classes: Rows that the search sees by class; empty for regression.
    """

    reference: TableReference
    train: tuple[str, ...]
    holdout: tuple[str, ...]
    rows: tuple[int, int]
    classes: Mapping[str, int]

    @property
    def rare(self) -> dict[str, int]:
        """Classes with too few rows to be learned, and how many rows they have."""
        return {name: rows for name, rows in self.classes.items() if rows < MINIMUM_CLASS_ROWS}

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping (for XCom)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingSet:
        """Read what :meth:`to_dict` gave."""
        return cls(
            reference=TableReference.from_dict(values["reference"]),
            train=tuple(values["train"]),
            holdout=tuple(values["holdout"]),
            rows=(values["rows"][0], values["rows"][1]),
            classes=dict(values["classes"]),
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


def build_training_set(
    lake: Lake, pipeline: Pipeline, partition: Partition, origin: Origin
) -> TrainingSet:
    """Join the latest mature partitions with their labels and write them as one training set.

    Raises:
        TrainingError: If too few partitions are mature, a side cannot be learned from, or the set
            would not fit in memory.
    """
    rules = pipeline.training
    mature = mature_as_of(lake, pipeline, partition)
    if len(mature) < rules.window:
        needed = "mature partitions are needed (labels of "
        needed += f"{rules.coverage:.0%} of the rows known before {partition.end:%Y-%m-%d})"
        if not pipeline.has_time:
            needed = "snapshots with labels are needed"
        raise TrainingError(
            f"training set {pipeline.name} as of {partition}: {rules.window} {needed}, got "
            f"{len(mature)}: {', '.join(mature) or 'none'}. "
            "Land older partitions, wait for labels, or shorten training.window."
        )
    window = mature[-rules.window :]
    features = lake.reference(pipeline.features_table)
    known = lake.reference(pipeline.labels_table)
    _check_memory(lake, pipeline, features, window)
    held = lake.read(features.table, partitions=window, version=features.version)
    labelled = known_labels(lake, partition, known.table)
    joined = join_labels(to_pandas(held), labelled, pipeline, partition.end)
    joined = joined.rename(columns={PARTITION: SLICE})
    if not pipeline.has_time:
        # An entity that came back in a later snapshot counts once, as it is now.
        joined = joined.sort_values([SLICE, pipeline.entity], kind="stable")
        joined = joined.drop_duplicates(pipeline.entity, keep="last")
    joined = sorted_rows(pipeline, joined)
    _tell_infinities(pipeline, partition, joined)
    train: tuple[str, ...] = window
    holdout: tuple[str, ...] = ()
    if pipeline.has_time:
        train, holdout = window[: -int(rules.holdout)], window[-int(rules.holdout) :]
        joined[HELD_OUT] = joined[SLICE].isin(holdout)
    else:
        joined[HELD_OUT] = is_held_out(joined[pipeline.entity], rules.holdout)
    classes = _count_classes(pipeline, partition, joined)
    rows = pa.Table.from_pandas(joined, _schema(pipeline, held.schema), preserve_index=False)
    rows = with_partition(
        rows.cast(as_stored(lake, rows.schema, pipeline.training_sets_table)), str(partition)
    )
    keys = {*pipeline.keys, KNOWN_AT, PARTITION}
    reference = lake.write(
        pipeline.training_sets_table,
        _as_begun(lake, pipeline, rows),
        partitions=[str(partition)],
        origin=origin.reading(features, known),
        details={WINDOW: json.dumps(list(window)), ROWS: digest_rows(rows, keys)},
    )
    held_out = int(joined[HELD_OUT].sum())
    return TrainingSet(reference, train, holdout, (len(joined) - held_out, held_out), classes)


def read_training_set(
    lake: Lake, training_set: TrainingSet, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read the rows of a training set: keys, features, and ours as ``feature_columns`` names them.

    Args:
        lake: The pipeline's tables.
        training_set: Which one.
        columns: Columns to read; all of them if None.
    """
    reference = training_set.reference
    held = lake.open(reference.table, reference.version).schema().fields
    earlier = {} if any(field.name == HELD_OUT for field in held) else _EARLIER
    rows = lake.read(
        reference.table,
        partitions=[str(reference.partition)],
        columns=None if columns is None else [earlier.get(name, name) for name in columns],
        version=reference.version,
    )
    ours = {stored: name for name, stored in earlier.items()}
    return rows.rename_columns([ours.get(name, name) for name in rows.column_names])


def load_training_set(lake: Lake, pipeline: Pipeline, training_set: TrainingSet) -> TrainingData:
    """Read a training set into memory, as candidates are fitted on it."""
    rows = read_training_set(lake, training_set)
    frame = sorted_rows(pipeline, to_pandas(rows))
    numeric, categorical = split_kinds(frame, feature_columns(pipeline, list(frame.columns)))
    classes = sorted(set(training_set.classes) - set(training_set.rare))
    problem = Problem.of(pipeline, classes if pipeline.task == "multiclass" else ())
    return TrainingData(
        problem=problem,
        features=prepare(frame, numeric, categorical),
        labels=problem.encode_labels(frame[LABEL]),
        partitions=frame[SLICE].to_numpy(object),
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        holdout=frame[HELD_OUT].to_numpy(bool),
        ordered=pipeline.has_time,
    )


def trained_on(lake: Lake, pipeline: Pipeline, training_set: TrainingSet) -> set[Any]:
    """Name the entities whose rows a model was fitted on."""
    rows = read_training_set(lake, training_set, [pipeline.entity, HELD_OUT])
    return set(to_series(rows.filter(pc.invert(rows[HELD_OUT]))[pipeline.entity]))


def _schema(pipeline: Pipeline, features: pa.Schema) -> pa.Schema:
    """Keep the types of the features, whatever is missing in this window."""
    label = pa.field(LABEL, labels.TYPES[pipeline.task])
    own = [label, pa.field(KNOWN_AT, pa.timestamp("us")), pa.field(HELD_OUT, pa.bool_())]
    return pa.schema([*(f.with_name(SLICE) if f.name == PARTITION else f for f in features), *own])


def as_stored(lake: Lake, schema: pa.Schema, table: str = TABLE) -> pa.Schema:
    """Take floats where the table has them from when a missing value made whole numbers floats."""
    held = lake.schema(table)
    if held is None:
        return schema
    stored = {field.name: field.type for field in held if pa.types.is_floating(field.type)}
    return pa.schema(
        [
            f.with_type(stored.get(f.name, f.type)) if pa.types.is_integer(f.type) else f
            for f in schema
        ]
    )


def _tell_infinities(pipeline: Pipeline, partition: Partition, frame: pd.DataFrame) -> None:
    columns = frame[feature_columns(pipeline, list(frame.columns))].select_dtypes(
        ["float32", "float64"]
    )
    counts = np.isinf(columns).sum()
    told = [f"{name} in {count} rows" for name, count in counts[counts > 0].items()]
    if told:
        _log.warning(
            "training set %s as of %s: features should be finite, got infinities of %s of %d. "
            "They count as missing.",
            pipeline.name,
            partition,
            some(told),
            len(frame),
        )


def _as_begun(lake: Lake, pipeline: Pipeline, rows: pa.Table) -> pa.Table:
    """Name our columns as the table does that the rows are written to."""
    held = lake.schema(pipeline.training_sets_table)
    if held is None or HELD_OUT in held.names:
        return rows
    taken = [name for name in rows.column_names if name in _EARLIER.values()]
    if taken:
        raise TrainingError(
            f"training set {pipeline.name}: features must not be called {', '.join(taken)} in a "
            f"table {TABLE} that an older release began, got {len(taken)}. Rename them in the "
            "feature function, or move the table away to begin a new one."
        )
    return rows.rename_columns([_EARLIER.get(name, name) for name in rows.column_names])


def sorted_rows(pipeline: Pipeline, frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by time and entity."""
    time = [] if pipeline.event_time is None else [pipeline.event_time]
    return frame.sort_values([*time, pipeline.entity], kind="stable").reset_index(drop=True)


def _count_classes(pipeline: Pipeline, partition: Partition, frame: pd.DataFrame) -> dict[str, int]:
    """Count the rows of each class that the search sees; empty for regression.

    Raises:
        TrainingError: If there are not enough classes or rows on either side.
    """
    if pipeline.task == "regression":
        for side, inside in (("training", ~frame[HELD_OUT]), ("held-out", frame[HELD_OUT])):
            distinct = frame.loc[inside, LABEL].nunique()
            if distinct < 2:
                raise TrainingError(
                    f"training set {pipeline.name} as of {partition}: {side} rows must hold "
                    f"different labels, got {distinct} in {int(inside.sum())} rows. "
                    "Lengthen training.window or check the labels."
                )
        return {}
    visible = frame.loc[~frame[HELD_OUT], LABEL].astype(str).value_counts()
    classes = {str(name): int(rows) for name, rows in sorted(visible.items())}
    learnable = [name for name, rows in classes.items() if rows >= MINIMUM_CLASS_ROWS]
    sides = [("training", sorted(classes) if pipeline.task == "binary" else learnable)]
    if pipeline.task == "binary":
        sides.append(("held-out", sorted(set(frame.loc[frame[HELD_OUT], LABEL].astype(str)))))
    for side, found in sides:
        if len(found) < 2:
            inside = frame[HELD_OUT] == (side == "held-out")
            names = ", ".join(sorted(frame.loc[inside, SLICE].unique()))
            raise TrainingError(
                f"training set {pipeline.name} as of {partition}: {side} partitions {names} must "
                f"hold at least two classes, got {len(found)} in {int(inside.sum())} rows. "
                "Lengthen training.window or check the labels."
            )
    return classes


def _check_memory(
    lake: Lake, pipeline: Pipeline, features: TableReference, window: Sequence[str]
) -> None:
    columns = len(lake.open(features.table, features.version).schema().fields)
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
