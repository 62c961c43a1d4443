"""What commits tell of landed files, kept true while those change without being corrected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from include.calendar.partitions import parse
from include.ingestion.landed_batch import is_picked
from include.ingestion.landed_changes import LandedChanges
from include.ingestion.landed_digests import (
    LandedDigest,
    digest_landed,
    digest_tags,
    shortened,
    tags_of_all,
)
from include.ingestion.landed_objects import files_at
from include.specification.pipeline import Pipeline
from include.steps.preparation import landed_schema, read_batch
from include.storage.connections import Connections
from include.storage.lake_tables import Lake
from include.storage.lineage_records import PartitionCommits, written
from include.storage.object_store import ObjectStore
from include.storage.row_removal import mend_log

# Where a source has one place for all partitions, in place of the name of one.
_ALL = ""


class LandedRecords:
    """Lets the commits tell of landed files as they are after a change of our own.

    What was there before, and what is written instead, is kept in an object until that is done:
    who is killed finds it. A file that somebody else changed meanwhile is a correction.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        uri: Address of the object.
        connections: Resolves the connections of SQL sources.
    """

    def __init__(self, lake: Lake, pipeline: Pipeline, uri: str, connections: Connections) -> None:
        self.lake, self.pipeline, self.uri = lake, pipeline, uri
        self.connections = connections
        self.store = ObjectStore(lake.settings)
        # By source: tags of files by place, digests of rows by partition, what was written.
        self.held: dict[str, dict[str, Any]] = {}

    def begin(
        self,
        made: Mapping[str, Mapping[str, str | None]],
        partitions: Mapping[str, Sequence[str]],
        change: Callable[[pa.Table], pa.Table],
    ) -> None:
        """Keep what lies there and what is going to, unless somebody who was killed did.

        Args:
            made: By source, of the addresses of files that are going to change, the SHA-256 of
                what is written instead; None for those that are deleted.
            partitions: By source, the partitions whose rows are.
            change: From the rows of a batch to what will be left of them.
        """
        if self.store.exists(self.uri):
            self.held = json.loads(self.store.read(self.uri))
            return
        for source, files in made.items():
            self.held[source] = {
                "places": self._places(source, list(files)),
                "rows": self._rows(source, partitions.get(source, ()), change),
                "made": dict(files),
            }
        self.store.write(self.uri, json.dumps(self.held).encode(), "application/json")

    def finish(self) -> None:
        """Tell of what was written."""
        for source, told in self.held.items():
            before, after = {}, {}
            table = self.pipeline.raw_table(source)
            tags = {place: self._after(source, place, told) for place in told["places"]}
            if self.pipeline.sources[source].is_partitioned:
                for name, now in tags.items():
                    before[name] = LandedDigest(files=shortened(told["places"][name]))
                    after[name] = LandedDigest(files=shortened(now))
            else:
                first, last = digest_tags(told["places"][_ALL]), digest_tags(tags[_ALL])
                for name in PartitionCommits(
                    written(self.lake, self.pipeline.raw_table(source))
                ).partitions:
                    rows = told["rows"].get(name, (None, None))
                    before[name] = LandedDigest(place=first, rows=rows[0])
                    after[name] = LandedDigest(place=last, rows=rows[1])
            changes = LandedChanges(before, after)
            mend_log(self.lake, table, changes.told)
            if source == self.pipeline.label_source:
                mend_log(self.lake, self.pipeline.labels_table, changes.told)
        self.store.delete(self.uri)

    def _location(self, source: str, place: str) -> str:
        definition = self.pipeline.sources[source]
        return definition.location(place) if definition.is_partitioned else str(definition.uri)

    def _places(self, source: str, addresses: Sequence[str]) -> dict[str, dict[str, str]]:
        """List the files of each place in which one changes, by their tags."""
        commits = PartitionCommits(written(self.lake, self.pipeline.raw_table(source)))
        is_partitioned = self.pipeline.sources[source].is_partitioned
        found = {}
        for name in commits.partitions if is_partitioned else (_ALL,):
            uri = self._location(source, name)
            inside = f"{uri.rstrip('/')}/"
            if any(address == uri or address.startswith(inside) for address in addresses):
                files = files_at(self.store, uri, f"source {source}").files
                found[name] = tags_of_all(files, uri)
        return found

    def _rows(
        self, source: str, partitions: Sequence[str], change: Callable[[pa.Table], pa.Table]
    ) -> dict[str, tuple[str | None, str | None]]:
        """Digest the rows of partitions that are picked from a place, before and after."""
        definition, found = self.pipeline.sources[source], {}
        if definition.is_partitioned or not is_picked(definition):
            return {}
        for name in partitions:
            partition = parse(name, self.pipeline.partition)
            expected = landed_schema(self.lake, self.pipeline, source)
            batch = read_batch(
                self.lake, self.pipeline, source, partition, expected, self.connections
            )
            left = type(batch)(change(batch.table), batch.files, batch.warnings)
            digests = [
                digest_landed(definition, partition, item, numbered=False) for item in (batch, left)
            ]
            first, last = (digest.rows if digest else None for digest in digests)
            found[name] = (first, last)
        return found

    def _after(self, source: str, place: str, told: Mapping[str, Any]) -> dict[str, str]:
        """Tell the tags of a place with those of the files that were written here."""
        tags, uri = dict(told["places"][place]), self._location(source, place)
        for address, made in told["made"].items():
            name = address.removeprefix(f"{uri.rstrip('/')}/")
            name = address.rpartition("/")[2] if address == uri else name
            if name not in tags:
                continue
            found = self.store.stat(address)
            if found is None and made is None:
                del tags[name]
            elif found is not None and self._digest(address) == made:
                tags[name] = f"{found.size}-{found.etag}"
        return tags

    def _digest(self, uri: str) -> str:
        return hashlib.sha256(self.store.read(uri)).hexdigest()
