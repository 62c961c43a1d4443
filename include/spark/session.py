"""One shared Spark Connect session; tasks never start a JVM.

Spark keeps a Python process of each kind for every session it ever saw: with a session a task,
every task pays for new ones (seconds of imports) and the server never gives their memory back.
So all tasks of a deployment share one session, and nobody stops it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from include.errors import SettingsError
from include.spark.address import with_parameter
from include.spark.lake_source import LakeDataSource

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "relevo://spark")
# A server closes a session that was idle (an hour by default) and never takes its id again.
_GENERATIONS = 1000
_CONFIGURATION = {
    "spark.sql.session.timeZone": "UTC",
    # The server would take the files of a table that began anew, at a version that there was
    # before, from the plan that it made then: it keeps plans for a session, which all tasks share.
    "spark.connect.session.planCache.enabled": "false",
    # A column may be called ${x}.
    "spark.sql.variable.substitute": "false",
}


@contextmanager
def connect(remote: SecretStr) -> Iterator[Any]:
    """Join the deployment's session on its Spark Connect server; leaving keeps the session.

    A feature function must not rely on temporary views or registered functions of its own: every
    task of the deployment sees them.

    Args:
        remote: ``sc://host:port``, with ``/;token=...`` where the server wants one. A token goes
            over TLS, unless the host is ``localhost`` or the address says ``use_ssl=false``.

    Yields:
        A ``pyspark.sql.connect.session.SparkSession`` with the ``lake`` data source registered.
    """
    spark = _join(remote.get_secret_value())
    try:
        _register(spark)
        yield spark
    finally:
        spark.client.close()


def _register(spark: Any) -> None:
    from pyspark.errors.exceptions.connect import AnalysisException

    try:
        spark.dataSource.register(LakeDataSource)
    except AnalysisException as error:
        # Another task does it at the same moment, and to the same session.
        if error.getCondition() != "DATA_SOURCE_ALREADY_EXISTS":
            raise


def _join(remote: str) -> Any:
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException
    from pyspark.sql.connect.session import SparkSession

    from include.spark.channel import channel_builder

    # What `pyspark.sql.SparkSession` does for addresses, but not for channel builders: functions
    # of `pyspark.sql.functions` then make columns of Spark Connect.
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    for generation in range(_GENERATIONS):
        session_id = uuid.uuid5(_NAMESPACE, str(generation))
        address = with_parameter(remote, "session_id", str(session_id))
        spark = SparkSession.builder.channelBuilder(channel_builder(address)).create()
        try:
            for name, value in _CONFIGURATION.items():
                spark.conf.set(name, value)
        except SparkConnectGrpcException as error:
            if "SESSION_CLOSED" not in str(error) and "SESSION_CHANGED" not in str(error):
                raise
            spark.client.close()
            continue
        return spark
    raise SettingsError(
        f"Spark: one of {_GENERATIONS} session ids must be free, got all closed. "
        "Restart the Spark Connect server."
    )
