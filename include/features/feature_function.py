"""Run a pipeline's feature function on Spark, and join features with what was known.

A feature function takes one Spark frame per source of features, by the source's name, and returns
one row per entity: the entity column, the event time column if there is one, and the features:
numbers, booleans or strings. It is the same code for training and scoring, and it always sees one
partition at a time (and, of a source with ``history``, the partitions before it), so that neither
knows more than the other.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar import partitions
from include.calendar.moments import to_moments
from include.calendar.partitions import containing
from include.errors import FeatureError, RelevoError, SourceError
from include.features import labels
from include.features.function_digest import FUNCTION, digest_function
from include.features.row_keys import KeySum, are_comparable, key_sum
from include.ingestion.arrow_types import check_types
from include.ingestion.storable_columns import check_names
from include.spark import worker_errors
from include.spark.column_names import column
from include.spark.lake_source import read
from include.specification.generations import FEATURES
from include.specification.pipeline import Pipeline
from include.storage import drafts
from include.storage.data_files import DataFile, write_files
from include.storage.drafts import Draft
from include.storage.lake_tables import PARTITION, Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.settings import StoreSettings
from include.wording import some

TABLE = FEATURES  # also the name of the data set, whatever the generation of its table
_FILE = pa.schema(
    [("path", pa.string()), ("partition", pa.string()), ("size", pa.int64()), ("rows", pa.int64())]
)
# What a worker gives back: a file, with the sum of all keys that it saw, or an error.
_WRITTEN = pa.schema([*_FILE, ("keys", pa.string()), worker_errors.FIELD])


def load_function(pipeline: Pipeline) -> Callable[..., Any]:
    """Import the feature function that the pipeline file names.

    Raises:
        FeatureError: If the module or the function does not exist, or is no Python.
    """
    module_name, _, name = pipeline.features.function.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError, SyntaxError) as error:
        raise FeatureError(
            f"pipeline {pipeline.name}: feature function {pipeline.features.function!r} must be "
            f"importable, got {error}. Correct the path or the module."
        ) from error


def with_history_of_now(
    lake: Lake, pipeline: Pipeline, sources: Mapping[str, TableReference]
) -> dict[str, TableReference]:
    """Refer to sources with ``history`` as their tables are now.

    A run about an earlier partition may have validated its batch since this run validated its own.
    """
    return {
        name: replace(reference, version=lake.open(reference.table).version())
        if pipeline.sources[name].history
        else reference
        for name, reference in sources.items()
    }


def compute(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    sources: Mapping[str, TableReference],
    wanted: Sequence[str],
    origin: Origin,
) -> Draft:
    """Compute the features of partitions as one draft, which nobody sees before it is validated.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        sources: By source name, the validated raw table at the version to read.
        wanted: Partitions to compute.
        origin: Who writes.

    Returns:
        The draft of these partitions of the features table.

    Raises:
        FeatureError: If the function loses or repeats rows, or a required column, or returns no
            data frame, or types that no table holds.
    """
    function = load_function(pipeline)
    computed = [_compute_one(spark, lake, pipeline, sources, name, function) for name in wanted]
    schemas = {schema for schema, _ in computed}
    if len(schemas) > 1:
        raise FeatureError(
            f"feature function {pipeline.features.function}: must return the same columns for "
            f"every partition, got {len(schemas)} layouts in {', '.join(wanted)}. Cast the "
            "columns, and do not choose them by what a batch holds."
        )
    return drafts.put(
        lake,
        pipeline.features_table,
        [file for _, files in computed for file in files],
        computed[0][0].append(pa.field(PARTITION, pa.string())),
        partitions=wanted,
        origin=origin.reading(*sources.values()),
        details={FUNCTION: digest_function(function)},
    )


def _compute_one(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    sources: Mapping[str, TableReference],
    wanted: str,
    function: Callable[..., Any],
) -> tuple[pa.Schema, list[DataFile]]:
    """Compute one partition; returns the columns and the files, which nobody sees yet."""
    from pyspark.sql.pandas.types import from_arrow_schema

    frames = {
        name: _frame(spark, lake, pipeline, name, reference, wanted)
        for name, reference in sources.items()
    }
    features = function(**frames)
    _check_frame(pipeline, features)
    _check_columns(pipeline, features.columns)
    features = _with_plain_numbers(features, pipeline.keys)
    returned = _arrow_schema(features)
    _check_types(pipeline, returned)
    table_uri = lake.uri(pipeline.features_table)

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        rows = returned.empty_table()
        if held:
            rows = pa.Table.from_batches(held).rename_columns(returned.names)
            # Spark may promise a column without nulls and send it as one that could have some.
            rows = rows.cast(returned)
        try:
            rows = _with_partition(rows, pipeline, wanted)
            files = write_files(StoreSettings.from_environment(), table_uri, rows)
        except RelevoError as error:
            found: list[dict[str, Any]] = [{"error": worker_errors.told(error)}]
        else:
            # All with the first file, as the files are told apart by nothing else.
            sums = [str(key_sum(rows[pipeline.entity]).total), *["0"] * len(files)]
            found = [vars(f) | {"keys": total} for f, total in zip(files, sums, strict=False)]
        yield pa.RecordBatch.from_pylist(found, schema=_WRITTEN)

    # mapInArrow itself looks columns up by bare names: by number they are safe.
    numbered = features.toDF(*(f"_{number}" for number in range(len(returned))))
    written = numbered.mapInArrow(write, from_arrow_schema(_WRITTEN)).collect()
    worker_errors.raise_first(row.error for row in written)
    files = [DataFile(*(row[name] for name in _FILE.names)) for row in written]
    _check_rows(pipeline, wanted, files)
    keys = sum((KeySum(row.rows, int(row.keys)) for row in written), KeySum(0, 0))
    _check_keys(lake, pipeline, sources[pipeline.primary_source], wanted, keys, returned)
    return returned, files


def _check_frame(pipeline: Pipeline, features: Any) -> None:
    from pyspark.sql import DataFrame

    if not isinstance(features, DataFrame):
        raise FeatureError(
            f"feature function {pipeline.features.function}: must return a Spark data frame, got "
            f"{type(features).__name__}. Return what the last select gives."
        )


def _check_types(pipeline: Pipeline, returned: pa.Schema) -> None:
    """Refuse what no table holds, and columns of nulls, which have no type at all."""
    subject = f"feature function {pipeline.features.function}"
    try:
        check_types(subject, returned)
    except SourceError as error:
        raise FeatureError(str(error)) from error
    untyped = [field.name for field in returned if pa.types.is_null(field.type)]
    if untyped:
        raise FeatureError(
            f"{subject}: every column must have a type, got only nulls in {some(untyped)}. "
            "Cast it, such as to double."
        )


def _check_keys(
    lake: Lake,
    pipeline: Pipeline,
    raw: TableReference,
    wanted: str,
    keys: KeySum,
    returned: pa.Schema,
) -> None:
    """Refuse rows that were lost, repeated, or given another key on the way.

    Nobody would ask for what was lost, and what is there twice would be predicted twice.
    """
    subject = f"feature function {pipeline.features.function}"
    rule = f"must return each row of {pipeline.primary_source} {wanted} once"
    advice = (
        "Make the other side of a join unique, and leave it to a suite to move rows to quarantine."
    )
    files = lake.files(replace(raw, partition=wanted))
    rows = sum(file.rows for file in files)
    if keys.rows != rows:
        raise FeatureError(f"{subject}: {rule}, got {keys.rows} rows of {rows}. {advice}")
    columns = lake.open(raw.table, raw.version).schema().fields
    if not rows or pipeline.entity not in {field.name for field in columns}:
        return  # the function itself makes the key
    landed = lake.read(
        raw.table, partitions=[wanted], columns=[pipeline.entity], version=raw.version
    )[pipeline.entity]
    kinds = (returned.field(pipeline.entity).type, landed.type)
    if are_comparable(*kinds) and key_sum(landed) != keys:
        raise FeatureError(
            f"{subject}: {rule}, got {keys.rows} rows, of which {pipeline.entity} is another than "
            f"in the source or there again. {advice}"
        )


def _check_columns(pipeline: Pipeline, columns: Sequence[str]) -> None:
    """Refuse names that no table can hold, and keys that are not there."""
    subject = f"feature function {pipeline.features.function}"
    try:
        check_names(subject, columns)
    except SourceError as error:
        raise FeatureError(str(error)) from error
    for key in pipeline.keys:
        if key not in columns:
            raise FeatureError(
                f"{subject}: must return column {key!r}, got {', '.join(columns)}. Keep it in "
                "the last select."
            )


def _with_plain_numbers(features: Any, keys: Sequence[str]) -> Any:
    """Make numbers of booleans and decimals, so that a feature is numeric in every batch."""
    from pyspark.sql.types import BooleanType, DecimalType

    cast = {
        field.name: column(field.name).cast("int" if kind is BooleanType else "double")
        for field in features.schema
        for kind in (BooleanType, DecimalType)
        if field.name not in keys and isinstance(field.dataType, kind)
    }
    return features.withColumns(cast) if cast else features


def _frame(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    reference: TableReference,
    wanted: str,
) -> Any:
    """Open what the function may see of a source: no labels, and nothing of later partitions."""
    table = lake.open(reference.table, reference.version)
    names = [field.name for field in table.schema().fields]
    hidden = labels.columns_of(pipeline, names) if source == pipeline.label_source else ()
    columns = [
        name for name in names if name not in (PARTITION, *hidden) and not name.startswith("_")
    ]
    return read(
        spark,
        lake,
        reference.table,
        version=reference.version,
        partitions=_visible(lake, pipeline, source, reference, wanted),
        columns=columns,
    )


def _visible(
    lake: Lake, pipeline: Pipeline, source: str, reference: TableReference, wanted: str
) -> list[str]:
    """List the partition and those before it that the source's history asks for.

    Raises:
        FeatureError: If one of them was never ingested although an earlier one was.
    """
    history = pipeline.sources[source].history
    if not history:
        return [wanted]
    partition = partitions.parse(wanted, pipeline.partition)
    asked = [str(partition.shift(-step)) for step in range(history, -1, -1)]
    held = {file.partition for file in lake.files(replace(reference, partition=None))}
    first = min(held, default=wanted)
    missing = [name for name in asked if name >= first and name not in held]
    # A partition that came without rows cannot be told from one that was never ingested.
    if missing and not pipeline.sources[source].allow_empty:
        raise FeatureError(
            f"source {source} {wanted}: the {history} partitions before it must be ingested, got "
            f"none for {', '.join(missing)}. Run those partitions first."
        )
    return [name for name in asked if name in held]


def _with_partition(rows: pa.Table, pipeline: Pipeline, wanted: str) -> pa.Table:
    if pipeline.event_time is None:
        return with_partition(rows, wanted)
    subject = f"feature function {pipeline.features.function}: {pipeline.event_time}"
    times = rows[pipeline.event_time]
    if times.null_count:
        raise FeatureError(
            f"{subject} must be set, got {times.null_count} rows without. Keep the event time of "
            "the source."
        )
    hours = pc.floor_temporal(to_moments(times, subject), unit="hour")
    encoded = hours.combine_chunks().dictionary_encode()
    names = [str(containing(h, pipeline.partition)) for h in encoded.dictionary.to_pylist()]
    return rows.append_column(PARTITION, pa.array(names, pa.string()).take(encoded.indices))


def _arrow_schema(features: Any) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    schema = to_arrow_schema(features.schema, timezone="UTC")
    return pa.schema([field.with_nullable(True) for field in schema])


def _check_rows(pipeline: Pipeline, wanted: str, files: Sequence[DataFile]) -> None:
    stray = dict[str, int]()
    for file in sorted(files, key=lambda file: file.partition):
        if file.partition != wanted:
            stray[file.partition] = stray.get(file.partition, 0) + file.rows
    if stray:
        listed = some(f"{name} ({rows} rows)" for name, rows in stray.items())
        raise FeatureError(
            f"feature function {pipeline.features.function}: rows must lie in the partition "
            f"{wanted}, got {listed} by {pipeline.event_time}. "
            "Keep the event time of the source."
        )
