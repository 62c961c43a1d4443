"""Names of columns as Spark takes them: of a bare one it makes a path at every dot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column


def backticked(name: str) -> str:
    """Write a column name so that Spark takes it as it is, whatever it holds."""
    return f"`{name.replace('`', '``')}`"


def column(name: str) -> Column:
    """Refer to a column by its name as it is."""
    from pyspark.sql import functions as f

    return f.col(backticked(name))
