"""`./relevo torture`: whether the promises hold under faults."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from stack.embedded.environment import code_commit
from stack.embedded.layout import REPOSITORY
from stack.errors import ConfigurationError, StackError
from stack.terminal import report, shown_errors

# Below this, worlds are small: there is no time for many partitions.
_SHORT_MINUTES = 10


def torture(
    minutes: Annotated[float, typer.Option(min=1, help="After it no further round begins.")] = 30,
    seed: Annotated[int, typer.Option(help="What all faults are drawn from.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option(help="Directory for the stack, its tables and the report; else a new one."),
    ] = None,
) -> None:
    """Run a stack of its own, make faults at random, and check what must hold after each round.

    The exit code is 0 if nothing was violated and most kinds of fault really happened.
    """
    with shown_errors():
        from stack.torture import place
        from stack.torture.harness import Size, Torture
        from stack.torture.report import Report

        begun = time.monotonic()
        where = _folder(folder)
        report(f"stack, tables and report: {where}")
        size = Size(scored=2, worlds=1, faults=14) if minutes < _SHORT_MINUTES else Size()
        with place.running(where, report) as held:
            run = Torture(held, seed, size, report)
            try:
                run.run(begun + minutes * 60)
            finally:
                found = Report(
                    command=" ".join(("./relevo", *sys.argv[1:])),
                    seed=seed,
                    commit=code_commit(REPOSITORY),
                    seconds=time.monotonic() - begun,
                    rounds=run.rounds,
                    checked=run.checked,
                )
                found.write(where)
        report(f"report: {where / 'report.md'}")
        if not found.holds:
            raise StackError(
                f"Torture with seed {seed}: must end without violations and with most kinds of "
                f"fault, got {len(found.violations)} violations and {len(found.hit)} of "
                f"{len(found.planned)} kinds. See {where / 'report.md'}."
            )


def _folder(folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="relevo-torture-"))
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(
            f"Option --folder: {folder} must be empty, got files. Name another directory."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()
