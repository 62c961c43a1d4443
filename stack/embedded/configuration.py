"""Ports and credentials of one stack, kept in one private file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stack.embedded.credentials import Credentials
from stack.embedded.layout import Layout
from stack.embedded.ports import LOOPBACK, choose_ports
from stack.errors import ConfigurationError
from stack.private_files import write_private

REGION = "us-east-1"
ADMIN = "admin"
BUCKETS = ("landing", "lake", "mlflow", "reports")


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
