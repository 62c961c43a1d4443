"""Labels as they were known when a partition closed, and which partitions were mature then."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from include.calendar.partitions import Partition
from include.features import labels
from include.features.point_in_time import join_labels
from include.monitoring.performance import mature_partitions
from include.specification.pipeline import Pipeline
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import PARTITION, Lake


def known_labels(lake: Lake, partition: Partition, table: str = labels.TABLE) -> pd.DataFrame:
    """Read the labels that were known when a partition closed.

    Args:
        lake: The pipeline's tables.
        partition: The partition.
        table: Name of the labels' table, of whichever generation.

    Returns:
        Rows of the ``labels`` table; one per delivery of a label.
    """
    held = [name for name in lake.partitions(table) if name <= str(partition)]
    known = to_pandas(lake.read(table, partitions=held))
    return known[known["known_at"] < pd.Timestamp(partition.end)]


def mature_as_of(
    lake: Lake, pipeline: Pipeline, partition: Partition, *, among: Collection[str] | None = None
) -> tuple[str, ...]:
    """List the partitions whose labels were (nearly) all known when a partition closed.

    Snapshots bring labelled and unlabelled rows side by side: one with any label is mature.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        partition: Partition at whose end labels count as known.
        among: Look at these only, which reads less; at all if None.

    Returns:
        Names in time order.
    """
    rows = {
        name: count
        for name, count in lake.row_counts(pipeline.features_table).items()
        if name <= str(partition) and (among is None or name in among)
    }
    if among is not None and not rows:
        return ()
    entities = to_pandas(
        lake.read(
            pipeline.features_table,
            partitions=list(rows),
            columns=[*pipeline.keys, PARTITION],
        )
    )
    labelled = join_labels(
        entities, known_labels(lake, partition, pipeline.labels_table), pipeline, partition.end
    )
    known = {str(name): int(count) for name, count in labelled.groupby(PARTITION).size().items()}
    if not pipeline.has_time:
        return tuple(sorted(known))
    return mature_partitions(rows, known, pipeline.training.coverage)
