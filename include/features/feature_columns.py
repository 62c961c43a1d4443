"""Which columns of a table are features, and of what kind."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from include.specification.own_columns import is_reserved
from include.specification.pipeline import Pipeline

# Columns of a training set that are no features, beside the entity and the event time.
LABEL = "_label"
KNOWN_AT = "_known_at"
SLICE = "_source_partition"
HELD_OUT = "_held_out"


def feature_columns(pipeline: Pipeline, columns: Sequence[str]) -> list[str]:
    """Name the features among a table's columns, in the table's order."""
    return [name for name in columns if name not in pipeline.keys and not is_reserved(name)]


def split_kinds(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split feature columns into numeric and categorical ones by their dtype."""
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(frame[name])]
    return numeric, [name for name in columns if name not in numeric]
