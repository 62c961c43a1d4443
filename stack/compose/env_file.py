"""The `.env` of a docker-compose deployment: what it sets, and how its secrets are made.

`./relevo compose init` runs this without a virtual environment: only the standard library.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.errors import ConfigurationError
from stack.private_files import write_private

_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


def _secret() -> str:
    # Letters and digits only: the value stands in addresses, in JSON, in INI files and in shells.
    return secrets.token_hex(24)


def _access_key() -> str:
    return secrets.token_hex(10)


def fernet_key() -> str:
    """Make a key for Airflow to encrypt what it stores."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Section:
    """A commented part of the file.

    Args:
        comment: Lines above the variables.
        secrets: For each variable what makes its value.
        settings: Variables that may be set, with the value used when they are not.
    """

    comment: str
    secrets: Mapping[str, Callable[[], str]]
    settings: Mapping[str, str]


SECTIONS = (
    Section(
        "Airflow. The first administrator logs in with this password; a later change in the user\n"
        "interface is not undone. Without the Fernet key, stored connections cannot be decrypted.",
        {
            "AIRFLOW_ADMIN_PASSWORD": _secret,
            "AIRFLOW_FERNET_KEY": fernet_key,
            "AIRFLOW_JWT_SECRET": _secret,
            "AIRFLOW_SECRET_KEY": _secret,
        },
        {
            "AIRFLOW_ADMIN_USER": "admin",
            "AIRFLOW_BASE_URL": "http://127.0.0.1:8080",
            "AIRFLOW_API_WORKERS": "1",
            "AIRFLOW_PARALLELISM": "32",
            "AIRFLOW_WORKERS": "1",
            "AIRFLOW_WORKER_CONCURRENCY": "4",
        },
    ),
    Section(
        "PostgreSQL and Redis.",
        {
            "POSTGRES_PASSWORD": _secret,
            "AIRFLOW_DATABASE_PASSWORD": _secret,
            "MLFLOW_DATABASE_PASSWORD": _secret,
            "REDIS_PASSWORD": _secret,
        },
        {},
    ),
    Section(
        "The object store: an account each for making buckets and backups, for Airflow's tasks\n"
        "and Spark, for MLflow, for pages that only read, and for whoever delivers data.",
        {
            **{
                f"STORE_{name}_{key}": make
                for name in ("ADMIN", "TASKS", "MLFLOW", "READER", "LANDING")
                for key, make in (("ACCESS_KEY", _access_key), ("SECRET_KEY", _secret))
            },
            "STORE_SIGNING_KEY": _secret,
        },
        {},
    ),
    Section(
        "MLflow: its administrator, and the account of Airflow's tasks.",
        {
            "MLFLOW_ADMIN_PASSWORD": _secret,
            "MLFLOW_TASKS_PASSWORD": _secret,
            "MLFLOW_FLASK_SECRET_KEY": _secret,
        },
        {"MLFLOW_UI_URL": "http://127.0.0.1:5000"},
    ),
    Section(
        "Spark: the token of its clients, and what master, workers and driver know each other by.",
        {"SPARK_CONNECT_TOKEN": _secret, "SPARK_CLUSTER_SECRET": _secret},
        {
            "SPARK_WORKERS": "2",
            "SPARK_WORKER_CORES": "1",
            "SPARK_EXECUTOR_MEMORY": "1g",
            "SPARK_DRIVER_MEMORY": "2g",
        },
    ),
    Section(
        "What runs besides, e.g. COMPOSE_PROFILES=observability,flower; the first needs\n"
        "AIRFLOW_METRICS=True.",
        {"GRAFANA_ADMIN_PASSWORD": _secret, "FLOWER_PASSWORD": _secret},
        {"COMPOSE_PROFILES": "", "AIRFLOW_METRICS": "False"},
    ),
    Section(
        "Where the user interfaces are published.",
        {},
        {
            "PUBLISH_ADDRESS": "127.0.0.1",
            "AIRFLOW_PORT": "8080",
            "MLFLOW_PORT": "5000",
            "GRAFANA_PORT": "3000",
            "FLOWER_PORT": "5555",
        },
    ),
)


def read(path: Path) -> dict[str, str]:
    """Read the variables of a file.

    Raises:
        ConfigurationError: A line is neither a comment nor an assignment.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None:
            # The line may hold a secret and is not shown.
            raise ConfigurationError(
                f"File {path}: line {number} must be a comment or NAME=value. Correct it."
            )
        found[match[1]] = match[2]
    return found


def ensure(path: Path) -> tuple[str, ...]:
    """Write the file, or add to it the secrets that it lacks; nothing in it is changed.

    Args:
        path: The `.env` beside docker-compose.yaml.

    Returns:
        Names of the secrets that were made.
    """
    held = read(path) if path.exists() else {}
    made = []
    lines = []
    for section in SECTIONS:
        missing = {name: make for name, make in section.secrets.items() if not held.get(name)}
        offered = {} if held else section.settings
        if not missing and not offered:
            continue
        lines += ["", *(f"# {line}" for line in section.comment.splitlines())]
        lines += [f"{name}={make()}" for name, make in missing.items()]
        lines += [f"# {name}={value}" for name, value in offered.items()]
        made += list(missing)
    if lines:
        before = (
            path.read_text(encoding="utf-8").rstrip()
            if held
            else (
                "# The deployment of docker-compose.yaml. Secret: keep a copy in a safe place.\n"
                "# A line without # in front changes a setting."
            )
        )
        write_private(path, "\n".join([before, *lines]) + "\n")
    return tuple(made)


def initialise(path: Path) -> None:
    """Make the file, or complete it, and say so."""
    try:
        made = ensure(path)
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None
    if made:
        print(f"{path}: {len(made)} secrets made. Keep a copy in a safe place.")
    else:
        print(f"{path}: complete, nothing changed.")
    print("Next: docker compose up --detach --wait")
