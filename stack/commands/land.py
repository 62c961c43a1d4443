"""`./relevo land`: copy a local file to where a pipeline looks for its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.commands import named_pipeline
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, shown_errors

if TYPE_CHECKING:
    from include.ingestion.landing import Landed
    from include.specification.pipeline import Pipeline
    from include.storage.lake_tables import Lake

_LISTED = 5
# Corrections change rows, and take some away; they do not take half of them.
_SHRUNK = 0.5


def land(
    name: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    file: Annotated[Path, typer.Argument(help="Local file in the source's format.")],
    source: Annotated[
        str | None, typer.Option(help="Source that it belongs to; the first if unset.")
    ] = None,
    snapshot: Annotated[
        int | None,
        typer.Option(min=1, help="Number of the snapshot, for data without a time; else the next."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite other content that has landed.")
    ] = False,
    local: Local = False,
) -> None:
    """Land a local file: split by the times of its rows, or as a snapshot."""
    from include.errors import RelevoError
    from include.ingestion.landing import land as land_file
    from include.storage.lake_tables import Lake
    from include.storage.object_store import ObjectStore

    with shown_errors():
        pipeline = named_pipeline.load(name)
        with open_store(Layout.from_environment(), local=local) as settings:
            try:
                landed = land_file(
                    ObjectStore(settings),
                    pipeline,
                    file,
                    source=source,
                    snapshot=snapshot,
                    replace=replace,
                )
            except RelevoError as error:
                raise StackError(str(error)) from error
            _show(landed)
            lake, whose = Lake(settings, pipeline.name), source or pipeline.primary_source
            told = (*_kept(lake, whose, landed), *_warnings(lake, pipeline, whose, landed))
            for warning in told:
                console.print(warning, style="yellow", markup=False, soft_wrap=True)


def _kept(lake: Lake, source: str, landed: Landed) -> Sequence[str]:
    """Say which partitions have rows of what landed there before, and what brings the new ones.

    A few rows that slipped into the file of another partition replace the whole of that.
    """
    from include.steps.preparation import raw_table
    from include.wording import some

    ingested = lake.row_counts(raw_table(source))
    changed = [
        name for name in sorted(ingested) if any(f"/{name}/" in uri for uri in landed.written)
    ]
    if not changed:
        return ()
    shrunk = [
        f"{name}: {landed.rows[name]:,} rows have landed in place of {ingested[name]:,} that were "
        "ingested. If that is not the whole partition, land the whole of it before its run is "
        "repeated."
        for name in changed
        if landed.rows[name] < _SHRUNK * ingested[name]
    ]
    return (
        *shrunk,
        f"{some(changed)} {'was' if len(changed) == 1 else 'were'} ingested before: the tables "
        "keep the rows of then until the scoring runs are repeated, e.g. by ./relevo airflow "
        "backfill create with --reprocess-behavior completed.",
    )


def _warnings(lake: Lake, pipeline: Pipeline, source: str, landed: Landed) -> Sequence[str]:
    """Say what ingesting the last of the landed partitions will meet.

    Of an older history landed later that is the last of those that were there before, too: the
    columns of the partition that is first now will be those of the table.
    """
    from include.calendar import partitions
    from include.development.landed_checks import latest
    from include.errors import RelevoError
    from include.ingestion.landed_partitions import landed_partitions
    from include.steps.landed_probe import probe
    from include.storage.connections import from_environment

    told: list[str] = []
    try:
        end = latest(pipeline)
        found = landed_partitions(lake.settings, pipeline, source, end, from_environment)
        last = partitions.parse(list(landed.rows)[-1], pipeline.partition)
        for partition in dict.fromkeys((last, *found[-1:])):
            told += probe(lake, pipeline, source, partition).warnings
    except RelevoError as error:
        told.append(f"It has landed, but ingesting it will stop. {error}")
    return told


def _show(landed: Landed) -> None:
    names = list(landed.rows)
    rows = sum(landed.rows.values())
    shown = ", ".join(names) if len(names) <= _LISTED else f"{names[0]} to {names[-1]}"
    console.print(
        f"landed {rows:,} rows in {len(names)} partition{'' if len(names) == 1 else 's'} "
        f"({shown}): {len(landed.written)} written, {len(landed.skipped)} there already",
        markup=False,
        soft_wrap=True,
    )
    for warning in landed.warnings:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
