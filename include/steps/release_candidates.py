"""Rows of quarantine that a person wants released: what there is, and which of them pass now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from include.calendar.partitions import Partition
from include.errors import QualityError, SourceError
from include.features.feature_function import TABLE as FEATURES
from include.ingestion.landed_batch import FILE, ROW, UNPARSED
from include.ingestion.landed_digests import LandedDigest, from_details
from include.ingestion.landed_files import Slice
from include.quality import quarantine, suites, validation
from include.quality.report import ValidationReport
from include.quality.row_texts import typed_rows
from include.specification.pipeline import Pipeline
from include.steps.label_contradictions import with_contradictions
from include.steps.quarantined_rows import Cells, QuarantinedRow, demand_dataset, quarantined_rows
from include.steps.repairs import with_place
from include.storage.data_files import PARTITION
from include.storage.lake_tables import Lake
from include.storage.lineage import TableReference
from include.storage.lineage_records import PartitionCommits, written
from include.wording import some


@dataclass(frozen=True)
class Held:
    """What the tables hold of a partition of a source, at the versions that are released from.

    Args:
        source: Name of the source.
        partition: The partition.
        raw: Its table, at the version.
        moved: Its quarantine, at the version.
        files: Files of its table.
        rows: The rows that passed, without ``partition``.
        quarantined: The rows in quarantine.
        digest: What it was ingested from; None if nobody knows.
    """

    source: str
    partition: Partition
    raw: TableReference
    moved: TableReference
    files: frozenset[str]
    rows: pa.Table
    quarantined: Sequence[QuarantinedRow]
    digest: LandedDigest | None

    @property
    def subject(self) -> str:
        """Name it in messages."""
        return f"source {self.source} {self.partition}"


@dataclass(frozen=True)
class Judged:
    """What a suite says of rows that are to be released.

    Args:
        passed: Positions in quarantine of those that pass.
        rows: Those rows, as the table holds them.
        failed: By id of the others, what they fail; without values.
    """

    passed: Sequence[int]
    rows: pa.Table
    failed: Mapping[str, str]


def hold(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    partition: Partition,
    versions: tuple[int, int] | None,
) -> Held:
    """Read what there is of a partition: now, or at versions of its table and its quarantine."""
    demand_dataset(pipeline, source)
    if source == FEATURES:
        raise SourceError(
            f"pipeline {pipeline.name}: rows to release must be rows of a source, got features, "
            "which are computed. Repair the rows that they are computed from, or the feature "
            "function, and clear the run or reprocess."
        )
    name = str(partition)
    tables = (pipeline.raw_table(source), pipeline.quarantine_table(source))
    if not all(lake.exists(table) for table in tables):
        raise SourceError(
            f"source {source} {name}: must have rows in quarantine, got none. Look with "
            f"`./relevo quarantine {pipeline.name}`."
        )
    # The table comes last when they are written, so it is looked at first.
    raw, moved = versions or tuple(lake.open(table).version() for table in tables)
    commits, others = (PartitionCommits(written(lake, table)) for table in tables)
    commit, other = commits.until(name, raw), others.until(name, moved)
    if commit is None or other is None:
        raise SourceError(
            f"source {source} {name}: must have been ingested, got no such partition. Look with "
            f"`./relevo quarantine {pipeline.name}`."
        )
    quarantined = quarantined_rows(lake, tables[1], name, moved)
    # Who finds nothing in quarantine and moves nothing there commits nothing.
    if quarantined and (commit.dag_id, commit.dag_run_id) != (other.dag_id, other.dag_run_id):
        raise SourceError(
            f"source {source} {name}: table and quarantine must be of one run, got "
            f"{commit.dag_run_id} and {other.dag_run_id}. Let the run that is half done end, or "
            "clear it."
        )
    rows = lake.read(tables[0], partitions=[name], version=raw).drop_columns([PARTITION])
    return Held(
        source=source,
        partition=partition,
        raw=TableReference(lake.pipeline, tables[0], raw, name, rows.num_rows),
        moved=TableReference(lake.pipeline, tables[1], moved, name, len(quarantined)),
        files=files_at(lake, tables[0], name, raw),
        rows=rows,
        quarantined=quarantined,
        digest=from_details(commit.details, name),
    )


def demand_readable(pipeline: Pipeline, held: Held, wanted: Mapping[str, Cells]) -> None:
    """Refuse rows that are not there, and cells that cannot be what they are repaired to."""
    by_id = {row.id: row for row in held.quarantined}
    if unknown := [row_id for row_id in wanted if row_id not in by_id]:
        raise SourceError(
            f"{held.subject}: rows to release must be in quarantine, got {some(unknown)}. List "
            f"them with `./relevo quarantine {pipeline.name}`."
        )
    known = set(held.rows.column_names)
    rows = [by_id[row_id] for row_id in wanted]
    cells = list(wanted.values())
    typed = typed_rows([row.row for row in rows], cells, held.rows.schema)
    for row, given, unread in zip(rows, cells, typed[UNPARSED].to_pylist(), strict=True):
        where = f"{held.subject}: row {row.id}"
        if strange := sorted(given.keys() - known):
            raise SourceError(
                f"{where} must have the columns of the table, got {some(strange)}. Take them out."
            )
        if pipeline.entity in given:
            raise SourceError(
                f"{where}, column {pipeline.entity}: the entity must stay as it landed, got "
                "another one. Correct what landed, and reprocess."
            )
        if wrong := sorted(json.loads(unread or "{}").keys() & given.keys()):
            kind = held.rows.schema.field(wrong[0]).type
            raise SourceError(
                f"{where}, column {wrong[0]}: must be {kind}, got {given[wrong[0]]!r}. Correct "
                "the cell; numbers have a point, times are ISO 8601."
            )
    for time in _times(pipeline, held.source, typed.schema):
        keep = Slice(time, held.partition).keep(held.subject, typed).to_pylist()
        if not all(keep):
            raise SourceError(
                f"{held.subject}: row {rows[keep.index(False)].id}, column {time}: must lie in the "
                "partition, got another time. Give it one there, or correct what landed, and "
                "reprocess."
            )


def _times(pipeline: Pipeline, source: str, schema: pa.Schema) -> list[str]:
    """Name the columns by which rows of a source lie in a partition."""
    of_events = pipeline.event_time if source == pipeline.primary_source else None
    wanted = (pipeline.sources[source].time, of_events)
    return [
        field.name for field in schema if field.name in wanted and pa.types.is_temporal(field.type)
    ]


def judge(pipeline: Pipeline, held: Held, wanted: Mapping[str, Cells]) -> Judged:
    """Run the suite on the whole partition, with some rows of quarantine repaired.

    Rows that fail count as they landed for the others, until nothing fails that is left.
    """
    own = held.rows.schema
    schema = own if UNPARSED in own.names else own.append(pa.field(UNPARSED, pa.string()))
    rows = held.rows
    if UNPARSED not in own.names:
        rows = rows.append_column(UNPARSED, pa.nulls(rows.num_rows, pa.string()))
    places = pa.table(
        {
            FILE: pa.array([row.file for row in held.quarantined], own.field(FILE).type),
            ROW: pa.array([row.position for row in held.quarantined], own.field(ROW).type),
        }
    )
    texts, left, failed = [row.row for row in held.quarantined], dict(wanted), dict[str, str]()
    while True:
        given = [left.get(row.id, {}) for row in held.quarantined]
        typed = with_place(typed_rows(texts, given, own), places, schema)
        report = _report(pipeline, held, pa.concat_tables([rows, typed]))
        lost = {
            row.id: _reasons(report.reasons[at])
            for at, row in enumerate(held.quarantined, rows.num_rows)
            if row.id in left and at in report.reasons
        }
        failed |= lost
        left = {row_id: cells for row_id, cells in left.items() if row_id not in lost}
        if not lost:
            break
    wrong = [at for at in report.reasons if at < rows.num_rows]
    if wrong and left:
        raise QualityError(
            f"{held.subject}: rows that the table holds must pass suite {report.suite} of now, got "
            f"{len(wrong)} that do not: {_reasons(report.reasons[wrong[0]])}. Clear the run that "
            "ingests them, with downstream, and release afterwards."
        )
    passed = [at for at, row in enumerate(held.quarantined) if row.id in left]
    good = typed.take(pa.array(passed, pa.int64()))
    return Judged(passed, good.select(own.names), failed)


def _report(pipeline: Pipeline, held: Held, rows: pa.Table) -> ValidationReport:
    suite = suites.load_suite(suite_of(pipeline, held))
    name = str(held.partition)
    report = validation.validate(rows, suite, source=held.source, partition=name)
    if held.source == pipeline.label_source and not report.stopping:
        report = with_contradictions(pipeline, rows, report, held.partition)
    quarantine.enforce(report, on_failure="quarantine", max_quarantined=1.0)
    return report


def suite_of(pipeline: Pipeline, held: Held) -> str:
    """Name the suite of the source."""
    return pipeline.sources[held.source].suite


def files_at(lake: Lake, table: str, name: str, version: int) -> frozenset[str]:
    """Name the files of a partition at a version."""
    reference = TableReference(lake.pipeline, table, version, name, 0)
    return frozenset(file.path for file in lake.files(reference))


def _reasons(texts: Iterable[str]) -> str:
    """Name the rules that a row breaks, without its values."""
    return "; ".join(dict.fromkeys(text.partition(", got ")[0] for text in texts))
