"""Deliveries whose first month tells little, or whose times lie in no month, from `new` on."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql.connect.plan import LogicalPlan

from include.calendar.partitions import Frequency
from include.development.local_run import run
from include.development.scaffold import writing
from include.development.scaffold.proposal import Place, Wish, propose
from include.development.scaffold.sampling import read_file
from include.errors import SourceError
from include.ingestion.landing import land
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings
from tests.library.development import data_sets
from tests.library.development.test_new_to_scored import quick, told

NAME = "edge_data"
MONTHS, PER_MONTH = 4, 100


def records() -> list[dict[str, Any]]:
    """Rows whose first month has neither a leading zero in ``zip`` nor any ``promo``."""
    generator = np.random.default_rng(1)
    rows = []
    for number in range(MONTHS * PER_MONTH):
        month, within = divmod(number, PER_MONTH)
        x = generator.normal()
        rows.append(
            {
                "id": number + 1,
                "x": round(x, 4),
                "y": int(x + generator.normal() > 0),
                "at": datetime(2025, 1 + month, 1) + timedelta(hours=within),
                "zip": f"{1000 + number % 37:05d}" if month else str(10000 + number % 37),
                "promo": ("spring", "summer")[number % 2] if month else "",
            }
        )
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def propose_from(path: Path) -> Any:
    wish = Wish(NAME, target="y", time="at", entity="id", partition=Frequency.MONTHLY)
    return propose(wish, Place(uri=writing.default_uri(NAME)), read_file(path))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """What `new` wrote of all months."""
    with data_sets.project(tmp_path_factory.mktemp("project")) as root:
        file = write_csv(root / "all.csv", records())
        writing.write(writing.render(propose_from(file)), root)
        importlib.invalidate_caches()
        yield quick(pipeline_file.load(NAME, root / "include" / "pipelines"))


def test_no_first_month_decides_a_type_and_a_run_can_be_repeated(
    pipeline: Pipeline,
    spark: Any,
    services: Settings,
    imported: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = ObjectStore(services.store)
    rows = records()
    land(store, pipeline, write_csv(tmp_path / "all.csv", rows))
    for _ in range(2):
        # As another process would number its plans: those of both runs are the same to the byte,
        # over tables that begin anew at the same versions.
        monkeypatch.setattr(LogicalPlan, "_nextPlanId", 0)
        result = run(spark, services, pipeline, told)
        lake = Lake(services.store, result.pipeline)
        raw = lake.read("raw_records").sort_by("id").to_pylist()
        assert [(row["zip"], row["promo"]) for row in raw] == [
            (row["zip"], row["promo"] or None) for row in rows
        ]
        assert result.scored == "2025-04"
        assert lake.row_counts("predictions")["2025-04"] == PER_MONTH


@pytest.mark.parametrize("moment", [datetime(9999, 12, 31), datetime(1, 1, 1)])
def test_a_row_in_no_month_is_refused_when_first_looked_at_and_when_it_lands(
    pipeline: Pipeline, services: Settings, tmp_path: Path, moment: datetime
) -> None:
    store = ObjectStore(services.store)
    folder = f"s3://landing/{NAME}/"
    before = store.list(folder)
    rows = records()
    rows[-1]["at"] = moment
    file = write_csv(tmp_path / "all.csv", rows)
    with pytest.raises(SourceError, match=rf"--time at: times .* got {moment} in row 400\."):
        propose_from(file)
    file = write_csv(tmp_path / "delivery.csv", rows[-2:])
    with pytest.raises(SourceError, match=rf"column at: times .* got {moment} in row 2\."):
        land(store, pipeline, file)
    assert store.list(folder) == before
