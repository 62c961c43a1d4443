"""What is to be visited: the deployment that the environment names, else the embedded stack."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic import SecretStr

from include.errors import SettingsError
from include.storage.settings import STORE_VARIABLES, MlflowSettings, StoreSettings
from stack.embedded import postgres
from stack.embedded.configuration import ADMIN, REGION, Configuration
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import ConfigurationError

_SUFFIX = "_FILE"
_PREFIXES = (
    STORE_VARIABLES,
    *("RELEVO_MLFLOW_", "RELEVO_SPARK_", "RELEVO_AIRFLOW_", "RELEVO_DATABASE_"),
)


@dataclass(frozen=True)
class AirflowAccess:
    """Where Airflow's API is and who asks.

    Args:
        url: Address of the api-server.
        user: Name of the user.
        password: Password of the user.
    """

    url: str
    user: str
    password: SecretStr


@dataclass(frozen=True)
class Deployment:
    """Everything that can be visited; None where nothing is configured.

    Args:
        name: What to call it.
        store: The object store.
        mlflow: The MLflow server.
        spark_remote: Spark Connect address, with its token.
        airflow: Airflow's API.
        database_url: SQLAlchemy's address of Airflow's metadata database.
        folders: Local directories that need free space.
    """

    name: str
    store: StoreSettings | None
    mlflow: MlflowSettings | None
    spark_remote: SecretStr | None
    airflow: AirflowAccess | None
    database_url: SecretStr | None
    folders: tuple[Path, ...] = ()

    @property
    def secrets(self) -> frozenset[str]:
        """Values that must appear nowhere."""
        found = set()
        for secret in (
            self.store and self.store.secret_key,
            self.mlflow and self.mlflow.password,
            self.airflow and self.airflow.password,
        ):
            if secret:
                found |= _spellings(secret.get_secret_value())
        if self.spark_remote:
            _, _, token = self.spark_remote.get_secret_value().partition("token=")
            found |= _spellings(unquote(token.partition(";")[0]))
        if self.database_url:
            password = urlsplit(self.database_url.get_secret_value()).password
            found |= _spellings(unquote(password or ""))
        return frozenset(found - {""})


def _spellings(secret: str) -> set[str]:
    return {secret, quote(secret), quote(secret, safe="")}


def secrets_from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Read each variable that a part's ``<NAME>_FILE`` stands for.

    Args:
        environment: Names the files; a variable that is set itself wins.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    values = {}
    for variable, path in environment.items():
        name = variable.removesuffix(_SUFFIX)
        if not variable.startswith(_PREFIXES) or name == variable or environment.get(name):
            continue
        try:
            values[name] = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(
                f"Variable {variable}: must name a readable file, got {path!r} "
                f"({error.strerror}). Correct it, or set {name}."
            ) from None
    return values


def find(layout: Layout) -> Deployment:
    """Take the deployment that ``RELEVO_STORE_*`` names, else the running embedded stack.

    Raises:
        ConfigurationError: Neither is there, or a variable is missing.
    """
    os.environ.update(secrets_from_files(os.environ))
    if any(name.startswith(STORE_VARIABLES) for name in os.environ):
        return _of_environment()
    if not Stack(layout).is_running():
        raise ConfigurationError(
            f"Stack {layout.state}: must be running, got down. Run `./relevo up`, or export "
            f"{STORE_VARIABLES}* and the other variables of your deployment (see "
            "docs/production/external-services.md)."
        )
    return _embedded(layout, Configuration.load(layout))


def _of_environment() -> Deployment:
    try:
        store = StoreSettings.from_environment()
        mlflow = MlflowSettings.from_environment() if os.environ.get("RELEVO_MLFLOW_URI") else None
    except SettingsError as error:
        raise ConfigurationError(str(error)) from error
    return Deployment(
        name="the deployment of the RELEVO_* variables",
        store=store,
        mlflow=mlflow,
        spark_remote=_secret("RELEVO_SPARK_REMOTE"),
        airflow=airflow_access(),
        database_url=_secret("RELEVO_DATABASE_URL"),
    )


def airflow_access() -> AirflowAccess | None:
    """Say where the Airflow of ``RELEVO_AIRFLOW_*`` is and who asks; None if it names none.

    Raises:
        ConfigurationError: The address is set, and user or password are not.
    """
    names = ("RELEVO_AIRFLOW_URL", "RELEVO_AIRFLOW_USER", "RELEVO_AIRFLOW_PASSWORD")
    url, user, password = (os.environ.get(name) for name in names)
    if not url:
        return None
    if not (user and password):
        raise ConfigurationError(
            f"Variables {names[1]} and {names[2]}: must be set beside {names[0]}, got nothing. "
            "Name a user of Airflow and the password, or its file."
        )
    return AirflowAccess(url, user, SecretStr(password))


def _secret(name: str) -> SecretStr | None:
    value = os.environ.get(name)
    return SecretStr(value) if value else None


def _embedded(layout: Layout, configuration: Configuration) -> Deployment:
    credentials = configuration.credentials
    return Deployment(
        name=f"the embedded stack {layout.state}",
        store=StoreSettings(
            endpoint_url=configuration.store_url,
            access_key=credentials.store_access_key,
            secret_key=SecretStr(credentials.store_secret_key),
            region=REGION,
        ),
        mlflow=MlflowSettings(uri=configuration.mlflow_url),
        spark_remote=SecretStr(configuration.spark_remote),
        airflow=AirflowAccess(
            configuration.airflow_url, ADMIN, SecretStr(credentials.airflow_password)
        ),
        database_url=SecretStr(postgres.address(layout, postgres.AIRFLOW_DATABASE)),
        folders=(layout.state,),
    )
