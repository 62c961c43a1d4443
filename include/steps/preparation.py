"""From landed files to validated tables: ingest a source, move bad rows to quarantine.

The same functions serve the tasks of a scoring run, one partition at a time, and the history that
a first training needs, many partitions at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from include.calendar.partitions import Partition
from include.features import feature_function, labels
from include.ingestion.key_types import check_keys, check_named
from include.ingestion.landed_batch import LandedBatch, read_landed
from include.ingestion.landed_partitions import landed_partitions
from include.quality import data_docs, quarantine, suites, validation
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import ROW_ID, Source
from include.steps.label_contradictions import with_contradictions
from include.storage.connections import Connections, from_environment
from include.storage.lake_tables import PARTITION, Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore
from include.storage.settings import REPORTS
from include.training.training_sets import TrainingSet

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validated:
    """A validated batch.

    Args:
        reference: The rows that passed, at the version that holds them.
        quarantined: Rows that were moved to quarantine.
        data_docs: Address of the Data Docs page; None if none was published.
        summary: What failed, capped.
    """

    reference: TableReference
    quarantined: int
    data_docs: str | None
    summary: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping (for XCom)."""
        return asdict(self)


def raw_table(source: str) -> str:
    """Name the table that a source is ingested into."""
    return f"raw_{source}"


def quarantine_table(dataset: str) -> str:
    """Name the table that a data set's bad rows are moved to."""
    return f"quarantine_{dataset}"


def data_docs_uri(pipeline: str, partition: str, dataset: str) -> str:
    """Name the Data Docs page of a data set's partition."""
    return f"s3://{REPORTS}/{pipeline}/data_docs/{partition}/{dataset}/index.html"


def ingest(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    wanted: Sequence[Partition],
    origin: Origin,
    *,
    connections: Connections = from_environment,
    sample: int | None = None,
) -> TableReference:
    """Copy what landed for partitions into the raw table of a source, all in one commit.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        source: Name of the source.
        wanted: Partitions to copy; each is replaced.
        origin: Who writes.
        connections: Resolves the connection of a SQL source.
        sample: Copy at most so many rows of a partition, evenly spread; all of them if None.

    Raises:
        SourceError: If a file is missing, empty, unreadable or of another shape, lacks a column
            that the pipeline file names, or a key is of another kind than in the source that it
            is joined with.
    """
    table = raw_table(source)
    expected = landed_schema(lake, source)
    others = {
        other: schema
        for other in pipeline.sources
        if other != source and (schema := landed_schema(lake, other)) is not None
    }
    batches = []
    for partition in wanted:
        landed = read_batch(lake, pipeline, source, partition, expected, connections)
        for warning in landed.warnings:
            _log.warning("%s", warning)
        subject = f"source {source} {partition}"
        check_named(pipeline, source, subject, landed.table)
        check_keys(pipeline, source, subject, landed.table, others)
        expected = landed.table.schema
        rows = _spread(landed.table, sample)
        batches.append(with_partition(rows, str(partition)))
    names = [str(partition) for partition in wanted]
    return lake.write(table, pa.concat_tables(batches), partitions=names, origin=origin)


def read_batch(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    partition: Partition,
    expected: pa.Schema | None,
    connections: Connections = from_environment,
) -> LandedBatch:
    """Read what landed for a partition, as :func:`ingest` does, without writing anything."""
    return read_landed(
        lake.settings,
        source,
        pipeline.sources[source],
        partition,
        expected_schema=expected,
        connections=connections,
        row_id=pipeline.entity == ROW_ID and source == pipeline.primary_source,
    )


def validate_source(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    ingested: TableReference,
    partition: Partition,
    origin: Origin,
) -> Validated:
    """Validate an ingested source and keep the good rows; of labels, also as ``labels``.

    Reads the version that ``ingested`` names, so that running it again gives the same.
    """
    return _validate(lake, pipeline, source, ingested, partition, origin, publish=True)


def validate_features(
    lake: Lake, pipeline: Pipeline, computed: TableReference, partition: Partition, origin: Origin
) -> Validated:
    """Validate computed features and keep the good rows."""
    return _validate(
        lake, pipeline, feature_function.TABLE, computed, partition, origin, publish=True
    )


def validate_training_set(
    lake: Lake, pipeline: Pipeline, training_set: TrainingSet
) -> Mapping[str, Any]:
    """Run the features' suite on a training set and publish its Data Docs.

    Rows were quarantined when their partition was validated, so any critical failure stops.

    Returns:
        What failed, capped.

    Raises:
        QualityError: If a critical expectation fails.
    """
    reference = training_set.reference
    name = str(reference.partition)
    rows = lake.read(reference.table, partitions=[name], version=reference.version)
    report = validation.validate(
        rows,
        suites.load_suite(pipeline.features.suite),
        source="training_set",
        partition=name,
    )
    folder = data_docs_uri(pipeline.name, name, "training_set").rsplit("/", 1)[0]
    page = data_docs.publish_data_docs(ObjectStore(lake.settings), report, folder)
    quarantine.enforce(report, on_failure="fail", max_quarantined=0.0, data_docs=page)
    return report.summary()


def complete_history(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    until: Partition,
    origin: Origin,
    *,
    connections: Connections = from_environment,
    first: Partition | None = None,
    sample: int | None = None,
) -> tuple[str, ...]:
    """Ingest, validate and compute whatever was landed up to a partition and is missing so far.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        until: Latest partition.
        origin: Who writes.
        connections: Resolves the connections of SQL sources.
        first: Leave earlier partitions aside; None prepares all that landed.
        sample: Ingest at most so many rows of a partition of features; all of them if None.

    Returns:
        Names of the partitions whose features were computed.

    Raises:
        QualityError: If a batch of the history is not fit for use.
    """

    def landed(source: str) -> list[Partition]:
        return landed_partitions(lake.settings, pipeline, source, until, connections)

    def absent(source: str, table: str) -> list[Partition]:
        held = set(lake.partitions(table))
        return [partition for partition in landed(source) if str(partition) not in held]

    def prepare(source: str, wanted: Sequence[Partition], rows: int | None) -> None:
        if wanted:
            reference = ingest(
                lake, pipeline, source, wanted, origin, connections=connections, sample=rows
            )
            for partition in wanted:
                _validate(lake, pipeline, source, reference, partition, origin, publish=False)

    def needed(source: str) -> list[Partition]:
        # Also what is in the raw table: a task that was killed may not have validated it.
        history = range(1, pipeline.sources[source].history + 1)
        earlier = {partition.shift(-step) for partition in missing for step in history}
        return sorted({*missing, *(earlier.intersection(landed(source)) if earlier else ())})

    primary = pipeline.primary_source
    missing = [
        partition
        for partition in absent(primary, feature_function.TABLE)
        if first is None or partition >= first
    ]
    if not pipeline.labels_in_row:
        prepare(pipeline.label_source, absent(pipeline.label_source, labels.TABLE), None)
    if not missing:
        return ()
    prepare(primary, missing, sample)
    for source in pipeline.feature_sources:
        if source != primary:
            prepare(source, needed(source), None)
    sources = {name: lake.reference(raw_table(name)) for name in pipeline.feature_sources}
    names = [str(partition) for partition in missing]
    reference = feature_function.compute(spark, lake, pipeline, sources, names, origin)
    for partition in missing:
        _validate(
            lake, pipeline, feature_function.TABLE, reference, partition, origin, publish=False
        )
    return tuple(names)


def _validate(
    lake: Lake,
    pipeline: Pipeline,
    dataset: str,
    batch: TableReference,
    partition: Partition,
    origin: Origin,
    *,
    publish: bool,
) -> Validated:
    name = str(partition)
    rows = lake.read(batch.table, partitions=[name], version=batch.version)
    rows = rows.drop_columns([PARTITION])
    if rows.num_rows == 0 and _may_be_empty(pipeline, dataset):
        return _empty(lake, pipeline, dataset, batch, rows, partition, origin)
    suite_name, on_failure, limit = _rules(pipeline, dataset)
    report = validation.validate(
        rows, suites.load_suite(suite_name), source=dataset, partition=name
    )
    if dataset == pipeline.label_source and not report.stopping:
        report = with_contradictions(pipeline, rows, report, partition)
    page = None
    if publish:
        folder = data_docs_uri(pipeline.name, name, dataset).rsplit("/", 1)[0]
        page = data_docs.publish_data_docs(ObjectStore(lake.settings), report, folder)
    quarantine.enforce(report, on_failure=on_failure, max_quarantined=limit, data_docs=page)
    kept, quarantined = quarantine.split(rows, report)
    # Before anything is written: a label that cannot be read stops the batch.
    known = _known_labels(pipeline, dataset, kept, partition)
    written = origin.reading(batch)
    lake.write(
        quarantine_table(dataset),
        with_partition(quarantined, name),
        partitions=[name],
        origin=written,
    )
    _write_labels(lake, known, partition, written)
    if quarantined.num_rows:
        reference = lake.write(
            batch.table, with_partition(kept, name), partitions=[name], origin=written
        )
    else:
        reference = TableReference(lake.pipeline, batch.table, batch.version, name, kept.num_rows)
    return Validated(reference, quarantined.num_rows, page, report.summary())


def _empty(
    lake: Lake,
    pipeline: Pipeline,
    dataset: str,
    batch: TableReference,
    rows: pa.Table,
    partition: Partition,
    origin: Origin,
) -> Validated:
    """Accept a batch without rows: what an earlier one left behind goes."""
    name, table = str(partition), quarantine_table(dataset)
    known = _known_labels(pipeline, dataset, rows, partition)
    held = lake.schema(table)
    if held is not None:
        lake.write(table, held.empty_table(), partitions=[name], origin=origin.reading(batch))
    _write_labels(lake, known, partition, origin.reading(batch))
    return Validated(replace(batch, partition=name, rows=0), 0, None, {})


def _known_labels(
    pipeline: Pipeline, dataset: str, rows: pa.Table, partition: Partition
) -> pa.Table | None:
    """Derive the labels that validated rows bring; None if their source brings none."""
    if dataset != pipeline.label_source:
        return None
    return with_partition(labels.derive(pipeline, rows, partition), str(partition))


def _write_labels(lake: Lake, known: pa.Table | None, partition: Partition, origin: Origin) -> None:
    if known is not None:
        lake.write(labels.TABLE, known, partitions=[str(partition)], origin=origin)


def _may_be_empty(pipeline: Pipeline, dataset: str) -> bool:
    source = pipeline.primary_source if dataset == feature_function.TABLE else dataset
    return pipeline.sources[source].allow_empty


def _rules(pipeline: Pipeline, dataset: str) -> tuple[str, str, float]:
    if dataset == feature_function.TABLE:
        return pipeline.features.suite, "quarantine", pipeline.features.max_quarantined
    source: Source = pipeline.sources[dataset]
    return source.suite, source.on_failure, source.max_quarantined


def _spread(rows: pa.Table, sample: int | None) -> pa.Table:
    """Take at most ``sample`` rows, evenly spread over the batch."""
    if sample is None or rows.num_rows <= sample:
        return rows
    return rows.take(pa.array([at * rows.num_rows // sample for at in range(sample)], pa.int64()))


def landed_schema(lake: Lake, source: str) -> pa.Schema | None:
    """Take the schema that a source had so far; None before the first batch."""
    table = raw_table(source)
    held = lake.schema(table)
    return None if held is None else pa.schema([f for f in held if f.name != PARTITION])
