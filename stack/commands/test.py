"""`./relevo test`: all tests, the quick ones, or some."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Annotated

import typer

from stack.embedded.layout import REPOSITORY
from stack.errors import ConfigurationError
from stack.terminal import console, shown_errors

PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
# One worker drives the whole stack, the other runs the rest: tests/scheduling.py.
WORKERS = ("-n", "2", "--no-loadscope-reorder")
EVERYTHING = ("tests", "--ignore=tests/compose")
_STRUCTURE = ("tests/test_structure.py", "tests/test_architecture.py", "tests/test_documents.py")
# The library, the Airflow layer and the structure, without what asks for a server.
QUICK = ("tests/library", "tests/operators", "tests/dags", *_STRUCTURE, "-m", "not slow")


def test(
    context: typer.Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without what starts servers: after each edit.")
    ] = False,
    compose: Annotated[
        bool, typer.Option("--compose", help="The stage on docker-compose, 25 minutes.")
    ] = False,
) -> None:
    """Run the tests; arguments are handed to pytest."""
    os.chdir(REPOSITORY)
    if compose:
        command = [sys.executable, "-m", "tests.compose.engine", *context.args]
    else:
        if not quick:
            with shown_errors():
                _ensure_chromium()
        chosen = any(os.path.exists(word.split("::")[0]) for word in context.args)
        ours = () if chosen else (*(QUICK if quick else EVERYTHING), *WORKERS)
        command = [sys.executable, "-m", "pytest", *ours, *context.args]
    sys.stdout.flush()
    os.execv(command[0], command)


def _ensure_chromium() -> None:
    """Install Debian's Chromium for the browser test.

    Raises:
        ConfigurationError: There is none and it cannot be installed from here.
    """
    if shutil.which("chromium"):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ConfigurationError(
            "Program chromium: is needed by the browser test and is not on the PATH. Install it "
            "(on Debian, as root: apt-get install chromium) and run again."
        )
    console.print("installing chromium")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (
        ("update",),
        ("install", "--yes", "--no-install-recommends", "chromium"),
    ):
        answer = subprocess.run(
            ["apt-get", "--quiet", "--quiet", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise ConfigurationError(
                f"apt-get {arguments[0]}: must install chromium for the browser test, got "
                f"{answer.stderr.strip()[-500:]!r}. Install chromium by hand and run again."
            )
