"""Ports and credentials of one stack, kept in one private file."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stack.compose.env_file import fernet_key
from stack.embedded.layout import Layout
from stack.errors import ConfigurationError
from stack.private_files import write_private

LOOPBACK = "127.0.0.1"
REGION = "us-east-1"
ADMIN = "admin"
BUCKETS = ("landing", "lake", "mlflow", "reports")
PORT_NAMES = (
    "store",
    "store-grpc",
    "store-master",
    "store-master-grpc",
    "store-volume",
    "store-volume-grpc",
    "store-filer",
    "store-filer-grpc",
    "store-admin",
    "store-admin-grpc",
    "mlflow",
    "spark",
    "api-server",
)
# Below the kernel's range for outgoing connections (32768 and up on Linux), so
# that no client socket sits on a port of ours when a part is restarted.
PORT_RANGE = range(20000, 32000)


def _token() -> str:
    return secrets.token_urlsafe(24)


def _hexadecimal() -> str:
    return secrets.token_hex(32)


class Credentials(BaseModel):
    """Hold the random secrets of one stack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_access_key: str = Field(default_factory=lambda: secrets.token_hex(10))
    store_secret_key: str = Field(default_factory=_hexadecimal)
    store_signing_key: str = Field(default_factory=_hexadecimal)
    spark_token: str = Field(default_factory=_token)
    airflow_password: str = Field(default_factory=_token)
    airflow_jwt_secret: str = Field(default_factory=_hexadecimal)
    airflow_fernet_key: str = Field(default_factory=fernet_key)
    airflow_secret_key: str = Field(default_factory=_hexadecimal)


class Configuration(BaseModel):
    """Hold what the parts of one stack must agree on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ports: dict[str, int]
    credentials: Credentials = Field(default_factory=Credentials)

    @classmethod
    def load(cls, layout: Layout) -> Self:
        """Read the private file.

        Raises:
            ConfigurationError: There is no file, or it does not hold a configuration.
        """
        path = layout.configuration_file
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigurationError(
                f"Stack {layout.state}: was never started. Run `./relevo up`."
            ) from None
        except ValidationError as error:
            # The cause would print values, which are secrets.
            fields = ", ".join(".".join(map(str, e["loc"])) or "JSON" for e in error.errors())
            raise ConfigurationError(
                f"File {path}: is not a stack's configuration ({fields}). Restore it; without it "
                "the connections stored in Airflow cannot be decrypted."
            ) from None

    def save(self, layout: Layout) -> None:
        """Write the private file, mode 600."""
        write_private(layout.configuration_file, self.model_dump_json(indent=2) + "\n")

    def port(self, name: str) -> int:
        """Return a port by its name in `PORT_NAMES`."""
        return self.ports[name]

    @property
    def store_url(self) -> str:
        """Address of the S3 interface."""
        return f"http://{LOOPBACK}:{self.port('store')}"

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow server."""
        return f"http://{LOOPBACK}:{self.port('mlflow')}"

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's UI and REST interface."""
        return f"http://{LOOPBACK}:{self.port('api-server')}"

    @property
    def spark_address(self) -> str:
        """Address of the Spark Connect server, without its token."""
        # Spark sends a token without TLS only to the literal name "localhost".
        return f"sc://localhost:{self.port('spark')}"

    @property
    def spark_remote(self) -> str:
        """Address of the Spark Connect server with its token: a secret."""
        return f"{self.spark_address}/;token={self.credentials.spark_token}"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_ports(
    stored: Mapping[str, int],
    environment: Mapping[str, str],
    free: Callable[[int], bool] = is_free,
    candidates: Iterable[int] | None = None,
) -> dict[str, int]:
    """Give every name a free port: the configured, else the stored, else a random one.

    Args:
        stored: Ports of the last start; those still free are kept.
        environment: May hold `RELEVO_PORT_<NAME>`, e.g. `RELEVO_PORT_API_SERVER`.
        free: Tells whether a port can be used now.
        candidates: Where to look for new ports, in this order; random by default.

    Raises:
        ConfigurationError: A configured port is not a number, is taken, or is named twice.
    """
    ports: dict[str, int] = {}
    for name in PORT_NAMES:
        variable = f"RELEVO_PORT_{name.upper().replace('-', '_')}"
        if variable not in environment:
            continue
        value = environment[variable]
        if not value.isdecimal() or not 0 < int(value) < 65536:
            raise ConfigurationError(
                f"Variable {variable}: must be a port from 1 to 65535, got {value!r}."
            )
        if int(value) in ports.values() or not free(int(value)):
            raise ConfigurationError(
                f"Variable {variable}: port {value} is taken. Choose another, or unset it to "
                "have a free one chosen."
            )
        ports[name] = int(value)
    for name in PORT_NAMES:
        port = stored.get(name)
        if name not in ports and port and port not in ports.values() and free(port):
            ports[name] = port
    pool = iter(candidates or secrets.SystemRandom().sample(PORT_RANGE, len(PORT_RANGE)))
    for name in PORT_NAMES:
        if name not in ports:
            ports[name] = next(p for p in pool if p not in ports.values() and free(p))
    return {name: ports[name] for name in PORT_NAMES}


def prepare(layout: Layout, environment: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration for a start: made at the first one, kept afterwards.

    Call this only while no part of the stack runs: a port that is taken then
    belongs to somebody else and is chosen again.
    """
    environment = os.environ if environment is None else environment
    if layout.configuration_file.exists():
        known = Configuration.load(layout)
        configuration = Configuration(
            ports=choose_ports(known.ports, environment), credentials=known.credentials
        )
    else:
        configuration = Configuration(ports=choose_ports({}, environment))
    configuration.save(layout)
    return configuration
