"""Which partitions of a source have landed."""

from __future__ import annotations

import re

import pyarrow.compute as pc

from include import partitions
from include.connections import Connections
from include.ingestion import read_landed
from include.moments import to_moments
from include.partitions import Partition
from include.settings import StoreSettings
from include.specification import PLACEHOLDER, Pipeline
from include.sql_source import time_range
from include.store import ObjectStore


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
    if not pipeline.has_time or definition.time is None:
        return [until]
    if definition.query is not None:
        first, last = time_range(connections, source, definition, until)
        found = {first, last} - {None}
    else:
        whole = read_landed(
            settings, source, definition.model_copy(update={"time": None}), until
        ).table
        moments = to_moments(whole[definition.time], f"source {source}: column {definition.time}")
        found = set(pc.unique(pc.floor_temporal(moments, unit="hour")).to_pylist())
    names = {
        partitions.containing(moment, pipeline.partition) for moment in found if moment is not None
    }
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
