"""Worlds in which steps run one after the other in this process."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import skops.io

from include.evaluation.prediction_columns import watched
from include.features import feature_function
from include.monitoring.binning import fit_binning
from include.monitoring.drift import calibrate
from include.monitoring.profiles import profile
from include.quality import data_docs, suites, validation
from include.quality.suites import load_suite
from include.registry.model_files import (
    MODEL,
    REFERENCE,
    ModelVersion,
    Reference,
    prepare,
    put_file,
    scores_of,
)
from include.scoring import batch_scoring
from include.specification.candidate_defaults import PRESETS
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.storage import drafts
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from include.training.candidates import build
from tests.library.steps.world import SUITES, TRAINED, Beginnings, World


@pytest.fixture
def surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_settings: StoreSettings
) -> None:
    """Suites of these tests, and this process in place of Spark's workers."""
    for name, expectations in SUITES.items():
        document = {"name": name, "expectations": expectations}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    own = functools.cache(functools.partial(load_suite, folder=tmp_path))
    monkeypatch.setattr(suites, "load_suite", own)
    monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", str(store_settings.endpoint_url))
    monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", store_settings.access_key)
    monkeypatch.setenv("RELEVO_STORE_SECRET_KEY", store_settings.secret_key.get_secret_value())

    def score_files(spark: Any, job: Any, paths: list[str]) -> list[dict[str, Any]]:
        results = [batch_scoring._score_file(job, path) for path in paths]
        loaded = [{name: json.loads(text) for name, text in item.items()} for item in results]
        for item in loaded:
            del item["file"]["source"]
        return loaded

    def compute(
        spark: Any, lake: Lake, pipeline: Pipeline, sources: Any, names: Any, origin: Origin
    ) -> drafts.Draft:
        """Take the amount as the feature, x or in later generations y; 17 is lost."""
        raw, column = sources["loans"], "x" if pipeline.features.generation == 1 else "y"
        rows = lake.read(raw.table, partitions=list(names), version=raw.version)
        rows = rows.select(["id", "at", "amount", "partition"]).sort_by("id")
        amount = rows["amount"]
        x = pc.if_else(pc.equal(amount, 17.0), pa.scalar(None, pa.float64()), amount)
        rows = rows.set_column(2, column, x)
        reading = origin.reading(*sources.values())
        return drafts.write(lake, pipeline.features_table, rows, partitions=names, origin=reading)

    def publish(store: ObjectStore, report: Any, folder: str) -> str:
        """Write the one object that is written last; the page itself is proved elsewhere."""
        store.write(f"{folder}/index.html", report.suite.encode())
        return f"{folder}/index.html"

    reports: dict[Any, Any] = {}

    def validate(rows: pa.Table, suite: Any, *, source: str, partition: str) -> Any:
        """Judge rows by a suite once: again and again it would say the same."""
        known = (source, suite["name"], partition, rows.num_rows)
        if known not in reports:
            reports[known] = real(rows, suite, source=source, partition=partition)
        return reports[known]

    real = validation.validate
    monkeypatch.setattr(validation, "validate", create_autospec(real, side_effect=validate))
    monkeypatch.setattr(
        data_docs,
        "publish_data_docs",
        create_autospec(data_docs.publish_data_docs, side_effect=publish),
    )
    monkeypatch.setattr(batch_scoring, "_run", score_files)
    monkeypatch.setattr(
        feature_function, "compute", create_autospec(feature_function.compute, side_effect=compute)
    )


@pytest.fixture(scope="session")
def beginnings() -> Beginnings:
    """The worlds that tests begin with."""
    return Beginnings()


@pytest.fixture
def scored_world(
    surroundings: None,
    store_settings: StoreSettings,
    make_pipeline: Any,
    version: ModelVersion,
    beginnings: Beginnings,
) -> World:
    """A world in which a model was trained, and one quarter scored."""
    return beginnings.of("scored", lambda: World(store_settings, make_pipeline, version).run())


@pytest.fixture(scope="session")
def version(store_settings: StoreSettings) -> ModelVersion:
    """A model of small amounts, with its reference, whose files both worlds share."""
    return make_version(store_settings, "x")


def make_version(
    store_settings: StoreSettings, column: str, *, reversed_labels: bool = False
) -> ModelVersion:
    """Fit a model of one column, which is an amount, to whether that is more than 25, or not."""
    x = np.tile(np.arange(1.0, 51.0), 4)
    rows = prepare(pd.DataFrame({column: x}), [column], [])
    preset = PRESETS["logistic_regression"]
    model = build(preset, "binary", preset.parameters, [column], [], seed=7)
    model.fit(rows, ((x > 25) != reversed_labels).astype(np.int8))
    problem = Problem("binary", ())
    made = watched(problem, scores_of(model, problem, rows))
    binning = fit_binning(rows, [column], [], predictions=made, classes=())
    halves = [profile(rows[s], binning, made[s]) for s in (slice(0, 100), slice(100, 200))]
    reference = Reference(halves[0].merge(halves[1]), calibrate(halves))
    store = ObjectStore(store_settings)
    return ModelVersion(
        pipeline="shared",
        version=0,
        partition=str(TRAINED),
        run_id="run",
        candidate="logistic_regression",
        numeric=(column,),
        categorical=(),
        files={
            MODEL: put_file(store, "shared", MODEL, skops.io.dumps(model)),
            REFERENCE: put_file(store, "shared", REFERENCE, reference.to_bytes()),
        },
        training_set={},
        task="binary",
        classes=(),
    )
