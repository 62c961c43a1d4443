"""`./relevo stale`, as it is typed."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from include.ingestion.landed_digests import LandedDigest, to_details
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from stack.cli import app

PIPELINE = "loan_default"
ORIGIN = Origin("loan_default_train", "run_1", "build_training_set")


def stale(*words: str) -> Result:
    return CliRunner().invoke(app, ("stale", *words))


@pytest.fixture
def lake(store: ObjectStore) -> Iterator[Lake]:
    """A quarter of history of a shipped pipeline, ingested from a file; empty again afterwards."""
    lake = Lake(store.settings, PIPELINE)
    rows = with_partition(pa.table({"loan_id": ["a"]}), "2004-Q1")
    details = to_details({"2004-Q1": LandedDigest(files={"loans.parquet": "4-0"})})
    lake.write("raw_loans", rows, partitions=["2004-Q1"], origin=ORIGIN, details=details)
    store.write("s3://landing/loan_default/loans/2004-Q1/loans.parquet", b"PAR1")
    yield lake
    for folder in (f"s3://lake/{PIPELINE}/", f"s3://landing/{PIPELINE}/"):
        store.delete_below(folder)


def test_what_is_stale_is_told_with_the_command(lake: Lake) -> None:
    done = stale(PIPELINE)
    assert done.exit_code == 1
    assert done.stdout.startswith("loan_default: 1 partition has something stale\n")
    assert "loans              2004-Q1     loans.parquet changed" in done.stdout
    assert "raw_loans, quarantine_loans" in done.stdout
    assert done.stdout.rstrip().endswith(
        "./relevo airflow dags trigger platform_reprocess "
        '-c \'{"pipeline": "loan_default", "reason": "..."}\''
    )


def test_every_pipeline_is_looked_at(lake: Lake) -> None:
    done = stale()
    assert done.exit_code == 1
    assert "telco_churn: nothing is stale\n" in done.stdout
    assert stale("telco_churn").exit_code == 0


def test_a_pipeline_that_is_not_there(lake: Lake) -> None:
    done = stale("loan_defalt")
    assert done.exit_code == 1
    assert "loan_defalt" in done.stderr
