"""`./relevo lock`: pin what is installed, with hashes."""

from __future__ import annotations

import subprocess
from typing import Annotated

import typer

from stack.bootstrap import DEVELOPMENT, INSTALLER, RUNTIME
from stack.embedded.layout import REPOSITORY, Layout
from stack.terminal import console


def lock(
    upgrade: Annotated[bool, typer.Option(help="Take newer releases where allowed.")] = False,
) -> None:
    """Pin requirements*.in, with hashes, into requirements*.txt."""
    uv = str(Layout.from_environment().bin / "uv")
    for pinned in (RUNTIME, DEVELOPMENT, INSTALLER):
        wanted = str(pinned.removesuffix(".txt")) + ".in"
        command = [uv, "pip", "compile", wanted, "--quiet", "--generate-hashes"]
        command += ["--python-version", "3.11", "--output-file", pinned]
        command += ["--upgrade"] if upgrade else []
        console.print(f"{wanted} -> {pinned}")
        status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
        if status != 0:
            raise typer.Exit(status)
