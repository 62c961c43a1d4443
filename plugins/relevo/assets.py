"""The assets through which DAGs of a pipeline call each other."""

from __future__ import annotations

from airflow.sdk import Asset


def retraining_asset(pipeline: str) -> Asset:
    """Name the partitioned asset whose events start ``<pipeline>_train``, one run per partition."""
    # For a scheme without "x-" Airflow imports every provider that has one: boto3, at each parse.
    return Asset(name=f"{pipeline}_retraining", uri=f"x-relevo://{pipeline}/retraining")
