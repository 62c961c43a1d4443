"""Files that only their owner may read."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def write_private(path: Path, content: str, mode: int = 0o600) -> None:
    """Replace a file in one step; no reader ever sees a part of it or a wider mode.

    Args:
        path: File to write; its directory exists.
        content: The whole text.
        mode: Permission bits of the file.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=...)`; one that is made is its owner's alone."""
    return os.open(path, flags, 0o600)


def copy_private(source: Path, target: Path) -> None:
    """Copy a file to where none is yet; nobody but its owner ever sees the copy.

    Raises:
        FileExistsError: The target is there.
    """
    with source.open("rb") as read, open(target, "xb", opener=private_opener) as written:
        shutil.copyfileobj(read, written)
