"""Which errors of the library are tried again, and which are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from include.errors import RelevoError, UnavailableError


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Turn an error of the library into a failure without retries.

    A :class:`~include.errors.RelevoError` says that the input or the state is wrong, which trying
    again does not change. Everything else may be tried again, a store or a database that does not
    answer too.

    Raises:
        AirflowFailException: In place of such an error.
    """
    try:
        yield
    except UnavailableError:
        raise
    except RelevoError as error:
        raise AirflowFailException(str(error)) from error
