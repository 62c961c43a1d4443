"""`./relevo withdraw`: take back the request for a training."""

from __future__ import annotations

import getpass
import os
from typing import Annotated

import typer

from stack.commands import named_pipeline
from stack.commands.platform_run import Reason, given_reason
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import console, shown_errors


def withdraw(
    name: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    partition: Annotated[str, typer.Argument(help="Partition as of which it was requested.")],
    reason: Reason = "",
    local: Local = False,
) -> None:
    """Take back a training that was requested and has not begun, so that nobody waits for it."""
    from include.calendar import partitions
    from include.errors import RelevoError
    from include.steps import training_course
    from include.storage.lake_tables import Lake

    with shown_errors():
        pipeline = named_pipeline.load(name)
        why = given_reason(reason)
        try:
            named = partitions.parse(partition, pipeline.partition)
            with open_store(Layout.from_environment(), local=local) as settings:
                done = training_course.withdraw(Lake(settings, name), named, why, _who())
        except RelevoError as error:
            raise StackError(str(error)) from error
    told = f"withdrew the training of {name} as of {partition}; a later yes may ask for it again"
    console.print(told if done.changed else done.told, markup=False, soft_wrap=True)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"
