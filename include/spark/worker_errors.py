"""Errors of ours on their way from a Spark worker to the task that asked.

What a worker raises reaches the task as Spark's own error with a traceback in its text: no longer
one that a person is told in a sentence, and one that is tried again. So a worker gives a
:class:`~include.errors.RelevoError` back as a value in a column of its result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa

from include import errors
from include.errors import RelevoError, UnavailableError

FIELD = pa.field("error", pa.string())


def told(error: RelevoError) -> str:
    """Write an error as a text; one that may pass is raised, so that Spark tries again."""
    if isinstance(error, UnavailableError):
        raise error
    return json.dumps([type(error).__name__, str(error)])


def raise_first(texts: Iterable[str | None]) -> None:
    """Raise the first error among what workers gave back; the order is that of their texts.

    Args:
        texts: What :func:`told` wrote, None where all went well.

    Raises:
        RelevoError: If there is one, of the class that it had.
    """
    for text in sorted(filter(None, texts)):
        kind, message = json.loads(text)
        raise getattr(errors, kind)(message)
