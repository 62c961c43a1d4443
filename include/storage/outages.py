"""What is told when the store does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.errors import UnavailableError
from include.storage.settings import StoreSettings


@contextmanager
def outages_told(settings: StoreSettings, remedy: str) -> Iterator[None]:
    """Turn the ``OSError`` that the Delta library knows a store's outage by into a sentence.

    One about a file, which has a name, stays.

    Raises:
        UnavailableError: If the store does not answer.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        said = str(error).strip().partition("\n")[0]
        raise UnavailableError(
            f"store {settings.endpoint_url}: must answer, got: {said}. {remedy}"
        ) from error
