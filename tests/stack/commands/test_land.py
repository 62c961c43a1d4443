"""`./relevo land`: what it says of what was ingested, cannot be, and of a store that is away."""

from __future__ import annotations

import uuid
from unittest.mock import create_autospec

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from include.ingestion.landing import Landed
from include.specification import pipeline_file
from include.specification.generations import raw_table
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from stack.cli import app
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
    assert _kept(lake, pipeline, "loans", landed) == ()

    for quarter in ("2005-Q1", "2005-Q2"):
        rows = with_partition(pa.table({"loan_id": ["a"]}), quarter)
        origin = Origin("d", "r", "t", commit="abc1234")
        lake.write(raw_table("loans"), rows, partitions=[quarter], origin=origin)
    told, command = _kept(lake, pipeline, "loans", landed)
    assert told == (
        "2005-Q2 was ingested before: the tables keep the rows of then until ingest_loans is "
        "cleared, with what follows it, in the runs about it, or until those are repeated."
    )
    assert command == (
        f"  ./relevo airflow backfill create --dag-id {pipeline.name}_score --from-date "
        "2005-07-05T06:00:00 --to-date 2005-07-05T06:00:00 --reprocess-behavior completed "
        "--max-active-runs 1"
    )

    rows = with_partition(pa.table({"loan_id": ["a", "b", "c"]}), "2005-Q2")
    lake.write(raw_table("loans"), rows, partitions=["2005-Q2"], origin=origin)
    shrunk, told, _ = _kept(lake, pipeline, "loans", landed)
    assert shrunk.startswith("2005-Q2: 1 row landed in place of 3 that were ingested. If")
    assert told.startswith("2005-Q2 was ingested before: the tables keep")


def test_a_store_that_stops_answering_is_told_in_a_sentence(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever library notices it: some raise an error of their own, with a page of text."""
    said = "Kernel error -> Generic S3 error\nDebug source: ..."
    read = create_autospec(Lake.row_counts, side_effect=OSError(said))
    monkeypatch.setattr(Lake, "row_counts", read)
    done = CliRunner().invoke(app, ["predictions", "telco_churn"])
    assert done.exit_code == 1
    assert "must answer, got: Kernel error -> Generic S3 error. Look with" in done.stderr
