"""`./relevo decisions`: what was decided about each partition, and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from stack.commands import named_pipeline
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, shown_errors

_STYLES = {"yes": "green", "promoted": "green", "refused": "red", "failed": "red"}


def decisions(
    name: Annotated[str, typer.Argument(help="Name of the pipeline.")], local: Local = False
) -> None:
    """Show every decision on retraining and promotion, with its reason and the champion."""
    from include.reports import decisions_page
    from include.storage.lake_tables import Lake

    with shown_errors():
        named_pipeline.load(name)
        with open_store(Layout.from_environment(), local=local) as settings:
            found = decisions_page.decisions(Lake(settings, name))
        if not found:
            raise StackError(
                f"Pipeline {name}: something must have been decided, got nothing. Trigger "
                f"{name}_train, then {name}_score."
            )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("partition", "about", "decision", "champion"):
        table.add_column(head, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for item in found:
        style = _STYLES.get(item.decision)
        decision = f"[{style}]{item.decision}[/]" if style else item.decision
        reason = escape(item.reason)
        table.add_row(item.partition, item.about, decision, item.champion, reason)
    console.print(table)
