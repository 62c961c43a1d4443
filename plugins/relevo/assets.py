"""The asset through which scoring starts a training, and the event that does it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset


def retraining_asset(pipeline: str) -> Asset:
    """Name the partitioned asset whose events start ``<pipeline>_train``, one run per partition."""
    # For a scheme without "x-" Airflow imports every provider that has one: boto3, at each parse.
    return Asset(name=f"{pipeline}_retraining", uri=f"x-relevo://{pipeline}/retraining")


def emit_training_event(context: Any, pipeline: str, partition: str, reason: str) -> None:
    """Let ``<pipeline>_train`` run for a partition once the task of this context has succeeded.

    Args:
        context: Context of a task with the asset among its outlets.
        pipeline: Name of the pipeline.
        partition: Partition as of which to train.
        reason: Why; shown beside the event.
    """
    event = context["outlet_events"][retraining_asset(pipeline)]
    event.extra = {"reason": reason, "partition": partition}
    event.add_partitions([partition])


def is_by_training_event(dag_run: Any, pipeline: str) -> bool:
    """Tell whether a run was started by an event of :func:`emit_training_event`.

    Events that a person or another program makes carry no partition in their ``extra``.
    """
    name = retraining_asset(pipeline).name
    return any(
        event.asset.name == name and "partition" in event.extra
        for event in dag_run.consumed_asset_events
    )
