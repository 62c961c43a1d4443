"""Which landed partitions are not any more what was ingested: changed, come late, or taken away."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from include.calendar.partitions import parse
from include.errors import SourceError, UnavailableError
from include.ingestion.landed_digests import (
    LandedDigest,
    difference,
    digest_landed,
    digest_list,
    files_by_partition,
    from_details,
)
from include.ingestion.landed_objects import files_at
from include.specification.pipeline import Pipeline
from include.steps.preparation import is_numbered, landed_schema, read_batch
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
        content: What makes it another one now; None if it cannot be ingested.
    """

    source: str
    partition: str
    what: str
    content: object

    def __str__(self) -> str:
        """Render for people."""
        return f"{self.source} {self.partition}: {self.what}"


@dataclass(frozen=True)
class Landing:
    """What is there of what was ingested.

    Args:
        corrections: By source and partition.
        expired: Partitions of which nothing is there any more, as nothing is of those before them:
            landed files that are deleted by their age are no corrections. As (source, first, last).
    """

    corrections: tuple[Correction, ...]
    expired: tuple[tuple[str, str, str], ...]


def look(
    lake: Lake,
    pipeline: Pipeline,
    ingested: Mapping[str, PartitionCommits],
    *,
    brief: bool = False,
    only: Collection[str] | None = None,
    connections: Connections = from_environment,
) -> Landing:
    """Compare what was ingested with what is there.

    Partitions that an earlier release ingested are not known, and not told of.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        ingested: By source, the commits of its raw table.
        brief: Whether only folders of partitions are looked at. Else what a query, or a place that
            changed, has of every partition that was ingested is read again.
        only: Partitions to look at; all of them if None.
        connections: Resolves the connections of SQL sources.

    Raises:
        SourceError: If a source cannot be listed.
        SettingsError: If the connection of a SQL source is missing or wrong.
        UnavailableError: If a database or the store does not answer.
    """
    found: list[Correction] = []
    expired = []
    for source, commits in ingested.items():
        held = {name: from_details(commits.at(name).details, name) for name in commits.partitions}
        in_folders = pipeline.sources[source].is_partitioned
        # Where the source was of another kind, nobody knows.
        known = {
            name: digest
            for name, digest in held.items()
            if digest is not None and digest.is_known and (digest.files is not None) == in_folders
        }
        if in_folders:
            changed, gone = _changed_files(lake, pipeline, source, known)
            found += [item for item in changed if only is None or item.partition in only]
            if gone:
                expired.append((source, gone[0], gone[-1]))
        elif not brief:
            wanted = {name: known[name] for name in known if only is None or name in only}
            found += _changed_rows(lake, pipeline, source, wanted, connections)
    return Landing(tuple(found), tuple(expired))


def _changed_files(
    lake: Lake, pipeline: Pipeline, source: str, known: Mapping[str, LandedDigest]
) -> tuple[list[Correction], list[str]]:
    """Return what changed, and the first partitions, if nothing is there of them."""
    definition, subject = pipeline.sources[source], f"source {source}"
    if not known:
        return [], []
    now = files_by_partition(ObjectStore(lake.settings), definition, list(known), subject)
    gone = list(takewhile(lambda name: not now[name], known))
    found = [
        Correction(source, name, what, now[name] or None)
        for name, digest in known.items()
        if name not in gone and (what := difference(digest.files or {}, now[name]))
    ]
    return found, gone


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
        files = files_at(ObjectStore(lake.settings), uri, f"source {source}").files
        place = digest_list(files, uri)
    expected = landed_schema(lake, pipeline, source)
    errors = 0
    for name, digest in known.items():
        if place is not None and digest.place == place:
            continue
        partition = parse(name, pipeline.partition)
        try:
            batch = read_batch(lake, pipeline, source, partition, expected, connections)
        except UnavailableError:
            raise
        except SourceError as error:
            errors += 1
            if errors == len(known) > 1:
                raise  # no partition can be read: that says nothing about any
            yield Correction(source, name, f"cannot be ingested any more: {error}", None)
            continue
        numbered = is_numbered(pipeline, source)
        now = digest_landed(definition, partition, batch, numbered=numbered)
        if now is not None and now.rows != digest.rows:
            before, after = (str(item.rows).partition("-")[0] for item in (digest, now))
            what = "rows changed" if before == after else f"{after} rows instead of {before}"
            yield Correction(source, name, what, now.content)
