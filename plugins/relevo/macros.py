"""Template macros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include import partitions, pipeline_file


def partition_of(pipeline: str, dag_run: Any, params: Mapping[str, Any]) -> str:
    """Name the partition that a run is about, from its parameter, key or logical date.

    Args:
        pipeline: Name of the pipeline.
        dag_run: The run, as templates see it.
        params: The run's parameters.
    """
    partition = partitions.of_run(
        pipeline_file.load(pipeline).partition,
        requested=params.get("partition"),
        partition_key=dag_run.partition_key,
        logical_date=dag_run.logical_date,
    )
    return str(partition)
