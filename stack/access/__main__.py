"""Set up who may do what: `python -m stack.access`, and `python -m stack.access mlflow`.

The init jobs of a deployment run this. No command line shows a password: they come from a file and
from the variables that the entry point of the image reads from one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from stack.access import airflow_users, mlflow_users
from stack.errors import ConfigurationError, StackError

PASSWORD_FILE = Path("/run/secrets/airflow_admin_password")


def airflow() -> None:
    """Make the roles and the first admin of Airflow.

    Reads `RELEVO_ADMIN_USER` and the file named by `RELEVO_ADMIN_PASSWORD_FILE`, by default
    `/run/secrets/airflow_admin_password`.
    """
    path = Path(os.environ.get("RELEVO_ADMIN_PASSWORD_FILE", PASSWORD_FILE))
    try:
        password = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"File {path}: must hold the password of the first admin, got {type(error).__name__}. "
            "Mount it, or name another one in RELEVO_ADMIN_PASSWORD_FILE."
        ) from None
    if not password:
        raise ConfigurationError(
            f"File {path}: must hold the password of the first admin, got nothing. Run "
            "./relevo compose init."
        )
    airflow_users.set_up(os.environ.get("RELEVO_ADMIN_USER", "admin"), password, print)


def mlflow() -> None:
    """Make the user of MLflow as whom tasks log.

    Reads `MLFLOW_TRACKING_URI`, `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD` of the
    administrator, and `RELEVO_MLFLOW_TASKS_PASSWORD`.
    """
    mlflow_users.set_up(
        _variable("MLFLOW_TRACKING_URI"),
        admin=_variable("MLFLOW_TRACKING_USERNAME"),
        admin_password=_variable("MLFLOW_TRACKING_PASSWORD"),
        user=mlflow_users.TASKS,
        password=_variable("RELEVO_MLFLOW_TASKS_PASSWORD"),
        report=print,
    )


JOBS: dict[str, Callable[[], None]] = {"airflow": airflow, "mlflow": mlflow}


def main(arguments: list[str]) -> str | None:
    """Run the job that the arguments name, `airflow` by default; returns why it failed."""
    try:
        JOBS[arguments[0] if arguments else "airflow"]()
    except StackError as error:
        return str(error)
    return None


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigurationError(
            f"Variable {name}: must be set, got nothing. The .env of ./relevo compose init has it."
        )
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
