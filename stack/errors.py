"""Errors of the embedded stack.

StackError
├── ConfigurationError   a port, a setting or the private file is unusable
├── PartError            a part did not start or did not become healthy
├── BackupError          a backup cannot be made, trusted or restored
├── SupervisorError      supervisord cannot be reached or refuses a request
└── AirflowApiError      Airflow's REST interface answered with an error
"""

from __future__ import annotations


class StackError(Exception):
    """Say what went wrong and what to do, in one message for the terminal."""


class ConfigurationError(StackError):
    """Report a setting that cannot be used."""


class PartError(StackError):
    """Report a part that did not start or is not healthy."""


class BackupError(StackError):
    """Report a backup that cannot be made, trusted or restored."""


class SupervisorError(StackError):
    """Report a supervisord that cannot be reached."""


class AirflowApiError(StackError):
    """Report an error answer of Airflow's REST interface.

    Args:
        message: What was asked and what came back.
        status: The HTTP status, or None when there was no answer at all.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
