"""Template macros."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from include.calendar import partitions
from include.calendar.partitions import Frequency, Partition
from include.specification import pipeline_file
from include.storage.lineage import Origin
from relevo.failures import failing_at_once


def partition_of(
    pipeline: str, dag_run: Any, params: Mapping[str, Any], is_teardown: bool = False
) -> str:
    """Name the partition that a run is about, from its parameter, key or logical date.

    A run about data without a time takes the next snapshot, a training the latest one; no later
    run takes the number of one that was named.

    Args:
        pipeline: Name of the pipeline.
        dag_run: The run, as templates see it.
        params: The run's parameters.
        is_teardown: Whether a task asks that runs also if somebody marked the run before anything
            of it had begun; it takes no snapshot.

    Raises:
        AirflowFailException: If there is none, or it cannot be. Trying again gives the same.
    """
    with failing_at_once():
        return str(_partition_of(pipeline, dag_run, params, is_teardown))


def _partition_of(
    pipeline: str, dag_run: Any, params: Mapping[str, Any], is_teardown: bool
) -> Partition:
    frequency = pipeline_file.load(pipeline).partition
    named = params.get("partition") or dag_run.partition_key
    if frequency is Frequency.NONE:
        return _snapshot(pipeline, dag_run, named, is_teardown)
    now = datetime.now(UTC).replace(tzinfo=None)
    return partitions.of_run(frequency, requested=named, logical_date=dag_run.logical_date, now=now)


def _snapshot(pipeline: str, dag_run: Any, named: str | None, is_teardown: bool) -> Partition:
    from include.storage.lake_tables import Lake
    from include.storage.snapshot_numbers import (
        latest_snapshot,
        next_snapshot,
        snapshot_of,
        take,
    )
    from relevo.hooks import RelevoHook

    lake = Lake(RelevoHook().store(), pipeline)
    origin = Origin(dag_run.dag_id, dag_run.run_id, "snapshot")
    if named:
        partition = partitions.parse(named, Frequency.NONE)
        if not is_teardown:
            take(lake, partition, origin)
        return partition
    if is_teardown:
        return snapshot_of(lake, origin)
    is_training = dag_run.dag_id == f"{pipeline}_train"
    return latest_snapshot(lake, origin) if is_training else next_snapshot(lake, origin)
