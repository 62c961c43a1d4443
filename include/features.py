"""Run a pipeline's feature function on Spark, and join features with what was known.

A feature function takes one Spark frame per source without labels, by the source's name, and
returns one row per entity: the entity column, the event time column and the features. It is the
same code for training and scoring.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from include.errors import FeatureError
from include.lineage import Origin, TableReference
from include.partitions import containing
from include.settings import StoreSettings
from include.spark.lake import read
from include.specification import Pipeline
from include.tables import PARTITION, DataFile, Lake, write_files

TABLE = "features"
LABELS = "labels"
_FILES = pa.schema(
    [("path", pa.string()), ("partition", pa.string()), ("size", pa.int64()), ("rows", pa.int64())]
)


def load_function(pipeline: Pipeline) -> Callable[..., Any]:
    """Import the feature function that the pipeline file names.

    Raises:
        FeatureError: If the module or the function does not exist.
    """
    module_name, _, name = pipeline.features.function.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise FeatureError(
            f"pipeline {pipeline.name}: feature function {pipeline.features.function!r} must be "
            f"importable, got {error}. Correct the path or the module."
        ) from error


def compute(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    sources: Mapping[str, TableReference],
    partitions: Sequence[str],
    origin: Origin,
) -> TableReference:
    """Compute the features of partitions and commit them once.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        sources: By source name, the validated raw table at the version to read.
        partitions: Partitions to compute; each is replaced.
        origin: Who writes.

    Returns:
        The features table at its new version.

    Raises:
        FeatureError: If the function loses or repeats entities, or a required column.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    function = load_function(pipeline)
    frames = {
        name: read(
            spark, lake, reference.table, version=reference.version, partitions=list(partitions)
        )
        for name, reference in sources.items()
    }
    features = function(**frames)
    for column in (pipeline.entity, pipeline.event_time):
        if column not in features.columns:
            raise FeatureError(
                f"feature function {pipeline.features.function}: must return column {column!r}, "
                f"got {', '.join(features.columns)}. Keep it in the last select."
            )
    returned = _arrow_schema(features)
    table_uri = lake.uri(TABLE)

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = pa.Table.from_batches(list(batches), schema=returned)
        rows = _with_partition(rows, pipeline)
        files = write_files(StoreSettings.from_environment(), table_uri, rows)
        yield pa.RecordBatch.from_pylist([vars(file) for file in files], schema=_FILES)

    written = features.mapInArrow(write, from_arrow_schema(_FILES)).collect()
    files = [DataFile(**row.asDict()) for row in written]
    schema = returned.append(pa.field(PARTITION, pa.string()))
    _check_rows(pipeline, sources, partitions, files)
    return lake.commit(
        TABLE, files, schema, partitions=partitions, origin=origin.reading(*sources.values())
    )


def feature_columns(pipeline: Pipeline, columns: Sequence[str]) -> list[str]:
    """Name the features among a table's columns, in the table's order."""
    keys = {pipeline.entity, pipeline.event_time, PARTITION, "label", "known_at"}
    return [name for name in columns if name not in keys]


def split_kinds(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split feature columns into numeric and categorical ones by their dtype."""
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(frame[name])]
    return numeric, [name for name in columns if name not in numeric]


def join_labels(
    features: pd.DataFrame, labels: pd.DataFrame, *, entity: str, known_before: datetime
) -> pd.DataFrame:
    """Join each entity with its label as it was known at a moment (point-in-time join).

    Args:
        features: One row per entity.
        labels: Columns ``entity``, ``label`` and ``known_at``; several rows per entity mean that
            the label was corrected: the latest one known counts.
        entity: Column that identifies a row.
        known_before: Labels known at or after this moment do not exist yet.

    Returns:
        The features of labelled entities with ``label`` and ``known_at``, in the features' order.
    """
    known = labels[labels["known_at"] < known_before]
    latest = known.sort_values([entity, "known_at"], kind="stable").drop_duplicates(
        entity, keep="last"
    )
    columns = [entity, "label", "known_at"]
    return features.merge(latest[columns], on=entity, how="inner", validate="one_to_one")


def _with_partition(rows: pa.Table, pipeline: Pipeline) -> pa.Table:
    moments = rows[pipeline.event_time].to_pandas()
    if moments.isna().any():
        raise FeatureError(
            f"feature function {pipeline.features.function}: {pipeline.event_time} must be set, "
            f"got {int(moments.isna().sum())} rows without. Keep the event time of the source."
        )
    hours = moments.dt.floor("h")
    names = {
        hour: str(containing(hour.to_pydatetime(), pipeline.partition)) for hour in hours.unique()
    }
    return rows.append_column(PARTITION, pa.array(hours.map(names), pa.string()))


def _arrow_schema(features: Any) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(features.schema, timezone="UTC")


def _check_rows(
    pipeline: Pipeline,
    sources: Mapping[str, TableReference],
    partitions: Sequence[str],
    files: Sequence[DataFile],
) -> None:
    stray = sorted({file.partition for file in files} - set(partitions))
    if stray:
        raise FeatureError(
            f"feature function {pipeline.features.function}: rows must lie in the partitions "
            f"{', '.join(partitions)}, got {', '.join(stray)} by {pipeline.event_time}. "
            "Keep the event time of the source."
        )
