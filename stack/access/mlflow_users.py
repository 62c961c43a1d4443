"""The user as whom Airflow's tasks log to MLflow."""

from __future__ import annotations

from collections.abc import Callable

import requests

from stack.errors import ConfigurationError, StackError

TASKS = "relevo-tasks"
ANSWER_SECONDS = 60.0
DETAIL_CHARACTERS = 500


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
        StackError: The server does not answer, or refuses.
    """
    wanted = {"username": user, "password": password}
    with requests.Session() as session:
        # The server is on the deployment's own network: no proxy, no .netrc.
        session.trust_env = False
        session.auth = (admin, admin_password)
        try:
            found = session.get(
                f"{uri}/api/2.0/mlflow/users/get", params={"username": user}, timeout=ANSWER_SECONDS
            )
            if found.status_code == requests.codes.not_found:
                done = session.post(
                    f"{uri}/api/2.0/mlflow/users/create", json=wanted, timeout=ANSWER_SECONDS
                )
            elif found.ok:
                done = session.patch(
                    f"{uri}/api/2.0/mlflow/users/update-password",
                    json=wanted,
                    timeout=ANSWER_SECONDS,
                )
            else:
                done = found
        except requests.RequestException as error:
            raise StackError(
                f"MLflow {uri}: must answer, got {type(error).__name__}. Look at its log."
            ) from error
    if done.status_code == requests.codes.unauthorized:
        raise ConfigurationError(
            f"MLflow {uri}: must accept the password of {admin}, got 401. It keeps the password of "
            "its first start: set the new one through its API, see docs/production/roles.md."
        )
    if not done.ok:
        raise StackError(
            f"MLflow {uri}: must make the user {user}, got {done.status_code} "
            f"{done.text[:DETAIL_CHARACTERS]}."
        )
    report(f"user {user} is there in MLflow, with the password of its secret")
