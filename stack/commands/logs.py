"""`./relevo logs`: the log of a part."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from stack.embedded.layout import Layout
from stack.embedded.parts import PARTS
from stack.errors import ConfigurationError
from stack.terminal import shown_errors

LOG_NAMES = ("supervisord", *(part.name for part in PARTS))


def logs(
    part: Annotated[str, typer.Argument(help=f"One of: {', '.join(LOG_NAMES)}.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many to show.")] = 200,
) -> None:
    """Show the log of a part."""
    with shown_errors():
        if part not in LOG_NAMES:
            known = ", ".join(LOG_NAMES)
            raise ConfigurationError(f"Part {part}: is unknown. Name one of {known}.")
        path = Layout.from_environment().log_of(part)
        if not path.exists():
            raise ConfigurationError(f"Part {part}: has no log yet. Run `./relevo up`.")
    sys.stdout.flush()
    # -F goes on with the new file after the log was rotated.
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), str(path)])
