"""Free space of local directories."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from stack.doctor.checkup import Check, Outcome, Visit, failed, ok, warning

WARN_BYTES = 5 * 10**9
FAIL_BYTES = 10**9


def visit(folders: Sequence[Path]) -> Visit:
    """Look at the temporary directory and those given."""
    every = (*folders, Path(tempfile.gettempdir()))
    return Visit(
        "disk",
        tuple(
            Check(f"free in {folder}", partial(free, folder), "Create the directory.")
            for folder in every
        ),
    )


def free(folder: Path) -> Outcome:
    """Judge the free space of the file system that holds a directory."""
    left = shutil.disk_usage(folder).free
    found = f"{left / 10**9:.1f} GB"
    remedy = "Free space, or move the directory (RELEVO_STATE, TMPDIR) to a larger disk."
    if left < FAIL_BYTES:
        return failed(found, remedy)
    if left < WARN_BYTES:
        return warning(found, remedy)
    return ok(found)
