"""What reading a file can fail with, in the words of whoever landed it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from include.errors import SourceError, UnavailableError

FORMATS: Mapping[str, str] = {"parquet": "Parquet", "csv": "CSV", "json_lines": "JSON lines"}
# How pyarrow tells that the store, and not the file, is the trouble.
_OUTAGE = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT"
    r"|UNKNOWN \(HTTP status 5\d\d\))"
)


@contextmanager
def readable(what: str, file_format: str) -> Iterator[None]:
    """Explain what reading a file raises.

    Args:
        what: The file, for messages.
        file_format: Its format.

    Raises:
        UnavailableError: If the store does not answer.
        SourceError: If the file is not of the format: cut off, encrypted, of another encoding.
    """
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        if _OUTAGE.search(str(error)):
            raise UnavailableError(
                f"{what}: the store must be able to answer, got {str(error)[:200]}. "
                "Check that the store runs."
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        advice = " Correct its encoding in the pipeline file, or land it again."
        raise SourceError(
            f"{what} must be readable as {FORMATS[file_format]}, got {reason.rstrip('.')}."
            f"{advice if file_format == 'csv' else ' Make it again.'}"
        ) from error
