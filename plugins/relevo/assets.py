"""The assets through which DAGs of a pipeline call each other."""

from __future__ import annotations

from airflow.sdk import Asset


def retraining_asset(pipeline: str) -> Asset:
    """Name the partitioned asset whose events start ``<pipeline>_train``, one run per partition."""
    return Asset(name=f"{pipeline}_retraining", uri=f"relevo://{pipeline}/retraining")
