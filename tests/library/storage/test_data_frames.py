"""From Arrow to pandas: every value of every type, with and without a missing one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from include.storage.data_frames import to_pandas, to_series

LONG = 2**53 + 1
VALUES = {
    "int8": pa.array([-128, 127], pa.int8()),
    "int16": pa.array([-(2**15), 2**15 - 1], pa.int16()),
    "int32": pa.array([-(2**31), 2**31 - 1], pa.int32()),
    "int64": pa.array([LONG, -LONG], pa.int64()),
    "uint8": pa.array([0, 255], pa.uint8()),
    "uint64": pa.array([LONG, 2**64 - 1], pa.uint64()),
    "float64": pa.array([0.1, 1e300]),
    "bool": pa.array([True, False]),
    "string": pa.array(["007", ""]),
    "string_view": pa.array(["007", "a"], pa.string_view()),
    "key": pa.array([Decimal(LONG), Decimal(LONG + 1)], pa.decimal128(38, 0)),
    "price": pa.array([Decimal("0.10"), Decimal("123456789012345678.91")]),
    "time": pa.array([datetime(1, 1, 1), datetime(9999, 12, 31)], pa.timestamp("us")),
    "date": pa.array([date(1, 1, 1), date(9999, 12, 31)]),
    "category": pa.array([LONG, 7]).dictionary_encode(),
}


def plain(value: Any) -> Any:
    """Read a cell of a data frame as Arrow gives it."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", VALUES)
def test_no_value_changes(name: str, missing: bool) -> None:
    column = pa.chunked_array([VALUES[name], VALUES[name].slice(0, 1)])
    if missing:
        column = pa.chunked_array([*column.chunks, pa.nulls(1, column.type)])
    series = to_series(column)
    expected = column.to_pylist()
    if name in ("time", "date"):
        again = pa.array(series).cast(column.type).to_pylist()
        assert again == expected
        assert series.dtype.kind == "M"
    else:
        assert [plain(value) for value in series] == expected
    assert len(series) == 4 if missing else 3


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pa.array([1, 2]), "int64"),
        (pa.array([1, None]), "Int64"),
        (pa.array([1, None], pa.int8()), "Int8"),
        (pa.array([1, None], pa.uint64()), "UInt64"),
        (pa.array([1.5, None]), "float64"),
        (pa.array([True, None]), "object"),
        (pa.array([Decimal("1.5")]), "object"),
        (pa.array([datetime(2005, 1, 1, tzinfo=UTC)]), "datetime64[us, UTC]"),
        (pa.nulls(1), "object"),
    ],
)
def test_types(column: pa.Array, dtype: str) -> None:
    assert str(to_series(column).dtype) == dtype


def test_rows_are_numbered_whatever_the_file_says_of_an_index() -> None:
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", "b"], name="key"))
    found = to_pandas(pa.Table.from_pandas(frame))
    assert list(found.columns) == ["x", "key"]
    assert list(found.index) == [0, 1]


def test_rows_without_columns_and_columns_without_rows() -> None:
    rows = pa.table({"x": [1, 2]})
    assert to_pandas(rows.select([])).shape == (2, 0)
    assert to_pandas(rows.slice(0, 0)).dtypes.to_dict() == {"x": "int64"}


def test_a_batch_is_taken_as_well() -> None:
    batch = pa.record_batch({"id": pa.array([LONG, None])})
    assert to_pandas(batch)["id"].tolist() == [LONG, pd.NA]
