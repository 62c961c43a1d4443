"""`./relevo quarantine`: the rows that suites moved away, why, and as a file to repair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from include.wording import counted
from stack.commands import named_pipeline
from stack.commands.platform_run import Name
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from include.steps.quarantined_rows import QuarantinedRow

# On the terminal; a file has all.
_SHOWN = 50


def quarantine(
    name: Name,
    dataset: Annotated[
        str | None, typer.Option(help="A source, or features; all if unset.")
    ] = None,
    partition: Annotated[str | None, typer.Option(help="One partition; all if unset.")] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write them to this .csv or .parquet, to repair.", dir_okay=False),
    ] = None,
    local: Local = False,
) -> None:
    """List the rows in quarantine with the reasons, or write them to a file."""
    from include.calendar.partitions import parse
    from include.steps import quarantined_rows as rows_of
    from include.steps.generations import in_use_now
    from include.storage.lake_tables import Lake

    with shown_errors():
        pipeline = named_pipeline.load(name)
        if export is not None and dataset is None:
            raise StackError("Option --dataset: must name one to export, got none. Name it.")
        with open_store(Layout.from_environment(), local=local) as settings:
            lake = Lake(settings, name)
            one = in_use_now(lake, pipeline)
            if partition is not None:
                parse(partition, pipeline.partition)
            if dataset is not None:
                rows_of.demand_dataset(pipeline, dataset)
            found = {
                each: rows
                for each in ((dataset,) if dataset else (*pipeline.sources, "features"))
                if (rows := rows_of.quarantined_rows(lake, one.quarantine_table(each), partition))
            }
            if export is not None:
                data = rows_of.as_file(found.get(str(dataset), ()), export.suffix)
                try:
                    export.write_bytes(data)
                except OSError as error:
                    raise StackError(f"file {export}: must be writable, got {error}.") from error
    if not found:
        report(f"{name}: no row is in quarantine")
        return
    for each, rows in found.items():
        report(f"{each}: {counted(len(rows), 'row')} in quarantine")
        if export is None:
            _show(rows)
    if export is not None:
        report(f"written to {export}")


def _show(rows: list[QuarantinedRow]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("row", "partition", "reasons"):
        table.add_column(head, overflow="fold")
    for row in rows[:_SHOWN]:
        table.add_row(*map(escape, (row.id, row.partition, row.reasons)))
    console.print(table)
    if len(rows) > _SHOWN:
        report(f"and {len(rows) - _SHOWN} more; --partition shows fewer, --export writes all")
