"""`./relevo gaps`: what was passed over, and what to do about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from stack.commands import named_pipeline
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.monitoring.gaps import Gap


def gaps(
    name: Annotated[
        str | None, typer.Argument(help="Name of the pipeline; every pipeline if unset.")
    ] = None,
    local: Local = False,
) -> None:
    """List partitions that were not scored, labelled, decided or judged; exit code 1 if any."""
    from include.registry.champions import PROFILES, Registry
    from include.steps.gaps import find_gaps
    from include.storage.lake_tables import Lake

    with shown_errors():
        pipelines = named_pipeline.load_all(name)
        now = datetime.now(UTC).replace(tzinfo=None)
        with open_store(Layout.from_environment(), local=local) as settings:
            lakes = {item.name: Lake(settings, item.name) for item in pipelines}
            retired = {name: Registry(lake).retired() for name, lake in lakes.items()}
            found = {
                item.name: [] if retired[item.name] else find_gaps(lakes[item.name], item, now)
                for item in pipelines
            }
            begun = {name: bool(lake.partitions(PROFILES)) for name, lake in lakes.items()}
    for each, listed in found.items():
        if retired[each]:
            report(f"{each}: {retired[each]}")
        else:
            _show(each, listed, begun[each])
    if any(found.values()):
        raise typer.Exit(1)


def _show(name: str, listed: Sequence[Gap], has_begun: bool) -> None:
    if not has_begun:
        report(f"{name}: nothing was scored yet")
        return
    if not listed:
        report(f"{name}: no gaps")
        return
    report(f"{name}: {len(listed)} gap{'s' if len(listed) > 1 else ''}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("partitions", no_wrap=True)
    for head in ("missing", "why"):
        table.add_column(head, overflow="fold")
    for gap in listed:
        table.add_row(gap.partitions, ", ".join(gap.missing), escape(gap.reason))
    console.print(table)
    for gap in listed:
        console.print(f"  {gap.partitions}: {gap.remedy}", markup=False, soft_wrap=True)
