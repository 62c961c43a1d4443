"""`./relevo status`: how every part is."""

from __future__ import annotations

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import StackError
from stack.terminal import console, shown_errors


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def status() -> None:
    """Show every part; the exit code is 0 only if all are healthy."""
    with shown_errors():
        stack = Stack(Layout.from_environment())
        if not stack.is_running():
            trouble = "supervisord is gone, its parts are not" if stack.has_orphans() else "down"
            raise StackError(f"Stack {stack.layout.state}: {trouble}. Run `./relevo up`.")
        rows = stack.status()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("part", "state", "pid", "uptime", "restarts", "address"):
        table.add_column(heading, no_wrap=True)
    table.add_column("health", overflow="fold")
    for row in rows:
        table.add_row(
            row.name,
            row.state.state.lower(),
            str(row.state.pid or "-"),
            _duration(row.state.uptime_seconds) if row.state.pid else "-",
            str(row.restarts),
            row.address or "-",
            "[green]healthy[/]" if row.trouble is None else f"[red]{escape(row.trouble)}[/]",
        )
    console.print(table)
    raise typer.Exit(0 if all(row.trouble is None for row in rows) else 1)
