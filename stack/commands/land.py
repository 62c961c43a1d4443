"""`./relevo land`: copy a local file to where a pipeline looks for its data."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.embedded.configuration import Configuration
from stack.embedded.environment import store_environment
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import StackError
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from include.ingestion.landing import Landed
    from include.storage.settings import StoreSettings

_LISTED = 5


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
    local: Annotated[
        bool,
        typer.Option("--local", help="Start the store if the stack is down, then stop it."),
    ] = False,
) -> None:
    """Land a local file: split by the times of its rows, or as a snapshot."""
    layout = Layout.from_environment()
    with shown_errors(), contextlib.ExitStack() as ending:
        if local:
            os.umask(0o077)
            ending.enter_context(Stack(layout).running(("store",), report))
        from include.errors import RelevoError
        from include.ingestion.landing import land as land_file
        from include.specification import pipeline_file
        from include.storage.object_store import ObjectStore

        try:
            pipeline = pipeline_file.load(name)
            landed = land_file(
                ObjectStore(store_settings(layout)),
                pipeline,
                file,
                source=source,
                snapshot=snapshot,
                replace=replace,
            )
        except RelevoError as error:
            raise StackError(str(error)) from error
    _show(landed)


def store_settings(layout: Layout) -> StoreSettings:
    """Say where the store is: that of the running stack, else what RELEVO_STORE_* says.

    Raises:
        StackError: If the stack is down and the variables are not set.
    """
    from include.errors import SettingsError
    from include.storage.settings import StoreSettings

    if Stack(layout).is_running():
        os.environ.update(store_environment(Configuration.load(layout)))
    try:
        return StoreSettings.from_environment()
    except SettingsError as error:
        raise StackError(str(error)) from error


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
