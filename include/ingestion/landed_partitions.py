"""Which partitions of a source have landed."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar import partitions
from include.calendar.moments import outside_partitions, to_moments
from include.calendar.partitions import Partition
from include.errors import SourceError
from include.ingestion.landed_batch import read_landed
from include.ingestion.landed_objects import list_folders
from include.ingestion.sql_source import read_time_range
from include.specification.pipeline import Pipeline
from include.storage.connections import Connections
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from include.wording import some

_log = logging.getLogger(__name__)
_YEARS = f"{partitions.FIRST_YEAR} to {partitions.LAST_YEAR}"


def landed_partitions(
    settings: StoreSettings,
    pipeline: Pipeline,
    source: str,
    until: Partition,
    connections: Connections,
) -> list[Partition]:
    """List the partitions of a source that have landed, in time order, up to one.

    By folders, by the times of the rows where all partitions lie in one place, or, of a query,
    every partition between the first and the last time that it knows. Folders that are no
    partition, and rows in none, are left aside with a warning in the log.

    Raises:
        SourceError: If the place cannot be read, it has folders but none is a partition, or the
            first time of a query lies in no year of partitions.
    """
    definition = pipeline.sources[source]
    if definition.is_partitioned:
        folders = list_folders(
            ObjectStore(settings), str(definition.uri), pipeline.partition, f"source {source}"
        )
        if folders.strays and not folders.partitions:
            raise SourceError(
                f"source {source}: folders must be named as partitions, such as "
                f"{partitions.example(pipeline.partition)!r}, got {some(folders.strays)} and no "
                "other. Rename them, or correct `partition` in the pipeline file."
            )
        for warning in folders.warnings:
            _log.warning("%s", warning)
        return [partition for partition in folders.partitions if partition <= until]
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
        moments = to_moments(pa.chunked_array([pa.array(ends)]), subject)
        if outside_partitions(moments)[
            0
        ].as_py():  # each partition from there on would be asked for
            raise SourceError(
                f"{subject}: times must begin in the years {_YEARS}, got {moments[0].as_py()}. "
                "Leave such rows out in the query."
            )
        first, last = (partitions.containing(m, pipeline.partition) for m in moments.to_pylist())
        return list(partitions.span(first, min(last, until)))
    everything = definition.model_copy(update={"time": None})
    found = read_landed(settings, source, everything, until).table[time]
    moments = to_moments(found, subject)
    outside = outside_partitions(moments)
    strange = moments.filter(outside)
    if len(strange):
        _log.warning(
            "%s: %d of %d rows are in no partition, such as %s: partitions have the years %s. "
            "They stay where they landed.",
            subject,
            len(strange),
            len(moments),
            strange[0].as_py(),
            _YEARS,
        )
    hours = pc.unique(pc.floor_temporal(moments.filter(pc.invert(outside)), unit="hour"))
    names = {partitions.containing(moment, pipeline.partition) for moment in hours.to_pylist()}
    return sorted(partition for partition in names if partition <= until)
