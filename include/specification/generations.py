"""How the tables of a pipeline are called, by generation.

A pipeline that is changed so that its tables cannot go on writes a new generation of them beside
the old one. The first generation has plain names, a later one its number behind them: ``features``,
``features_2``.
"""

from __future__ import annotations

import re

FEATURES = "features"
LABELS = "labels"
TRAINING_SETS = "training_sets"


def of_generation(table: str, generation: int) -> str:
    """Name a generation, >= 1, of a table that is called by the name of its first one."""
    return table if generation == 1 else f"{table}_{generation}"


def raw_table(source: str) -> str:
    """Name the first generation of the table that a source is ingested into."""
    return f"raw_{source}"


def quarantine_table(dataset: str) -> str:
    """Name the first generation of the table that a data set's bad rows are moved to."""
    return f"quarantine_{dataset}"


def repairs_table(source: str) -> str:
    """Name the first generation of the table that repaired rows of a source are kept in."""
    return f"repairs_{source}"


def keeps_rows_as_text(table: str) -> bool:
    """Tell whether a table is one of quarantine or of repairs, of whatever data set."""
    return table.startswith((quarantine_table(""), repairs_table("")))


def generation_of(table: str, first: str) -> int | None:
    """Tell which generation of a table another one is; None if it is none."""
    if table == first:
        return 1
    found = re.fullmatch(rf"{re.escape(first)}_([1-9][0-9]*)", table)
    number = int(found[1]) if found else 1
    return number if number > 1 else None


def is_one_of(table: str, first: str) -> bool:
    """Tell whether a table is a generation of another one."""
    return generation_of(table, first) is not None
