"""Reading what was scored: which partitions there are, and whole files of them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError, TableError
from include.scoring import predictions
from include.scoring.batch_scoring import TABLE
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

BIG = 9_007_199_254_740_993  # no float holds it


def table(partition: str, rows: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([BIG + number for number in range(rows)], pa.int64()),
            "price": pa.array([Decimal("0.10")] * rows, pa.decimal128(20, 2)),
            "note": pa.array(["", None, 'a "b", c'][:rows], pa.string()),
            "at": pa.array([datetime(2005, 1, 1, 6, 0, 0, 123456)] * rows, pa.timestamp("us")),
            "score": pa.array([0.1 + 0.2] * rows, pa.float64()),
            "probabilities": pa.array([[0.1 + 0.2, 0.7]] * rows, pa.list_(pa.float64())),
            "partition": pa.array([partition] * rows, pa.string()),
        }
    )


@pytest.fixture
def scored(lake: Lake, origin: Origin) -> Lake:
    for name in ("2005-Q2", "2005-Q1"):
        lake.write(TABLE, table(name, 3), partitions=[name], origin=origin)
    # A partition that was replaced by nothing was not scored.
    lake.write(TABLE, table("2005-Q3", 1), partitions=["2005-Q3"], origin=origin)
    lake.write(TABLE, table("", 0), partitions=["2005-Q3"], origin=origin)
    return lake


def test_what_was_scored_and_what_was_not(lake: Lake, scored: Lake) -> None:
    assert predictions.scored(lake).rows == {"2005-Q1": 3, "2005-Q2": 3}
    assert predictions.scored(lake, "2005-Q2").rows == {"2005-Q2": 3}
    with pytest.raises(TableError, match="partition 2005-Q3 must have been scored, got 2, 2005-Q1"):
        predictions.scored(lake, "2005-Q3")
    with pytest.raises(TableError, match="did you mean '2005-Q1'"):
        predictions.scored(lake, "2005-q1")


def test_nothing_was_scored_yet(lake: Lake) -> None:
    with pytest.raises(TableError, match=f"got none. Trigger {lake.pipeline}_train"):
        predictions.scored(lake)


def test_parquet_holds_every_row_as_the_table_does(scored: Lake, tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"
    held = predictions.scored(scored)
    assert predictions.export(scored, held, file) == 6
    written = pq.read_table(file)
    assert written["partition"].to_pylist() == ["2005-Q1"] * 3 + ["2005-Q2"] * 3
    first = written.slice(0, 3).sort_by("id")
    assert first.cast(table("", 0).schema) == table("2005-Q1", 3)


def test_csv_holds_every_digit(scored: Lake, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    assert predictions.export(scored, predictions.scored(scored, "2005-Q1"), file) == 3
    header, *lines = file.read_text().splitlines()
    assert header == '"id","price","note","at","score","probabilities","partition"'
    assert sorted(lines) == [
        f'{BIG},0.10,"",2005-01-01 06:00:00.123456,0.30000000000000004,'
        '"[0.30000000000000004, 0.7]","2005-Q1"',
        f"{BIG + 1},0.10,,2005-01-01 06:00:00.123456,0.30000000000000004,"
        '"[0.30000000000000004, 0.7]","2005-Q1"',
        f'{BIG + 2},0.10,"a ""b"", c",2005-01-01 06:00:00.123456,0.30000000000000004,'
        '"[0.30000000000000004, 0.7]","2005-Q1"',
    ]


def test_partitions_that_are_scored_meanwhile_are_not_mixed_in(
    scored: Lake, origin: Origin, tmp_path: Path
) -> None:
    held = predictions.scored(scored)
    scored.write(TABLE, table("2005-Q1", 1), partitions=["2005-Q1"], origin=origin)
    assert predictions.export(scored, held, tmp_path / "all.parquet") == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [("all.xlsx", r"must end in \.csv or \.parquet, got '\.xlsx'"), ("all", "got 'no ending'")],
)
def test_other_endings_are_refused(scored: Lake, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        predictions.export(scored, predictions.scored(scored), tmp_path / name)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(scored: Lake, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its folder must exist"):
        predictions.check_target(tmp_path / "nowhere" / "all.csv")
    with pytest.raises(SourceError, match="must be writable"):
        predictions.export(scored, predictions.scored(scored), tmp_path / f"{'x' * 250}.csv")
    (tmp_path / "all.csv").mkdir()
    with pytest.raises(SourceError, match="must be writable"):
        predictions.export(scored, predictions.scored(scored), tmp_path / "all.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["all.csv"]
