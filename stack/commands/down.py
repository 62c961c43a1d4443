"""`./relevo down`: stop the embedded stack."""

from __future__ import annotations

from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.terminal import console, report, shown_errors


def down() -> None:
    """Stop every part of the embedded stack; data is kept."""
    with shown_errors():
        stack = Stack(Layout.from_environment())
        with console.status("stopping the stack"):
            stopped = stack.down(report)
        console.print("The stack is down." if stopped else "Nothing was running.")
