"""`./relevo gaps`, as it is typed."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from include.registry.champions import PROFILES
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from stack.cli import app

PIPELINE = "telco_churn"
ORIGIN = Origin("telco_churn_score", "run_1", "task")


def gaps(*words: str) -> Result:
    return CliRunner().invoke(app, ("gaps", *words))


@pytest.fixture
def lake(store: ObjectStore) -> Iterator[Lake]:
    """Snapshots 1 and 3 of a shipped pipeline, scored and decided; empty again afterwards."""
    lake = Lake(store.settings, PIPELINE)
    names = ["snapshot-0001", "snapshot-0003"]
    profiles = pa.table({"partition": names, "model_version": [1, 1]})
    lake.write(PROFILES, profiles, partitions=names, origin=ORIGIN)
    for name in names:
        ledger.record(lake, "retraining", name, "no", "why", origin=ORIGIN)
    yield lake
    store.delete_below(f"s3://lake/{PIPELINE}/")


def test_a_gap_is_told_with_its_remedy(lake: Lake) -> None:
    done = gaps(PIPELINE)
    assert done.exit_code == 1
    assert done.stdout.startswith("telco_churn: 1 gap\n")
    assert "snapshot-0002   scores, labels   no run has scored it:" in done.stdout
    assert done.stdout.rstrip().endswith(
        "snapshot-0002: ./relevo airflow dags trigger telco_churn_score "
        '-c \'{"partition": "snapshot-0002"}\''
    )


def test_every_pipeline_is_looked_at(lake: Lake) -> None:
    done = gaps()
    assert done.exit_code == 1
    assert "telco_churn: 1 gap\n" in done.stdout
    assert "loan_default: nothing was scored yet\n" in done.stdout
    assert gaps("loan_default").exit_code == 0


def test_a_pipeline_that_is_not_there(lake: Lake) -> None:
    done = gaps("telco_chrun")
    assert done.exit_code == 1
    assert "telco_churn" in done.stderr
