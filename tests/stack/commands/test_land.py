"""`./relevo land`: what it says of partitions that have been ingested."""

from __future__ import annotations

import uuid

import pyarrow as pa

from include.ingestion.landing import Landed
from include.specification import pipeline_file
from include.steps.preparation import raw_table
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings
from stack.commands.land import _kept


def test_partitions_that_keep_their_old_rows_are_told(store_settings: StoreSettings) -> None:
    pipeline = pipeline_file.load("loan_default").model_copy(
        update={"name": f"p{uuid.uuid4().hex[:12]}"}
    )
    folder = f"s3://landing/{pipeline.name}/loans"
    landed = Landed(
        rows={"2005-Q1": 1, "2005-Q2": 1, "2005-Q3": 1},
        written=(f"{folder}/2005-Q2/loans.parquet", f"{folder}/2005-Q3/loans.parquet"),
        skipped=(f"{folder}/2005-Q1/loans.parquet",),
    )

    lake = Lake(store_settings, pipeline.name)
    assert _kept(lake, "loans", landed) == ()

    for quarter in ("2005-Q1", "2005-Q2"):
        rows = with_partition(pa.table({"loan_id": ["a"]}), quarter)
        origin = Origin("d", "r", "t", commit="abc1234")
        lake.write(raw_table("loans"), rows, partitions=[quarter], origin=origin)
    (told,) = _kept(lake, "loans", landed)
    assert told.startswith("2005-Q2 was ingested before: the tables keep")

    rows = with_partition(pa.table({"loan_id": ["a", "b", "c"]}), "2005-Q2")
    lake.write(raw_table("loans"), rows, partitions=["2005-Q2"], origin=origin)
    shrunk, told = _kept(lake, "loans", landed)
    assert shrunk.startswith("2005-Q2: 1 rows have landed in place of 3 that were ingested. If")
    assert told.startswith("2005-Q2 was ingested before: the tables keep")
