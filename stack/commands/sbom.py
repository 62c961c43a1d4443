"""`./relevo sbom`: a bill of materials of the pinned packages."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from stack.bootstrap import RUNTIME
from stack.embedded.layout import REPOSITORY, Layout
from stack.errors import StackError
from stack.terminal import report, shown_errors


def sbom(
    file: Annotated[Path, typer.Argument(help="Where to write the CycloneDX JSON.")],
) -> None:
    """Write a bill of materials of the pinned packages, with their hashes."""
    command = [str(Layout.from_environment().bin / "cyclonedx-py"), "requirements", RUNTIME]
    command += ["--pyproject", "pyproject.toml", "--output-reproducible"]
    command += ["--output-file", str(file.resolve())]
    with shown_errors():
        answer = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            raise StackError(
                f"Bill of materials {file}: must be written, got {answer.stderr.strip()[-500:]!r}. "
                "Name a file in a directory that exists."
            )
        report(f"{RUNTIME} -> {file}")
