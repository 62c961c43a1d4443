"""The pipeline that a command was told to work on, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stack.errors import StackError

if TYPE_CHECKING:
    from include.specification.pipeline import Pipeline


def load_all(name: str | None) -> list[Pipeline]:
    """Read the file of the pipeline that is named, or those of all; see :func:`load`."""
    from include.specification import pipeline_file

    return [load(each) for each in ([name] if name else pipeline_file.names())]


def load(name: str) -> Pipeline:
    """Read its file, before anything starts.

    Raises:
        StackError: If there is none of the name, or it is wrong.
    """
    from include.errors import RelevoError
    from include.specification import pipeline_file

    try:
        return pipeline_file.load(name)
    except RelevoError as error:
        raise StackError(str(error)) from error
