"""Become one part of the stack: `python -m stack.embedded.launch <part>`.

supervisord runs this, so that its own configuration, command lines and
environment hold no secret: they are read here, from the private file.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from stack.embedded.configuration import Configuration
from stack.embedded.layout import Layout
from stack.embedded.parts import PARTS, Part
from stack.embedded.processes import end_orphans


def launch(name: str, parts: Sequence[Part] = PARTS) -> None:
    """Replace this process by the part; each start leaves a line in its starts file."""
    part = next(part for part in parts if part.name == name)
    layout = Layout.from_environment()
    # A server that was killed leaves its workers, which hold the port.
    end_orphans(layout, name)
    how = part.launch(layout, Configuration.load(layout))
    with layout.starts_of(name).open("a", encoding="utf-8") as starts:
        starts.write(f"{time.time():.3f}\n")
    os.chdir(how.directory)
    os.execve(how.command[0], how.command, how.environment)


if __name__ == "__main__":
    launch(sys.argv[1])
