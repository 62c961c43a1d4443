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
from include.ingestion.landed_digests import (
    LandedDigest,
    digest_landed,
    from_details,
    to_details,
)
from include.quality import data_docs, quarantine, suites, validation
from include.scoring.reprocessing_requests import open_request
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import ROW_ID, Source
from include.steps.label_contradictions import with_contradictions
from include.steps.repairs import apply_repairs, repair_draft
from include.steps.validated_tables import Good, write_validated
from include.storage import drafts
from include.storage.connections import Connections, from_environment
from include.storage.data_files import DataFile, write_files
from include.storage.drafts import Draft, Manifest
from include.storage.lake_tables import PARTITION, Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.lineage_records import PartitionCommits, written
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
) -> Draft:
    """Copy what landed for partitions below the raw table of a source, as one draft.

    Rows that a person has repaired are copied as they were repaired.

    A run that is repeated for a request keeps what the table holds, unless it was corrected.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        source: Name of the source.
        wanted: Partitions to copy.
        origin: Who writes.
        connections: Resolves the connection of a SQL source.
        sample: Copy at most so many rows of a partition, evenly spread; all of them if None.

    Raises:
        SourceError: If a file is missing, empty, unreadable or of another shape, lacks a column
            that the pipeline file names, or a key is of another kind than in the source that it
            is joined with.
    """
    table = pipeline.raw_table(source)
    if (kept := _to_keep(lake, pipeline, source, wanted, origin)) is not None:
        return kept
    expected = landed_schema(lake, pipeline, source)
    others = {
        other: schema
        for other in pipeline.sources
        if other != source and (schema := lake.schema(pipeline.raw_table(other))) is not None
    }
    batches, digests = [], {}
    for partition in wanted:
        landed = read_batch(lake, pipeline, source, partition, expected, connections)
        for warning in landed.warnings:
            _log.warning("%s", warning)
        subject = f"source {source} {partition}"
        check_named(pipeline, source, subject, landed.table)
        check_keys(pipeline, source, subject, landed.table, others)
        expected = landed.table.schema
        numbered = is_numbered(pipeline, source)
        digest = digest_landed(pipeline.sources[source], partition, landed, numbered=numbered)
        rows, repairs = apply_repairs(
            *(lake, pipeline, source, str(partition), landed.table, origin)
        )
        if digest is not None or repairs is not None:
            digests[str(partition)] = replace(digest or LandedDigest(), repairs=repairs)
        rows = _spread(rows, sample)
        batches.append(with_partition(rows, str(partition)))
    names = [str(partition) for partition in wanted]
    return drafts.write(
        lake,
        table,
        pa.concat_tables(batches),
        partitions=names,
        origin=origin,
        details=to_details(digests),
    )


def _to_keep(
    lake: Lake, pipeline: Pipeline, source: str, wanted: Sequence[Partition], origin: Origin
) -> Draft | None:
    """Refer to what the table holds of a partition, if a run of a request is to keep it."""
    request, (partition, *others) = open_request(lake, origin), wanted
    if request is None or others or request.is_corrected(source, str(partition)):
        return None
    table = pipeline.raw_table(source)
    if str(partition) not in PartitionCommits(written(lake, table)):
        return None
    _log.info("Keeping %s %s as it is", source, partition)
    rows = lake.row_counts(table).get(str(partition), 0)
    return Draft(lake.pipeline, table, str(partition), rows, "")


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
        row_id=is_numbered(pipeline, source),
    )


def is_numbered(pipeline: Pipeline, source: str) -> bool:
    """Tell whether rows of a source have no key but the place where they lie."""
    return pipeline.entity == ROW_ID and source == pipeline.primary_source


def validate_source(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    ingested: Draft,
    partition: Partition,
    origin: Origin,
) -> Validated:
    """Validate what was ingested and write the good rows; of labels, also as ``labels``.

    Running it again on the same draft gives the same, with the rows that were repaired since.
    """
    if not ingested.uri:
        _log.info("Kept as it is, so not validated again; clear the ingesting task to do that")
        reference = lake.latest(TableReference(lake.pipeline, ingested.table, 0, str(partition), 0))
        moved = lake.row_counts(pipeline.quarantine_table(source)).get(str(partition), 0)
        return Validated(reference, moved, None, {})
    return _validate_one(lake, pipeline, source, ingested, partition, origin)


def validate_features(
    lake: Lake, pipeline: Pipeline, computed: Draft, partition: Partition, origin: Origin
) -> Validated:
    """Validate computed features and write the good rows."""
    return _validate_one(lake, pipeline, feature_function.TABLE, computed, partition, origin)


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


def validate_partitions(
    lake: Lake,
    pipeline: Pipeline,
    dataset: str,
    draft: Draft,
    wanted: Sequence[Partition],
    origin: Origin,
    *,
    publish: bool,
    replacing: Mapping[str, frozenset[str]] | None = None,
) -> tuple[TableReference, list[Judged]]:
    """Judge the partitions of a draft, and write what is good of all of them.

    Rows of a source that a person has repaired since it was drafted are written as repaired.

    The table itself comes last, in one commit: what it holds was validated, and its quarantine
    and its labels are written. Whoever is killed before it has left the table as it was. So has
    whoever finds in one of them what is not ``replacing``, its files of before: another run came
    first, which writes all of them.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        dataset: Name of the source, or ``features``.
        draft: What is judged.
        wanted: Its partitions.
        origin: Who writes.
        publish: Whether the Data Docs are published.
        replacing: By table, the files that these partitions consisted of when the draft was begun.

    Returns:
        (the new version of the table, what became of each partition).

    Raises:
        SourceError: If nobody can tell which rows of the draft were repaired.
        UnavailableError: If another run wrote one of the tables since.
    """
    manifest = drafts.load(lake, draft)
    origin = origin.reading(*manifest.inputs)
    judged = [
        _judge(lake, pipeline, dataset, draft, manifest, partition, publish=publish)
        for partition in wanted
    ]
    digests = {
        str(partition): item.digest
        for partition, item in zip(wanted, judged, strict=True)
        if item.digest is not None
    }
    return write_validated(
        *(lake, pipeline, dataset, draft.table, [str(partition) for partition in wanted], origin),
        Good(
            files=[file for item in judged for file in item.files],
            schema=manifest.schema,
            details={**manifest.details, **to_details(digests)},
            quarantined=pa.concat_tables([item.quarantined for item in judged]),
            labels=pa.concat_tables([item.labels for item in judged]),
        ),
        replacing,
    ), judged


@dataclass(frozen=True)
class Judged:
    """One partition of a draft: the files of its good rows, and what goes with them."""

    files: Sequence[DataFile]
    digest: LandedDigest | None
    quarantined: pa.Table
    labels: pa.Table
    data_docs: str | None
    summary: Mapping[str, Any]


def _judge(
    lake: Lake,
    pipeline: Pipeline,
    dataset: str,
    draft: Draft,
    manifest: Manifest,
    partition: Partition,
    *,
    publish: bool,
) -> Judged:
    name, files = str(partition), manifest.of(str(partition))
    drafted = drafts.read(lake, draft, manifest, name)
    digest = from_details(manifest.details, name)
    rows, digest = _repaired(lake, pipeline, dataset, name, drafted, digest)
    kept = rows
    quarantined, page, summary = quarantine.QUARANTINE_SCHEMA.empty_table(), None, {}
    if rows.num_rows or not _may_be_empty(pipeline, dataset):
        suite_name, on_failure, limit = _rules(pipeline, dataset)
        report = validation.validate(
            rows, suites.load_suite(suite_name), source=dataset, partition=name
        )
        if dataset == pipeline.label_source and not report.stopping:
            report = with_contradictions(pipeline, rows, report, partition)
        if publish:
            folder = data_docs_uri(pipeline.name, name, dataset).rsplit("/", 1)[0]
            page = data_docs.publish_data_docs(ObjectStore(lake.settings), report, folder)
        quarantine.enforce(report, on_failure=on_failure, max_quarantined=limit, data_docs=page)
        kept, quarantined = quarantine.split(rows, report)
        summary = report.summary()
    if quarantined.num_rows or rows is not drafted:
        files = write_files(lake.settings, lake.uri(draft.table), with_partition(kept, name))
    brought = pa.table({})
    if dataset == pipeline.label_source:
        brought = with_partition(labels.derive(pipeline, kept, partition), name)
    return Judged(files, digest, with_partition(quarantined, name), brought, page, summary)


def _repaired(
    lake: Lake,
    pipeline: Pipeline,
    dataset: str,
    name: str,
    drafted: pa.Table,
    digest: LandedDigest | None,
) -> tuple[pa.Table, LandedDigest | None]:
    """Repair what was drafted by what was released since; features are never repaired."""
    if dataset == feature_function.TABLE:
        return drafted, digest
    earlier = digest or LandedDigest()
    rows, repairs = repair_draft(lake, pipeline, dataset, name, drafted, earlier.repairs)
    return rows, digest if rows is drafted else replace(earlier, repairs=repairs)


def _validate_one(
    lake: Lake, pipeline: Pipeline, dataset: str, draft: Draft, partition: Partition, origin: Origin
) -> Validated:
    reference, (judged,) = validate_partitions(
        lake, pipeline, dataset, draft, [partition], origin, publish=True
    )
    moved = judged.quarantined.num_rows
    return Validated(reference, moved, judged.data_docs, judged.summary)


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


def landed_schema(lake: Lake, pipeline: Pipeline, source: str) -> pa.Schema | None:
    """Take the schema that a source had so far; None before the first batch that was kept."""
    table = pipeline.raw_table(source)
    held = lake.schema(table) if lake.partitions(table) else None
    return None if held is None else pa.schema([f for f in held if f.name != PARTITION])
