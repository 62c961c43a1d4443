"""Where the store, MLflow and Spark are, and how long what was replaced stays.

Airflow tasks build :class:`Settings` from connections (``relevo.hooks``); the command line and
Spark workers read them from ``RELEVO_*`` variables. Nothing is read at import.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Any, Self, TypeVar

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import SettingsError

LAKE = "lake"
LANDING = "landing"
REPORTS = "reports"
MLFLOW = "mlflow"
LOGS = "logs"
# The buckets of a deployment, by their names in the code: what the prefix is put in front of.
BUCKETS = (LANDING, LAKE, MLFLOW, REPORTS, LOGS)
STORE_VARIABLES = "RELEVO_STORE_"
# S3 takes no longer name of a bucket.
_PREFIX_CHARACTERS = 63 - max(map(len, BUCKETS))

# How long what was replaced stays readable, unless a deployment says otherwise; and the shortest
# time, in which whoever waits (await_training does so for a week) still finds what it began with.
RETENTION_DAYS = 90
LEAST_RETENTION_DAYS = 14
MOST_DAYS = 36_500
# How long the tables of a retired pipeline stay, unless whoever retires it says otherwise.
KEEP_DAYS = 90

_REMEDY = "Start the stack with ./relevo up, or export the variables of your deployment."
_Model = TypeVar("_Model", bound=BaseSettings)


class StoreSettings(BaseSettings):
    """The S3 object store (``RELEVO_STORE_*``).

    Args:
        endpoint_url: Address of an S3-compatible server; None for AWS itself.
        access_key: S3 access key. Without both keys, every client looks for credentials where
            AWS's own do: variables, profile, role of the pod or the machine.
        secret_key: S3 secret key.
        region: S3 region name.
        bucket_prefix: What the names of the deployment's buckets begin with at the store, where
            the plain names are taken. Addresses everywhere else are without it.
    """

    model_config = SettingsConfigDict(
        env_prefix=STORE_VARIABLES, env_ignore_empty=True, frozen=True
    )

    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: SecretStr | None = None
    region: str = "us-east-1"
    bucket_prefix: str = ""

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            missing = "access_key" if self.access_key is None else "secret_key"
            raise SettingsError(
                f"environment: {STORE_VARIABLES}{missing.upper()} must be set beside the other "
                "key, got nothing. Set both, or neither to use the role of the machine."
            )
        return self

    @model_validator(mode="after")
    def _check_bucket_prefix(self) -> Self:
        prefix = self.bucket_prefix
        if len(prefix) > _PREFIX_CHARACTERS or not re.fullmatch("([a-z0-9][a-z0-9-]*)?", prefix):
            raise SettingsError(
                f"bucket prefix {prefix!r}: must be at most {_PREFIX_CHARACTERS} of a-z, 0-9 and "
                f"'-', and not begin with '-', got {len(prefix)} characters. Correct "
                f"{STORE_VARIABLES}BUCKET_PREFIX, or bucket_prefix of the connection."
            )
        return self

    @property
    def keys(self) -> tuple[str, str] | tuple[None, None]:
        """Access key and secret key, or twice None."""
        if self.access_key is not None and self.secret_key is not None:
            return self.access_key, self.secret_key.get_secret_value()
        return None, None

    def bucket(self, name: str) -> str:
        """Name a bucket as the store knows it: ours with the prefix, others as they are."""
        return f"{self.bucket_prefix}{name}" if name in BUCKETS else name

    def path(self, uri: str) -> str:
        """Turn an address into bucket and key as the store knows them, for :meth:`filesystem`."""
        bucket, slash, key = uri.removeprefix("s3://").partition("/")
        return f"{self.bucket(bucket)}{slash}{key}"

    def storage_options(self) -> dict[str, str]:
        """Spell the settings the way delta-rs reads them."""
        options = {"AWS_REGION": self.region}
        access_key, secret_key = self.keys
        if access_key and secret_key:
            options["AWS_ACCESS_KEY_ID"] = access_key
            options["AWS_SECRET_ACCESS_KEY"] = secret_key
        if self.endpoint_url:
            options["AWS_ENDPOINT_URL"] = self.endpoint_url
            options["AWS_ALLOW_HTTP"] = str(self.endpoint_url.startswith("http://")).lower()
        return options

    def filesystem(self) -> Any:
        """Open the store as a ``pyarrow.fs.S3FileSystem``."""
        from pyarrow.fs import S3FileSystem

        scheme, _, host = (self.endpoint_url or "").rpartition("://")
        access_key, secret_key = self.keys
        return S3FileSystem(
            access_key=access_key,
            secret_key=secret_key,
            region=self.region,
            endpoint_override=host or None,
            scheme=scheme or "https",
            allow_delayed_open=True,  # a small object is one request, not three
        )

    @classmethod
    def from_environment(cls) -> StoreSettings:
        """Read ``RELEVO_STORE_*``.

        Raises:
            SettingsError: If none is set, or one key without the other.
        """
        # Every field may be left out, but not all: AWS is meant only where something says so.
        if not any(name.startswith(STORE_VARIABLES) for name in os.environ):
            raise SettingsError(
                f"environment: {STORE_VARIABLES}ENDPOINT_URL, or {STORE_VARIABLES}REGION for AWS, "
                f"must be set, got nothing usable. {_REMEDY}"
            )
        return _read(cls)


class MlflowSettings(BaseSettings):
    """The MLflow tracking server (``RELEVO_MLFLOW_*``).

    Args:
        uri: Address at which programs reach it.
        username: User name, where the server asks for one.
        password: Password of the user.
        ui_url: Address at which people open it; None if it is the same.
    """

    model_config = SettingsConfigDict(env_prefix="RELEVO_MLFLOW_", frozen=True)

    uri: str
    username: str | None = None
    password: SecretStr | None = None
    ui_url: str | None = None

    @property
    def page_url(self) -> str:
        """Address to put in front of a page's path in a link."""
        return self.ui_url or self.uri

    @classmethod
    def from_environment(cls) -> MlflowSettings:
        """Read ``RELEVO_MLFLOW_*``.

        Raises:
            SettingsError: If the address is missing.
        """
        return _read(cls)


class Settings(BaseSettings):
    """Everything that the library connects to.

    Args:
        store: The object store.
        mlflow: The MLflow tracking server.
        spark_remote: Spark Connect address, with its token.
    """

    model_config = SettingsConfigDict(env_prefix="RELEVO_", frozen=True)

    store: StoreSettings
    mlflow: MlflowSettings
    spark_remote: SecretStr

    @classmethod
    def from_environment(cls) -> Settings:
        """Read ``RELEVO_*``.

        Raises:
            SettingsError: If a variable is missing.
        """
        return _read(
            cls,
            store=StoreSettings.from_environment(),
            mlflow=MlflowSettings.from_environment(),
        )


def retention(days: str | int) -> timedelta:
    """Turn the setting of a deployment into a time.

    Raises:
        SettingsError: If it is no whole number of days, or too few.
    """
    try:
        number = int(days)
    except ValueError:
        number = 0
    if not LEAST_RETENTION_DAYS <= number <= MOST_DAYS:
        raise SettingsError(
            f"retention: must be a whole number of days from {LEAST_RETENTION_DAYS} to "
            f"{MOST_DAYS}, got {days!r}. Correct the Airflow variable or the option."
        )
    return timedelta(days=number)


def _read(model: type[_Model], **values: Any) -> _Model:
    try:
        return model(**values)
    except ValidationError as error:
        prefix = model.model_config.get("env_prefix", "")
        missing = ", ".join(f"{prefix}{item['loc'][0]}".upper() for item in error.errors())
        raise SettingsError(
            f"environment: {missing} must be set, got nothing usable. {_REMEDY}"
        ) from error
