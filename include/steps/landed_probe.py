"""What ingesting a landed partition will meet, before anything runs: nothing is written."""

from __future__ import annotations

import pyarrow as pa

from include.calendar.partitions import Partition
from include.ingestion.landed_batch import LandedBatch
from include.ingestion.landed_partitions import landed_partitions
from include.specification.pipeline import Pipeline
from include.steps.preparation import landed_schema, read_batch
from include.storage.connections import from_environment
from include.storage.lake_tables import Lake


def probe(lake: Lake, pipeline: Pipeline, source: str, partition: Partition) -> LandedBatch:
    """Read a landed partition against the columns of the table, or of what landed before.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        source: Name of a source of files.
        partition: A partition that has landed.

    Raises:
        SourceError: With what ingesting it would stop for.
    """
    expected = landed_schema(lake, pipeline, source)
    if expected is None:
        expected = _schema_of_first(lake, pipeline, source, partition)
    return read_batch(lake, pipeline, source, partition, expected)


def _schema_of_first(
    lake: Lake, pipeline: Pipeline, source: str, partition: Partition
) -> pa.Schema | None:
    """Read the columns that the table will get: those of the partition that landed first."""
    first, *_ = landed_partitions(lake.settings, pipeline, source, partition, from_environment)
    if first == partition:
        return None
    return read_batch(lake, pipeline, source, first, None).table.schema
