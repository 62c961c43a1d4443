"""From landed files to validated tables: ingest a source, move bad rows to quarantine.

The same functions serve the tasks of a scoring run, one partition at a time, and the history that
a first training needs, many partitions at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from include import features, partitions, quality
from include.errors import SourceError
from include.features import LABELS
from include.ingestion import read_landed
from include.lineage import Origin, TableReference
from include.partitions import Partition
from include.settings import REPORTS
from include.specification import Pipeline, Source
from include.store import ObjectStore
from include.tables import PARTITION, Lake, with_partition
from include.training import TrainingSet

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
    lake: Lake, pipeline: Pipeline, source: str, wanted: Sequence[Partition], origin: Origin
) -> TableReference:
    """Copy landed files of partitions into the raw table of a source, all in one commit.

    Raises:
        SourceError: If a file is missing, empty, unreadable or of another shape.
    """
    table = raw_table(source)
    expected = _landed_schema(lake, table)
    batches = []
    for partition in wanted:
        landed = read_landed(
            lake.settings, source, pipeline.sources[source], partition, expected_schema=expected
        )
        for warning in landed.warnings:
            _log.warning("%s", warning)
        expected = landed.table.schema
        batches.append(with_partition(landed.table, str(partition)))
    names = [str(partition) for partition in wanted]
    return lake.write(table, pa.concat_tables(batches), partitions=names, origin=origin)


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
    return _validate(lake, pipeline, features.TABLE, computed, partition, origin, publish=True)


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
    report = quality.validate(
        rows,
        quality.load_suite(pipeline.features.suite),
        source="training_set",
        partition=name,
    )
    folder = data_docs_uri(pipeline.name, name, "training_set").rsplit("/", 1)[0]
    page = quality.publish_data_docs(ObjectStore(lake.settings), report, folder)
    quality.enforce(report, on_failure="fail", max_quarantined=0.0, data_docs=page)
    return report.summary()


def complete_history(
    spark: Any, lake: Lake, pipeline: Pipeline, until: Partition, origin: Origin
) -> tuple[str, ...]:
    """Ingest, validate and compute whatever was landed up to a partition and is missing so far.

    Returns:
        Names of the partitions whose features were computed.

    Raises:
        QualityError: If a batch of the history is not fit for use.
    """
    store = ObjectStore(lake.settings)
    label = pipeline.label_source
    known = set(lake.partitions(LABELS))
    _prepare_source(lake, pipeline, label, _landed(store, pipeline, label, until, known), origin)
    computed = set(lake.partitions(features.TABLE))
    missing = _landed(store, pipeline, pipeline.feature_sources[0], until, computed)
    if not missing:
        return ()
    for source in pipeline.feature_sources:
        _prepare_source(lake, pipeline, source, missing, origin)
    sources = {name: lake.reference(raw_table(name)) for name in pipeline.feature_sources}
    names = [str(partition) for partition in missing]
    reference = features.compute(spark, lake, pipeline, sources, names, origin)
    for partition in missing:
        _validate(lake, pipeline, features.TABLE, reference, partition, origin, publish=False)
    return tuple(names)


def _prepare_source(
    lake: Lake, pipeline: Pipeline, source: str, wanted: Sequence[Partition], origin: Origin
) -> None:
    if not wanted:
        return
    reference = ingest(lake, pipeline, source, wanted, origin)
    for partition in wanted:
        _validate(lake, pipeline, source, reference, partition, origin, publish=False)


def _landed(
    store: ObjectStore, pipeline: Pipeline, source: str, until: Partition, held: set[str]
) -> list[Partition]:
    """List the partitions that have landed by their folders, without those already held."""
    before, _, after = pipeline.sources[source].uri.partition("{partition}")
    # Other sources may lie below the same folder: s3://landing/{partition}/loans/.
    folder = re.compile(f"{re.escape(before)}([^/]+?){re.escape(after.rstrip('/'))}/")
    found = set()
    for item in store.list(before.rpartition("/")[0]):
        match = folder.match(item.uri)
        if match is None:
            continue
        partition = partitions.parse(match[1], pipeline.partition)
        if partition <= until and str(partition) not in held:
            found.add(partition)
    return sorted(found)


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
    suite_name, on_failure, limit = _rules(pipeline, dataset)
    report = quality.validate(rows, quality.load_suite(suite_name), source=dataset, partition=name)
    page = None
    if publish:
        folder = data_docs_uri(pipeline.name, name, dataset).rsplit("/", 1)[0]
        page = quality.publish_data_docs(ObjectStore(lake.settings), report, folder)
    quality.enforce(report, on_failure=on_failure, max_quarantined=limit, data_docs=page)
    kept, quarantined = quality.split(rows, report)
    written = origin.reading(batch)
    lake.write(
        quarantine_table(dataset),
        with_partition(quarantined, name),
        partitions=[name],
        origin=written,
    )
    if dataset == pipeline.label_source:
        _write_labels(lake, pipeline, kept.to_pandas(), partition, written)
    if quarantined.num_rows:
        reference = lake.write(
            batch.table, with_partition(kept, name), partitions=[name], origin=written
        )
    else:
        reference = TableReference(lake.pipeline, batch.table, batch.version, name, kept.num_rows)
    return Validated(reference, quarantined.num_rows, page, report.summary())


def _rules(pipeline: Pipeline, dataset: str) -> tuple[str, str, float]:
    if dataset == features.TABLE:
        return pipeline.features.suite, "quarantine", pipeline.features.max_quarantined
    source: Source = pipeline.sources[dataset]
    return source.suite, source.on_failure, source.max_quarantined


def _write_labels(
    lake: Lake, pipeline: Pipeline, kept: pd.DataFrame, partition: Partition, origin: Origin
) -> None:
    """Write the canonical labels of a partition: entity, label, known_at."""
    columns = pipeline.labels
    known_at = kept[columns.known_at].astype("datetime64[us]")
    early = int((known_at >= pd.Timestamp(partition.end)).sum())
    if early:
        raise SourceError(
            f"source {pipeline.label_source} {partition}: {columns.known_at} must lie before the "
            f"partition closed ({partition.end:%Y-%m-%d}), got {early} rows known later. "
            "Land a label in the partition in which it became known."
        )
    labels = pd.DataFrame(
        {
            pipeline.entity: kept[pipeline.entity],
            "label": kept[columns.column].astype("int64"),
            "known_at": known_at,
        }
    )
    rows = pa.Table.from_pandas(labels, preserve_index=False)
    lake.write(
        LABELS, with_partition(rows, str(partition)), partitions=[str(partition)], origin=origin
    )


def _landed_schema(lake: Lake, table: str) -> pa.Schema | None:
    """Take the schema that a source had so far; None before the first batch."""
    if not lake.exists(table):
        return None
    held = pa.schema(lake.open(table).schema().to_arrow())
    return pa.schema([field for field in held if field.name != PARTITION])
