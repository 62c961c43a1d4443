"""One Spark Connect session per task; tasks never start a JVM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from include.spark.lake import LakeDataSource


@contextmanager
def connect(remote: SecretStr) -> Iterator[Any]:
    """Open a session on the deployment's Spark Connect server and close it afterwards.

    Args:
        remote: ``sc://host:port``, with ``/;token=...`` where the server wants one.

    Yields:
        A ``pyspark.sql.connect.session.SparkSession`` with the ``lake`` data source registered.
    """
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.remote(remote.get_secret_value()).create()
    try:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        spark.dataSource.register(LakeDataSource)
        yield spark
    finally:
        spark.stop()
