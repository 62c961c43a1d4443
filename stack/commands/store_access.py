"""How commands reach the object store: of the running stack, of a deployment, or just started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from stack.embedded.configuration import Configuration
from stack.embedded.environment import store_of
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import StackError
from stack.terminal import report

if TYPE_CHECKING:
    from include.storage.settings import StoreSettings

Local = Annotated[
    bool, typer.Option("--local", help="Start the store if the stack is down, then stop it.")
]

_REMEDY = "Look with `./relevo status`, and repeat the command."


def store_settings(layout: Layout) -> StoreSettings:
    """Say where the store is: that of the running stack, else what RELEVO_STORE_* says.

    Raises:
        StackError: If the stack is down and the variables are not set.
    """
    from include.errors import SettingsError
    from include.storage.settings import StoreSettings

    if Stack(layout).is_running():
        return store_of(Configuration.load(layout))
    try:
        return StoreSettings.from_environment()
    except SettingsError as error:
        raise StackError(str(error)) from error


@contextlib.contextmanager
def open_store(layout: Layout, *, local: bool) -> Iterator[StoreSettings]:
    """Have a store to work on; what the library finds wrong there is the command's error.

    Args:
        layout: The embedded stack's paths.
        local: Start the embedded store if the stack is down, and stop it afterwards.

    Raises:
        StackError: If there is no store, it does not start, stops answering, or what is on it is
            not as it must be.
    """
    from include.errors import RelevoError
    from include.storage.outages import outages_told

    with contextlib.ExitStack() as ending:
        if local:
            os.umask(0o077)
            ending.enter_context(Stack(layout).running(("store",), report))
        try:
            settings = store_settings(layout)
        except StackError as error:
            raise StackError(f"{error} Or add --local to start just the store.") from error
        try:
            with outages_told(settings, _REMEDY):
                yield settings
        except RelevoError as error:
            raise StackError(str(error)) from error
