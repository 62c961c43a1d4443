"""`./relevo history`: what was in use when, and who decided it."""

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


def history(
    name: Annotated[str, typer.Argument(help="Name of the pipeline.")], local: Local = False
) -> None:
    """Show trainings, approvals, rollbacks and every change of the champion: when, who, why."""
    from include.registry.champions import Registry
    from include.reports.history import HEADS
    from include.reports.history import history as happenings
    from include.specification import pipeline_file
    from include.storage.lake_tables import Lake

    with shown_errors():
        has_file = name in pipeline_file.names()
        if has_file:
            named_pipeline.load(name)
        with open_store(Layout.from_environment(), local=local) as settings:
            lake = Lake(settings, name)
            # What is retired is told also if its file is gone.
            if not has_file and not Registry(lake).retired():
                named_pipeline.load(name)
            found = happenings(lake)
        if not found:
            raise StackError(
                f"Pipeline {name}: something must have been trained, got nothing. Trigger "
                f"{name}_train."
            )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in HEADS:
        table.add_column(head, no_wrap=head not in ("who", "why"), overflow="fold")
    for item in found:
        table.add_row(*(escape(cell) for cell in item.cells()))
    console.print(table)
