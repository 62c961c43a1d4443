"""Turn Airflow connections into the library's settings."""

from __future__ import annotations

from airflow.sdk import BaseHook, Connection

from include.errors import SettingsError
from include.spark.address import with_parameter
from include.storage.connections import sql_url
from include.storage.settings import MlflowSettings, Settings, StoreSettings

STORE_CONNECTION = "relevo_store"
MLFLOW_CONNECTION = "relevo_mlflow"
SPARK_CONNECTION = "relevo_spark"


class RelevoHook(BaseHook):
    """Resolves the three connections that a deployment has, and those of its SQL sources.

    Args:
        store_conn_id: S3 store, type ``aws``: login and password, or neither where the machine's
            role gives access; extra ``endpoint_url``, ``region_name`` and ``bucket_prefix``.
        mlflow_conn_id: MLflow server, type ``http``: host with its scheme, port; login and
            password where the server asks for them; extra ``ui_url`` where people reach it at
            another address.
        spark_conn_id: Spark Connect, type ``generic``: host ``sc://name:port``, with parameters
            such as ``/;use_ssl=false`` where needed; password = token.
    """

    def __init__(
        self,
        store_conn_id: str = STORE_CONNECTION,
        mlflow_conn_id: str = MLFLOW_CONNECTION,
        spark_conn_id: str = SPARK_CONNECTION,
    ) -> None:
        super().__init__()
        self.store_conn_id = store_conn_id
        self.mlflow_conn_id = mlflow_conn_id
        self.spark_conn_id = spark_conn_id

    def get_conn(self) -> Settings:
        """Resolve all three.

        Raises:
            SettingsError: If a connection lacks a part.
        """
        return Settings(store=self.store(), mlflow=self.mlflow(), spark_remote=self._spark())

    def store(self) -> StoreSettings:
        """Resolve the object store."""
        connection = self.get_connection(self.store_conn_id)
        extra = connection.extra_dejson
        with_keys = bool(connection.login or connection.password)
        return StoreSettings(
            endpoint_url=extra.get("endpoint_url"),
            access_key=_require(connection, "login") if with_keys else None,
            secret_key=_require(connection, "password") if with_keys else None,
            region=extra.get("region_name", "us-east-1"),
            bucket_prefix=extra.get("bucket_prefix", ""),
        )

    def mlflow(self) -> MlflowSettings:
        """Resolve the MLflow server."""
        connection = self.get_connection(self.mlflow_conn_id)
        host = _require(connection, "host")
        return MlflowSettings(
            uri=f"{host}:{connection.port}" if connection.port else host,
            username=connection.login,
            password=connection.password,
            ui_url=connection.extra_dejson.get("ui_url"),
        )

    def sql_url(self, conn_id: str) -> str:
        """Resolve the database of a SQL source to SQLAlchemy's address, with its password.

        Raises:
            SettingsError: If the connection has no type, or names no file where it must.
        """
        connection = self.get_connection(conn_id)
        return sql_url(
            conn_id,
            conn_type=connection.conn_type,
            host=connection.host,
            port=connection.port,
            login=connection.login,
            password=connection.password,
            schema=connection.schema,
            extra=connection.extra_dejson,
        )

    def _spark(self) -> str:
        connection = self.get_connection(self.spark_conn_id)
        host = _require(connection, "host")
        if not connection.password:
            return host
        return with_parameter(host, "token", connection.password)


def _require(connection: Connection, part: str) -> str:
    value = getattr(connection, part)
    if not value:
        raise SettingsError(
            f"connection {connection.conn_id}: {part} must be set, got nothing. "
            "Set it in Admin > Connections."
        )
    return str(value)
