"""What stands in the columns of a sample."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.development.scaffold.text_columns import is_amount
from include.storage.data_frames import to_series

Kind = Literal["number", "string", "boolean", "moment", "empty"]
# From here on floats leave whole numbers out.
MOST_EXACT = 2**53
_SHOWN_LEVELS = 20
_KEY_NAME = re.compile(r"(^|_)(id|key|uuid|guid|nr|no|number)(_|$)|[a-z]I[Dd]$")
_CATALOGUE = re.compile(r"\s")


@dataclass(frozen=True)
class Column:
    """One column of a sample.

    Args:
        name: Its name.
        kind: What its values are; ``empty`` if there are none.
        rows: Rows of the sample.
        missing: Rows without a value.
        distinct: Different values.
        whole: Whether every number is whole.
        low: Least number, exact if it is whole; None unless numbers.
        high: Largest number.
        levels: The most frequent values of a string or boolean column, most frequent first.
        is_date: Whether every moment is a midnight.
    """

    name: str
    kind: Kind
    rows: int
    missing: int
    distinct: int
    whole: bool = False
    low: int | float | None = None
    high: int | float | None = None
    levels: tuple[Any, ...] = ()
    is_date: bool = False

    @property
    def missing_share(self) -> float:
        """Share of rows without a value, in [0, 1]."""
        return self.missing / max(1, self.rows)

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.missing == 0 and self.distinct == self.rows

    @property
    def is_text(self) -> bool:
        """Whether it is free text or a name: too many different strings to learn from."""
        held = self.rows - self.missing
        return self.kind == "string" and self.distinct > 200 and self.distinct > 0.1 * held

    @property
    def looks_like_key(self) -> bool:
        """Whether it is unique and reads like an identifier, not like a measurement."""
        if not self.is_unique or self.rows < 2:
            return False
        if self.kind == "string":
            amounts = is_amount(pa.array(self.levels, pa.string()))
            is_catalogue = any(_CATALOGUE.search(level) for level in self.levels)
            return not is_catalogue and not pc.any(amounts).as_py()
        if self.kind != "number" or not self.whole or self.low is None or self.high is None:
            return False
        is_serial = self.high - self.low < 10 * self.rows
        return bool(_KEY_NAME.search(self.name)) or is_serial or self.is_long

    @property
    def is_long(self) -> bool:
        """Whether its whole numbers have more digits than a float: no measurement has them."""
        if not self.whole or self.low is None or self.high is None:
            return False
        return max(-self.low, self.high) > MOST_EXACT


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Take typed rows to pandas: whole numbers stay whole, times become naive UTC.

    Args:
        table: Plain columns; others (lists, structures) are left as objects.
    """
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_decimal(column.type):
            column = _numbers(column)
        values = to_series(column)
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            values = values.dt.tz_convert("UTC").dt.tz_localize(None)
        columns[name] = values
    return pd.DataFrame(columns)


def _numbers(decimals: pa.ChunkedArray) -> pa.ChunkedArray:
    """Read decimals as numbers; whole ones exactly, which may be keys, if need be as texts.

    Databases write whole numbers with decimals, too: 17.0000000000.
    """
    try:
        whole = decimals.cast(pa.decimal128(38, 0))
    except pa.ArrowInvalid:
        return decimals.cast(pa.float64())
    try:
        return whole.cast(pa.int64())
    except pa.ArrowInvalid:
        return whole.cast(pa.string())


def inspect(values: pd.Series) -> Column:
    """Describe one column."""
    name, rows = str(values.name), len(values)
    held = values.dropna()
    missing = rows - len(held)
    if held.empty:
        return Column(name, "empty", rows, missing, 0)
    distinct = int(held.map(str).nunique() if held.dtype == object else held.nunique())
    levels = tuple(held.value_counts().index[:_SHOWN_LEVELS]) if distinct <= rows else ()
    if pd.api.types.is_bool_dtype(held) or set(map(type, held.head(1000))) == {bool}:
        return Column(name, "boolean", rows, missing, distinct, levels=levels)
    if pd.api.types.is_datetime64_any_dtype(held):
        midnight = bool((held == held.dt.normalize()).all())
        return Column(name, "moment", rows, missing, distinct, is_date=midnight)
    if pd.api.types.is_numeric_dtype(held):
        # Whole numbers are compared as such: keys and classes may have any number of digits.
        exact = pd.api.types.is_integer_dtype(held)
        number = int if exact else float
        return Column(
            name,
            "number",
            rows,
            missing,
            distinct,
            whole=exact or bool((held % 1 == 0).all()),
            low=number(held.min()),
            high=number(held.max()),
            levels=tuple(sorted(held.unique())) if distinct <= _SHOWN_LEVELS else (),
        )
    return Column(name, "string", rows, missing, distinct, levels=tuple(map(str, levels)))


def quantile(values: pd.Series, share: float) -> float:
    """Give a quantile of the finite numbers of a column."""
    numbers = values.astype("float64")
    return float(np.quantile(numbers[np.isfinite(numbers)], share))
