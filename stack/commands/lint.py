"""`./relevo lint`: lint, format, types and contracts, as CI runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from include.wording import some
from stack.embedded.layout import REPOSITORY
from stack.errors import ConfigurationError
from stack.terminal import console, shown_errors

# The environment that this runs in is the locked one.
PROGRAMS = Path(sys.executable).parent
SOURCES = (".py", ".pyi")
SETTINGS = "pyproject.toml"
LAUNCHER = "relevo"  # Python without an ending
_IMPORTED_FROM = os.pathsep.join((".", "plugins"))


@dataclass(frozen=True)
class Check:
    """One program that looks at the code.

    Args:
        name: As shown.
        command: Program and arguments.
        idle: Why it has nothing to do; empty if it has.
    """

    name: str
    command: tuple[str, ...]
    idle: str = ""


def lint(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="What ruff looks at; everything if unset.", show_default=False),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Let ruff mend and format.")] = False,
) -> None:
    """Lint, check format, types and contracts; exit code 1 if one of them fails.

    mypy and the contracts always look at everything, and are left out if no file is Python's.
    """
    with shown_errors():
        checks = planned(files or [], fix)
        _refuse_without(checks)
        passed = [_passes(check) for check in checks]
    if not all(passed):
        raise typer.Exit(1)


def planned(files: Sequence[Path], fix: bool) -> tuple[Check, ...]:
    """Say which programs run with which arguments.

    Args:
        files: Files or folders, as seen from the working directory; everything if empty.
        fix: Let ruff mend and format.

    Raises:
        ConfigurationError: If one of the files does not exist.
    """
    missing = [str(path) for path in files if not os.path.exists(path)]
    if missing:
        raise ConfigurationError(
            f"File {some(missing)}: must exist to be looked at, got nothing there. "
            "Correct the name, or name no file to look at everything."
        )
    ours = [path for path in files if _is_ours(path)] if files else [REPOSITORY]
    idle = "" if ours else f"no Python and no {SETTINGS} among the files"
    # Ruff reads whatever it is given by name as Python, also what the settings exclude.
    chosen = ("--force-exclude", *(str(path.resolve()) for path in ours))
    return (
        Check("ruff check", ("ruff", "check", *(["--fix"] if fix else []), *chosen), idle),
        Check("ruff format", ("ruff", "format", *([] if fix else ["--check"]), *chosen), idle),
        Check("mypy", ("mypy", "-p", "include", "-p", "relevo", "-p", "stack"), idle),
        Check("lint-imports", ("lint-imports", "--no-logo"), idle),
    )


def _is_ours(path: Path) -> bool:
    return path.is_dir() or path.suffix in SOURCES or path.name in (SETTINGS, LAUNCHER)


def _refuse_without(checks: Sequence[Check]) -> None:
    for program in dict.fromkeys(check.command[0] for check in checks):
        if not (PROGRAMS / program).exists():
            raise ConfigurationError(
                f"Program {program}: must be installed beside Python, got nothing in {PROGRAMS}. "
                "Run `./relevo lint`, which installs it."
            )


def _passes(check: Check) -> bool:
    """Run a check and show a line about it, and what it said if it failed."""
    if check.idle:
        console.print(f"{check.name:<14}skipped: {check.idle}", markup=False)
        return True
    begun = time.monotonic()
    answer = subprocess.run(
        [str(PROGRAMS / check.command[0]), *check.command[1:]],
        cwd=REPOSITORY,
        env={**os.environ, "MYPYPATH": _IMPORTED_FROM, "PYTHONPATH": _IMPORTED_FROM},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    passed = answer.returncode == 0
    verdict = "ok" if passed else "FAILED"
    console.print(
        f"{check.name:<14}{verdict:<8}{time.monotonic() - begun:.1f} s",
        markup=False,
        style=None if passed else "red",
    )
    if not passed:
        console.print(answer.stdout.rstrip(), markup=False, soft_wrap=True)
    return passed
