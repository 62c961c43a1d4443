"""`./relevo predictions`: what was scored, on the terminal or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from include.wording import counted
from stack.commands import named_pipeline
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, shown_errors

if TYPE_CHECKING:
    import pyarrow as pa

    from include.scoring.predictions import Scored
    from include.storage.lake_tables import Lake

_ROWS = 10


def predictions(
    name: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    partition: Annotated[
        str | None, typer.Option(help="Partition to show; the latest, or all with --to, if unset.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write every row to this file: .csv or .parquet.")
    ] = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="What the last `./relevo run` scored, on its sample.")
    ] = False,
    then: Annotated[
        bool,
        typer.Option(
            "--made-then",
            help="With --partition: what was predicted first, before a corrected file.",
        ),
    ] = False,
    local: Local = False,
) -> None:
    """Show the first rows that were scored, or write all of them to a file."""
    from include.development.local_run import SUFFIX
    from include.errors import RelevoError
    from include.scoring import predictions as scoring
    from include.storage.lake_tables import Lake

    with shown_errors():
        named_pipeline.load(name)
        if then and partition is None:
            raise StackError("Option --made-then: must come with --partition, got none. Name one.")
        try:
            if to is not None:
                scoring.check_target(to)
            with open_store(Layout.from_environment(), local=local) as settings:
                lake = Lake(settings, f"{name}{SUFFIX}" if dev else name)
                if then and partition is not None:
                    held = scoring.scored_then(lake, partition)
                else:
                    held = scoring.scored(lake, partition)
                if to is None:
                    latest = list(held.rows)[-1]
                    _show(lake, held, latest, scoring.read(lake, held, latest))
                else:
                    rows = scoring.export(lake, held, to)
                    _line(f"wrote {counted(rows, 'row')} of {_told(held)} to {to}")
        except RelevoError as error:
            raise StackError(str(error)) from error


def _show(lake: Lake, held: Scored, partition: str, rows: pa.Table) -> None:
    from include.scoring.batch_scoring import TABLE
    from include.storage.lake_tables import PARTITION

    shown = rows.drop_columns([PARTITION]).slice(0, _ROWS)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in shown.column_names:
        table.add_column(escape(column), overflow="fold")
    for row in zip(*(column.to_pylist() for column in shown.columns), strict=True):
        table.add_row(*(escape(_cell(value)) for value in row))
    console.print(table)
    first = "all" if shown.num_rows == rows.num_rows else f"the first {shown.num_rows}"
    _line(f"{first} of {rows.num_rows:,} rows of {partition}; scored: {_told(held)}")
    _line(f"{lake.uri(TABLE)}/ at version {held.version}; --to writes every row to a file")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return str(value)


def _told(held: Scored) -> str:
    names = list(held.rows)
    if len(names) == 1:
        return f"partition {names[0]}"
    return f"{len(names)} partitions, {names[0]} to {names[-1]}"


def _line(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
