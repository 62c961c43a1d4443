"""The user as whom Airflow's tasks log to MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def set_up(
    uri: str,
    *,
    admin: str,
    admin_password: str,
    user: str,
    password: str,
    report: Callable[[str], None],
) -> None:
    """Make the tasks' user if missing, and give it the password it is meant to have.

    Args:
        uri: Address of an MLflow server with the app `basic-auth`.
        admin: Name of MLflow's administrator.
        admin_password: Password of the administrator.
        user: Name of the user to make.
        password: Password that the user has afterwards.
        report: Gets a line for what was done.

    Raises:
        mlflow.exceptions.MlflowException: The server refused, e.g. the administrator's password.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.server.auth.client import AuthServiceClient

    client = AuthServiceClient(uri)
    with _logged_in(admin, admin_password):
        try:
            client.get_user(user)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_user(user, password)
            report(f"user {user} was made in MLflow")
            return
        client.update_user_password(user, password)
        report(f"user {user} is there already in MLflow; its password was set again")


@contextmanager
def _logged_in(user: str, password: str) -> Iterator[None]:
    """Say to MLflow's client who asks; it reads that from the environment alone."""
    said = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    os.environ.update(said)
    try:
        yield
    finally:
        for name in said:
            del os.environ[name]
