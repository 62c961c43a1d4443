"""Which partitions of a source have landed."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar import partitions
from include.calendar.moments import to_moments
from include.calendar.partitions import Partition
from include.ingestion.landed_batch import read_landed
from include.ingestion.sql_source import read_time_range
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import PLACEHOLDER
from include.storage.connections import Connections
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings


def landed_partitions(
    settings: StoreSettings,
    pipeline: Pipeline,
    source: str,
    until: Partition,
    connections: Connections,
) -> list[Partition]:
    """List the partitions of a source that have landed, in time order, up to one.

    By folders, by the times of the rows where all partitions lie in one place, or, of a query,
    every partition between the first and the last time that it knows.

    Raises:
        SourceError: If the place cannot be read.
    """
    definition = pipeline.sources[source]
    if definition.is_partitioned:
        return _folders(settings, pipeline, definition.uri or "", until)
    time = definition.time
    if time is None and definition.labels and source != pipeline.primary_source:
        time = definition.labels.known_at
    if not pipeline.has_time or time is None:
        return [until]
    subject = f"source {source}: column {time}"
    if definition.query is not None:
        connection = str(definition.connection)
        ends = read_time_range(
            connections(connection),
            connection,
            definition.query,
            time,
            until,
            f"source {source}",
        )
        if None in ends:
            return []
        found = pa.chunked_array([pa.array(ends)])
    else:
        everything = definition.model_copy(update={"time": None})
        found = read_landed(settings, source, everything, until).table[time]
    moments = pc.unique(pc.floor_temporal(to_moments(found, subject), unit="hour"))
    names = {partitions.containing(moment, pipeline.partition) for moment in moments.to_pylist()}
    if definition.query is not None and names:
        names = set(partitions.span(min(names), max(names)))
    return sorted(partition for partition in names if partition <= until)


def _folders(
    settings: StoreSettings, pipeline: Pipeline, uri: str, until: Partition
) -> list[Partition]:
    before, _, after = uri.partition(PLACEHOLDER)
    # Other sources may lie below the same folder: s3://landing/{partition}/loans/.
    folder = re.compile(f"{re.escape(before)}([^/]+?){re.escape(after.rstrip('/'))}(/|$)")
    found = set()
    for item in ObjectStore(settings).list(before.rpartition("/")[0]):
        match = folder.match(item.uri)
        if match is not None:
            found.add(partitions.parse(match[1], pipeline.partition))
    return sorted(partition for partition in found if partition <= until)
