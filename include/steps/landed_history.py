"""Which partitions of the past cannot be ingested any more as they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.calendar.partitions import Partition
from include.ingestion.landed_batch import is_picked
from include.ingestion.landed_objects import files_at
from include.ingestion.landed_partitions import landed_partitions
from include.specification.generations import raw_table
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import Source
from include.steps.history_completion import absent_of_source
from include.steps.stored_generations import stored_generations
from include.storage.connections import Connections
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore


def gone(
    lake: Lake,
    pipeline: Pipeline,
    features: Sequence[Partition],
    labels: Sequence[Partition],
    connections: Connections,
) -> dict[str, list[Partition]]:
    """Name by source what a generation could not be filled with any more as it was.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file, of the generation that is to hold them.
        features: Partitions whose features are wanted.
        labels: Partitions whose labels are wanted.
        connections: Resolves the connections of SQL sources.

    Returns:
        Partitions that have not landed any more; of a source that every run reads whole, those
        that another generation ingested before it changed. Sources without any are left out.
    """
    wanted = {source: {*features} for source in pipeline.feature_sources}
    wanted.setdefault(pipeline.label_source, set()).update(labels)
    found = {
        source: _gone_of(lake, pipeline, source, sorted(names), connections)
        for source, names in wanted.items()
    }
    return {source: names for source, names in found.items() if names}


def _gone_of(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    wanted: Sequence[Partition],
    connections: Connections,
) -> list[Partition]:
    """Name the partitions that would have to be ingested, and are not there as they were."""
    absent = absent_of_source(lake, pipeline, source, wanted) if wanted else []
    if not absent:
        return []
    if is_read_whole(pipeline, source):
        return _changed_since(lake, pipeline, source, absent)
    there = set(landed_partitions(lake.settings, pipeline, source, max(absent), connections))
    return [item for item in absent if item not in there]


def is_read_whole(pipeline: Pipeline, source: str) -> bool:
    """Tell whether every run reads whatever a source holds then, so that it has no past."""
    definition = pipeline.sources[source]
    knows_when = definition.labels is not None and definition.labels.known_at is not None
    return not (definition.is_partitioned or is_picked(definition) or knows_when)


def _changed_since(
    lake: Lake, pipeline: Pipeline, source: str, absent: Sequence[Partition]
) -> list[Partition]:
    """Name the partitions that another generation ingested before the latest change."""
    changed = _last_change(lake, pipeline.sources[source])
    ingested: dict[str, datetime] = {}
    for table in stored_generations(lake, raw_table(source)):
        for name, at in _ingested(lake, table).items():
            ingested[name] = min(at, ingested.get(name, at))
    held = [item for item in absent if str(item) in ingested]
    return [item for item in held if changed is None or changed > ingested[str(item)]]


def _last_change(lake: Lake, definition: Source) -> datetime | None:
    """Tell when the files of a source changed last; of a query nobody knows."""
    if definition.uri is None:
        return None
    found = files_at(ObjectStore(lake.settings), definition.uri, f"place {definition.uri}").files
    return max((item.modified for item in found), default=None)


def _ingested(lake: Lake, table: str) -> dict[str, datetime]:
    """Tell of each partition of a table when the first of its files was written."""
    if not lake.exists(table):  # but for files of a draft
        return {}
    listed = {item.uri: item.modified for item in ObjectStore(lake.settings).list(lake.uri(table))}
    found: dict[str, datetime] = {}
    for file in lake.files(lake.reference(table)):
        at = listed[f"{lake.uri(table)}/{file.path}"]
        found[file.partition] = min(at, found.get(file.partition, at))
    return found
