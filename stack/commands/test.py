"""`./relevo test`: all tests, the quick ones, the long proofs, or some."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from stack.embedded.layout import REPOSITORY
from stack.errors import ConfigurationError
from stack.terminal import console, shown_errors

PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
# One worker drives the whole stack, the other runs the rest: tests/scheduling.py.
WORKERS = ("-n", "2", "--no-loadscope-reorder")
EVERYTHING = ("tests", "--ignore=tests/compose")
_STRUCTURE = (
    *("tests/test_structure.py", "tests/test_architecture.py", "tests/test_documents.py"),
    "tests/test_scheduling.py",
)
_NOT_SLOW = ("-m", "not slow")
# Left out of everything else by pyproject.toml.
_PROOFS = ("-m", "proof")
# The library, the Airflow layer and the structure, without what asks for a server.
QUICK = ("tests/library", "tests/operators", "tests/dags", *_STRUCTURE, *_NOT_SLOW)
# The word after one of these is no choice of tests, even if a folder is called so.
_VALUED = frozenset({"-k", "-m", "--deselect", "--ignore", "--ignore-glob"})


def test(
    context: typer.Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without what starts servers: after each edit.")
    ] = False,
    proofs: Annotated[
        bool,
        typer.Option("--proofs", help="The long proofs alone: every data set as `new` wrote it."),
    ] = False,
    compose: Annotated[
        bool, typer.Option("--compose", help="The stage on docker-compose, 25 minutes.")
    ] = False,
) -> None:
    """Run the tests; arguments are handed to pytest."""
    if quick + proofs + compose > 1:
        with shown_errors():
            raise ConfigurationError(
                "Options --quick, --proofs, --compose: must be one at most, because each names "
                "tests that the others leave out, got several. Leave all but one out."
            )
    if compose:
        command = [sys.executable, "-m", "tests.compose.engine", *context.args]
    else:
        words, chosen = named_tests(context.args)
        if not (quick or proofs) and any(map(_opens_a_browser, chosen or ["tests"])):
            with shown_errors():
                _ensure_chromium()
        command = [sys.executable, "-m", "pytest", *planned(quick, proofs, bool(chosen)), *words]
    os.chdir(REPOSITORY)
    sys.stdout.flush()
    os.execv(command[0], command)


def planned(quick: bool, proofs: bool, chosen: bool) -> tuple[str, ...]:
    """Say what pytest is told besides the words of the user, who may have chosen tests."""
    if proofs:  # they share servers, so a second worker would have nothing to do
        return _PROOFS if chosen else (*EVERYTHING, *_PROOFS)
    if chosen:
        return _NOT_SLOW if quick else ()
    return (*(QUICK if quick else EVERYTHING), *WORKERS)


def named_tests(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find the words that name tests, as seen from the working directory or the repository.

    Returns:
        All words, with those written as seen from the repository; and those alone.
    """
    written, chosen = [], []
    for before, word in zip(("", *words), words, strict=False):
        path = None if before in _VALUED else _test_path(word)
        written.append(path or word)
        if path:
            chosen.append(path)
    return written, chosen


def _test_path(word: str) -> str | None:
    file, colons, inside = word.partition("::")
    for start in (Path.cwd(), REPOSITORY):
        path = (start / file).resolve()
        if os.path.exists(path) and path.is_relative_to(REPOSITORY / "tests"):
            return f"{path.relative_to(REPOSITORY)}{colons}{inside}" if file else None
    return None


def _opens_a_browser(path: str) -> bool:
    return path == "tests" or path.startswith("tests/system")


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
