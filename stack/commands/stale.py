"""`./relevo stale`: what depends on landed data that was corrected, and how it is made anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from include.wording import counted
from stack.commands import named_pipeline
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.steps.staleness import Stale


def stale(
    name: Annotated[
        str | None, typer.Argument(help="Name of the pipeline; every pipeline if unset.")
    ] = None,
    local: Local = False,
) -> None:
    """List what was made from landed data that was corrected since; exit code 1 if anything was."""
    from include.errors import SettingsError, SourceError
    from include.registry.champions import Registry
    from include.steps.stale import find_stale
    from include.storage.lake_tables import Lake

    is_clean = True
    with shown_errors():
        pipelines = named_pipeline.load_all(name)
        with open_store(Layout.from_environment(), local=local) as settings:
            for pipeline in pipelines:
                lake = Lake(settings, pipeline.name)
                if retired := Registry(lake).retired():
                    report(f"{pipeline.name}: {retired}")
                    continue
                try:
                    found = find_stale(lake, pipeline)
                except (SettingsError, SourceError) as error:
                    # A source of one pipeline hides nothing of the others.
                    report(f"{pipeline.name}: cannot be looked at: {error}")
                    is_clean = False
                else:
                    _show(pipeline.name, found)
                    is_clean = is_clean and found.is_nothing
    if not is_clean:
        raise typer.Exit(1)


def _show(name: str, found: Stale) -> None:
    for source, first, last in found.expired:
        span = first if first == last else f"{first} to {last}"
        report(f"{name}: what landed of {source} {span} is there no more; the tables keep its rows")
    if found.is_nothing:
        report(f"{name}: nothing is stale")
        return
    count = len(found.partitions)
    report(
        f"{name}: {counted(count, 'partition')} {'has' if count == 1 else 'have'} something stale"
    )
    corrected = [(item.source, item.partition, item.what) for item in found.corrections]
    _print(("corrected source", "partition", "what"), corrected)
    history = [(each, "", ", ".join(tables)) for each, tables in found.history.items()]
    runs = [(run.partition, f"{run.dag_id} {run.run_id}", ", ".join(run.tables))
            for run in found.runs]  # fmt: skip
    _print(("partition", "run to repeat", "stale tables"), [*history, *runs])
    for version, as_of in found.versions.items():
        console.print(f"  version {version}, trained as of {as_of}, was trained on data of before")
    conf = json.dumps({"pipeline": name, "reason": "..."})
    command = f"  ./relevo airflow dags trigger platform_reprocess -c '{conf}'"
    console.print(command, markup=False, soft_wrap=True)


def _print(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    if table.row_count:
        console.print(table)
