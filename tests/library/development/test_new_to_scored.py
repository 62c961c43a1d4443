"""From `./relevo new` to a scored batch without an edit, for real data sets.

The short form runs with all tests: few rows, one candidate as it is. The proofs run what was
written as it was written, for every data set: ``./relevo test --proofs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.development.checking import check
from include.development.local_run import run
from include.ingestion.landing import Landed, land
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings
from tests.library.development.data_sets import CASES, Generated, generate, project

# Text with bad cells and a snapshot; dates and partitions.
SHORT = ("dirty_credit", "weather")
# Rows of a partition.
FEW, MANY = 400, 1_000
ROBUST = "hist_gradient_boosting"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of its own."""
    with project(tmp_path_factory.mktemp("project")) as folder:
        yield folder


@pytest.mark.parametrize("key", SHORT)
def test_what_new_wrote_scores(
    key: str, root: Path, spark: Any, services: Settings, imported: None
) -> None:
    generated = generate(key, root)
    lives(quick(loaded(generated)), generated, spark, services, FEW)


@pytest.mark.proof
@pytest.mark.parametrize("key", CASES)
def test_what_new_wrote_scores_as_it_was_written(
    key: str, root: Path, spark: Any, services: Settings, imported: None
) -> None:
    generated = generate(key, root)
    lives(loaded(generated), generated, spark, services, MANY)


@pytest.mark.proof
@pytest.mark.parametrize("key", ["trips", "taxi_tip"])
def test_a_later_training_goes_on_with_the_tables_of_the_first(
    key: str,
    root: Path,
    spark: Any,
    services: Settings,
    imported: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Columns that were whole in the first window have nulls in the second."""
    generated = generate(key, root)
    pipeline = quick(loaded(generated))
    land(ObjectStore(services.store), pipeline, generated.file)
    lake = Lake(services.store, f"{pipeline.name}_dev")
    assert run(spark, services, pipeline, told, partition="2019-06", sample=FEW).promoted
    monkeypatch.setattr(ObjectStore, "delete_below", lambda store, uri: None)
    run(spark, services, pipeline, told, partition="2020-12", sample=FEW)
    assert lake.partitions("training_sets") == ("2019-05", "2020-11")
    whole = [
        field
        for field in pa.schema(lake.open("features").schema().to_arrow())
        if pa.types.is_integer(field.type)
    ]
    sets = lake.read("training_sets")
    assert [sets.schema.field(field.name).type for field in whole] == [f.type for f in whole]
    missing = {
        month: sum(rows[field.name].null_count for field in whole)
        for month in lake.partitions("training_sets")
        for rows in [lake.read("training_sets", partitions=[month])]
    }
    assert missing["2019-05"] < missing["2020-11"]


def quick(pipeline: Pipeline) -> Pipeline:
    """Keep the candidate that minds no absurd number, with its parameters as they are."""
    candidate = pipeline.training.candidates[ROBUST].model_copy(update={"trials": 0})
    training = pipeline.training.model_copy(update={"candidates": {ROBUST: candidate}})
    return pipeline.model_copy(update={"training": training})


def told(step: str, outcome: str, seconds: float) -> None:
    """Show a step where pytest shows output."""
    print(f"{seconds:6.1f} s  {step}: {outcome}")


def loaded(generated: Generated) -> Pipeline:
    """Load a pipeline that nothing is found wrong with."""
    found = check(
        generated.name,
        pipelines=generated.pipelines,
        expectations=generated.root / "expectations",
        dags=generated.root / "dags",
    )
    assert [str(finding) for finding in found] == []
    return pipeline_file.load(generated.name, generated.pipelines)


def lives(
    pipeline: Pipeline, generated: Generated, spark: Any, services: Settings, sample: int
) -> None:
    """Land the file, train and score; every row that is not in quarantine has its prediction."""
    landed = land(ObjectStore(services.store), pipeline, generated.file)
    assert sum(landed.rows.values()) == generated.proposal.sample.rows
    assert landed.warnings == ()
    result = run(spark, services, pipeline, told, sample=sample)
    assert result.promoted
    assert result.scored == list(landed.rows)[-1]
    lake = Lake(services.store, result.pipeline)
    every_row_has_its_prediction(lake, pipeline, landed, result.scored, sample)


def every_row_has_its_prediction(
    lake: Lake, pipeline: Pipeline, landed: Landed, scored: str, sample: int
) -> None:
    """Follow the rows of a partition from what landed to what was predicted."""

    def column(table: str, name: str) -> list[Any]:
        return lake.read(table, partitions=[scored], columns=[name])[name].to_pylist()

    def quarantined(dataset: str) -> int:
        return lake.row_counts(f"quarantine_{dataset}").get(scored, 0)

    records = column("raw_records", pipeline.entity)
    features = column("features", pipeline.entity)
    assert len(records) + quarantined("records") == min(sample, landed.rows[scored])
    assert len(features) + quarantined("features") == len(records)
    assert set(features) <= set(records)
    assert features
    assert sorted(column("predictions", pipeline.entity)) == sorted(features)
    assert None not in column("predictions", "score" if pipeline.task == "binary" else "prediction")
