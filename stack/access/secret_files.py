"""Secrets that a container finds as files."""

from __future__ import annotations

import os
from pathlib import Path

from stack.errors import ConfigurationError

DIRECTORY_VARIABLE = "RELEVO_SECRETS_DIR"
DEFAULT_DIRECTORY = "/run/secrets"


def read_secret(name: str) -> str:
    """Read the secret of this name.

    Args:
        name: Name of the file in `RELEVO_SECRETS_DIR`, by default `/run/secrets`.

    Raises:
        ConfigurationError: There is no such file, or it is empty.
    """
    path = Path(os.environ.get(DIRECTORY_VARIABLE, DEFAULT_DIRECTORY)) / name
    try:
        value = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"Secret {name}: must be a readable file {path}, got {type(error).__name__}. "
            "Mount it into the container."
        ) from None
    if not value:
        raise ConfigurationError(f"Secret {name}: must not be empty, got nothing in {path}.")
    return value
