"""What every command says and how it ends."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from include.wording import harmless
from stack.errors import StackError

# Rich assumes 80 columns in a pipe and would cut the addresses.
PIPE_COLUMNS = 140


class Terminal(Console):
    """Shows what it is given, whoever wrote it, and lets none of that steer the terminal."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Turn words into what is shown, cells of tables too."""
        return super().render_str(harmless(text), **how)


console = Terminal(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
errors = Terminal(stderr=True, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def shown_errors() -> Iterator[None]:
    """Turn an error of the stack or a file into a message and exit code 1, interrupts into 130."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield
    except StackError as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except OSError as error:
        # Of a file that a person named or that is theirs: a name too long, no right, a full disk.
        if error.filename is None:
            raise
        said = error.strerror or type(error).__name__
        text = f"file {error.filename}: must be usable, got: {said}. Name another, or mend it."
        errors.print(text, style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        errors.print("interrupted", style="red")
        raise typer.Exit(130) from None


def report(line: str) -> None:
    """Show a step of something that takes a while."""
    console.print(line, markup=False, soft_wrap=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
