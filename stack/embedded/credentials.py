"""The passwords and keys of one stack: random, and kept in its private file alone."""

from __future__ import annotations

import secrets

from pydantic import BaseModel, ConfigDict, Field

from stack.compose.env_file import fernet_key


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
