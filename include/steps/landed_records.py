"""What commits tell of landed files, kept true while those change without being corrected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from include.calendar.partitions import parse
from include.features.labels import TABLE as LABELS
from include.ingestion.landed_batch import is_picked
from include.ingestion.landed_changes import LandedChanges
from include.ingestion.landed_digests import (
    LandedDigest,
    digest_landed,
    digest_list,
    files_by_partition,
)
from include.ingestion.landed_objects import files_at
from include.specification.pipeline import Pipeline
from include.steps.preparation import landed_schema, raw_table, read_batch
from include.storage.connections import Connections
from include.storage.lake_tables import Lake
from include.storage.lineage_records import PartitionCommits, written
from include.storage.object_store import ObjectStore
from include.storage.row_removal import mend_log


class LandedRecords:
    """Lets the commits tell of landed files as they are after a change.

    What was there before is kept in an object until that is done: who is killed finds it.

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
        self.before: dict[str, dict[str, LandedDigest]] = {}

    def begin(self, changing: Mapping[str, Sequence[str]]) -> None:
        """Keep what lies there, unless somebody who was killed did.

        Args:
            changing: By source whose files are going to change, the partitions whose rows are.
        """
        if not self.store.exists(self.uri):
            told = {
                source: {
                    partition: digest.to_dict()
                    for partition, digest in self._look(source, partitions).items()
                }
                for source, partitions in changing.items()
            }
            self.store.write(self.uri, json.dumps(told).encode(), "application/json")
        held = json.loads(self.store.read(self.uri))
        self.before = {
            source: {partition: LandedDigest(**digest) for partition, digest in told.items()}
            for source, told in held.items()
        }

    def finish(self) -> None:
        """Tell of what lies there now."""
        for source, before in self.before.items():
            picked = [name for name, digest in before.items() if digest.rows is not None]
            changes = LandedChanges(before, self._look(source, picked))
            mend_log(self.lake, raw_table(source), changes.told)
            if source == self.pipeline.label_source:
                mend_log(self.lake, LABELS, changes.told)
        self.store.delete(self.uri)

    def _look(self, source: str, picked: Sequence[str]) -> dict[str, LandedDigest]:
        """Digest what lies there of each partition that was ingested.

        Args:
            source: Name of the source.
            picked: Of a place that holds every partition, those whose rows are looked at.
        """
        definition = self.pipeline.sources[source]
        commits = PartitionCommits(written(self.lake, raw_table(source)))
        names, subject = list(commits.partitions), f"source {source}"
        if definition.is_partitioned:
            files = files_by_partition(self.store, definition, names, subject)
            return {name: LandedDigest(files=held) for name, held in files.items()}
        if not is_picked(definition):
            return {}
        place = digest_list(
            files_at(self.store, str(definition.uri), subject).files, str(definition.uri)
        )
        found = {name: LandedDigest(place=place) for name in names}
        for name in picked:
            partition = parse(name, self.pipeline.partition)
            batch = read_batch(
                *(self.lake, self.pipeline, source, partition),
                *(landed_schema(self.lake, source), self.connections),
            )
            digest = digest_landed(definition, partition, batch, numbered=False)
            assert digest is not None  # a place that is picked from has one
            found[name] = digest
        return found
