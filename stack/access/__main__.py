"""Set up who may do what: `python -m stack.access airflow` and `python -m stack.access mlflow`.

The init jobs of the deployment run this. Names come from variables, passwords from files, so that
no command line shows one.
"""

from __future__ import annotations

import os

import typer

from stack.access import airflow_users, mlflow_users
from stack.access.secret_files import read_secret
from stack.terminal import report, shown_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.command()
def airflow() -> None:
    """Make the roles and the first admin of Airflow.

    Reads `RELEVO_ADMIN_USER` and the secret `airflow_admin_password`.
    """
    with shown_errors():
        user = os.environ.get("RELEVO_ADMIN_USER", "admin")
        airflow_users.set_up(user, read_secret("airflow_admin_password"), report)


@app.command()
def mlflow() -> None:
    """Make the user of MLflow as whom tasks log.

    Reads `RELEVO_MLFLOW_URI`, `RELEVO_MLFLOW_ADMIN_USER`, `RELEVO_MLFLOW_USERNAME` and the secrets
    `mlflow_admin_password` and `mlflow_tasks_password`.
    """
    variables = os.environ
    with shown_errors():
        mlflow_users.set_up(
            variables.get("RELEVO_MLFLOW_URI", "http://mlflow:5000"),
            admin=variables.get("RELEVO_MLFLOW_ADMIN_USER", "admin"),
            admin_password=read_secret("mlflow_admin_password"),
            user=variables.get("RELEVO_MLFLOW_USERNAME", "relevo-tasks"),
            password=read_secret("mlflow_tasks_password"),
            report=report,
        )


if __name__ == "__main__":
    app()
