"""Commits that conflict and try again from the new state: nobody waits on a lock."""

from __future__ import annotations

from collections.abc import Callable

from deltalake.exceptions import CommitFailedError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from include.errors import TableError

_ATTEMPTS = 10


def commit(table: str, attempt: Callable[[], int]) -> int:
    """Commit, again whenever another writer was faster.

    Args:
        table: Name of the table, for messages.
        attempt: Reads the latest state, commits on top of it, and returns a number.

    Raises:
        TableError: If other writers win ten times.
    """
    try:
        for retry in Retrying(
            retry=retry_if_exception_type(CommitFailedError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            reraise=True,
        ):
            with retry:
                return attempt()
    except CommitFailedError as error:
        raise TableError(
            f"table {table}: other writers won {_ATTEMPTS} times. "
            "Clear the task when they are done."
        ) from error
    raise AssertionError("unreachable: Retrying returns or raises")
