"""Which landed partitions are not any more what was ingested: changed, come late, or taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from include.calendar.partitions import parse
from include.errors import SourceError
from include.ingestion.landed_digests import (
    LandedDigest,
    difference,
    digest_landed,
    digest_list,
    files_by_partition,
    from_details,
)
from include.ingestion.landed_objects import list_files
from include.specification.pipeline import Pipeline
from include.steps.preparation import landed_schema, read_batch
from include.storage.connections import Connections, from_environment
from include.storage.lake_tables import Lake
from include.storage.lineage_records import PartitionCommits
from include.storage.object_store import ObjectStore


@dataclass(frozen=True)
class Correction:
    """A partition of a source that is not any more what was ingested.

    Args:
        source: Name of the source.
        partition: Name of the partition.
        what: What is different, for people.
        content: What makes it another one now.
    """

    source: str
    partition: str
    what: str
    content: object


def find_corrections(
    lake: Lake,
    pipeline: Pipeline,
    ingested: Mapping[str, PartitionCommits],
    *,
    read_rows: bool = True,
    connections: Connections = from_environment,
) -> list[Correction]:
    """List the corrections of all sources, by source and partition.

    Partitions that an earlier release ingested are not known, and not told of.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        ingested: By source, the commits of its raw table.
        read_rows: Whether to read again what a query, or a place that changed, has of every
            partition that was ingested; else only folders of partitions are looked at.
        connections: Resolves the connections of SQL sources.

    Raises:
        SourceError: If a source cannot be listed.
        SettingsError: If the connection of a SQL source is missing or wrong.
        UnavailableError: If a database or the store does not answer.
    """
    found: list[Correction] = []
    for source, commits in ingested.items():
        held = {name: from_details(commits.at(name).details, name) for name in commits.partitions}
        known = {name: digest for name, digest in held.items() if digest is not None}
        if pipeline.sources[source].is_partitioned:
            found += _changed_files(lake, pipeline, source, known)
        elif read_rows:
            found += _changed_rows(lake, pipeline, source, known, connections)
    return found


def _changed_files(
    lake: Lake, pipeline: Pipeline, source: str, known: Mapping[str, LandedDigest]
) -> Iterator[Correction]:
    definition, subject = pipeline.sources[source], f"source {source}"
    if not known:
        return
    now = files_by_partition(ObjectStore(lake.settings), definition, list(known), subject)
    for name, digest in known.items():
        if what := difference(digest.files or {}, now[name]):
            yield Correction(source, name, what, now[name])


def _changed_rows(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    known: Mapping[str, LandedDigest],
    connections: Connections,
) -> Iterator[Correction]:
    definition, place = pipeline.sources[source], None
    if definition.query is None and known:
        uri = str(definition.uri)
        files = list_files(lake.settings, uri, definition.format, f"source {source}").files
        place = digest_list(files, uri)
    expected = landed_schema(lake, source)
    for name, digest in known.items():
        if place is not None and digest.place == place:
            continue
        partition = parse(name, pipeline.partition)
        try:
            batch = read_batch(lake, pipeline, source, partition, expected, connections)
        except SourceError as error:
            what = f"cannot be ingested any more: {error}"
            yield Correction(source, name, what, str(error))
            continue
        now = digest_landed(definition, partition, batch)
        if now is not None and now.rows != digest.rows:
            before, after = (str(item.rows).partition("-")[0] for item in (digest, now))
            what = "rows changed" if before == after else f"{after} rows instead of {before}"
            yield Correction(source, name, what, now.content)
