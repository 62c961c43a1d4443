"""Parquet files are opened in one way, whoever wrote them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.storage.parquet import open_parquet

MOMENTS = [datetime(1, 1, 1), datetime(1600, 1, 1), datetime(2300, 5, 6, 7), datetime(9999, 12, 31)]


@pytest.mark.parametrize("store_schema", [True, False])
def test_old_times_of_spark_are_exact_after_2262_and_before_1677(
    tmp_path: Path, store_schema: bool
) -> None:
    pq.write_table(
        pa.table({"at": pa.array(MOMENTS, pa.timestamp("us"))}),
        tmp_path / "a.parquet",
        use_deprecated_int96_timestamps=True,
        store_schema=store_schema,
    )
    with open_parquet(tmp_path / "a.parquet") as file:
        assert file.schema_arrow.field("at").type == pa.timestamp("us")
        assert file.read()["at"].to_pylist() == MOMENTS


def test_the_path_of_a_file_gives_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "day=2025-01-01"
    folder.mkdir()
    pq.write_table(pa.table({"id": [1]}), folder / "a.parquet")
    with open_parquet(folder / "a.parquet") as file:
        assert file.read().column_names == ["id"]
