"""Columns that Relevo adds to the tables of a pipeline, which a user's columns must not meet.

What is added beside columns of a user's choice is called ``partition`` or begins with ``_``. Only
``labels`` and ``predictions`` hold other names, which people read; of a user's columns they hold
the keys alone.
"""

from __future__ import annotations

PREDICTIONS = "(predictions)"  # what verdicts and thresholds of drift call them
BESIDE_KEYS = (
    "label",
    "known_at",
    "score",
    "prediction",
    "probabilities",
    "model_version",
    "back_scored",
)


def is_reserved(column: str) -> bool:
    """Tell whether a column's name is one that Relevo gives; tables do not tell case apart."""
    return column.lower() == "partition" or column.startswith("_") or column == PREDICTIONS


def may_be_key(column: str) -> bool:
    """Tell whether a column can be the entity or the event time of a pipeline."""
    return not is_reserved(column) and column.lower() not in BESIDE_KEYS
