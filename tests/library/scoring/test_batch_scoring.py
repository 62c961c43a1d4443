"""One pass over files, as a Spark worker does it, in this process and without Spark."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io

from include.errors import FeatureError, MonitoringError, RegistryError
from include.evaluation.decision_threshold import DecisionThreshold
from include.evaluation.prediction_columns import from_frame, watched
from include.features.held_out import is_held_out
from include.monitoring.binning import fit_binning
from include.monitoring.drift import calibrate
from include.monitoring.profiles import profile
from include.registry.model_files import (
    MODEL,
    REFERENCE,
    ModelVersion,
    Reference,
    predict,
    prepare,
    put_file,
    scores_of,
)
from include.scoring import batch_scoring
from include.specification.candidate_defaults import PRESETS
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.storage.data_files import write_files
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore
from include.training.candidates import build

MakePipeline = Callable[..., Pipeline]


def frame(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"{seed}/{number}" for number in range(rows)],
            "at": pd.Series([datetime(2005, 1, 1)] * rows, dtype="datetime64[us]"),
            "x": random.normal(size=rows),
            "c": random.choice(["a", "b", None], size=rows),
        }
    )


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> Pipeline:
    return make_pipeline()


@pytest.fixture(autouse=True)
def worker(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process what a Spark worker has, and run files here instead of on Spark."""
    settings = lake.settings
    monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", str(settings.endpoint_url))
    monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", settings.access_key)
    monkeypatch.setenv("RELEVO_STORE_SECRET_KEY", settings.secret_key.get_secret_value())

    def run(spark: Any, job: Any, paths: list[str]) -> list[dict[str, Any]]:
        results = [batch_scoring._score_file(job, path) for path in paths]
        loaded = [{name: json.loads(text) for name, text in item.items()} for item in results]
        assert [item["file"].pop("source") for item in loaded] == paths
        return loaded

    monkeypatch.setattr(batch_scoring, "_run", run)


def trained(lake: Lake, task: Any, *, held_out: bool = False) -> ModelVersion:
    """A champion of a task, with its reference; of before, or with scores of held-out rows."""
    rows = prepare(frame(200, 1), ["x"], ["c"])
    known: dict[str, Any] = {
        "binary": (rows["x"] > 0).to_numpy(np.int8),
        "multiclass": np.select([rows["x"] > 0.5, rows["x"] < -0.5], ["high", "low"], "mid").astype(
            object
        ),
        "regression": 1000 + rows["x"].to_numpy(),
    }
    problem = Problem(task, ("high", "low", "mid") if task == "multiclass" else ())
    name = "ridge" if task == "regression" else "logistic_regression"
    preset = PRESETS[name]
    model = build(preset, task, preset.parameters, ["x"], ["c"], seed=7)
    model.fit(rows, known[task])
    made = watched(problem, scores_of(model, problem, rows))
    binning = fit_binning(rows, ["x"], ["c"], predictions=made, classes=problem.classes)
    telling = np.arange(200) % 5 == 0 if held_out else np.ones(200, np.bool_)
    halves = [
        profile(rows[s], binning, made[s], telling[s]) for s in (slice(0, 100), slice(100, 200))
    ]
    reference = Reference(halves[0].merge(halves[1]), calibrate(halves))
    store = ObjectStore(lake.settings)
    return ModelVersion(
        pipeline=lake.pipeline,
        version=5,
        partition="2004-Q4",
        run_id="run",
        candidate=name,
        numeric=("x",),
        categorical=("c",),
        files={
            MODEL: put_file(store, lake.pipeline, MODEL, skops.io.dumps(model)),
            REFERENCE: put_file(store, lake.pipeline, REFERENCE, reference.to_bytes()),
        },
        training_set={},
        task=task,
        classes=problem.classes,
    )


@pytest.fixture
def champion(lake: Lake) -> ModelVersion:
    return trained(lake, "binary")


def put_features(lake: Lake, origin: Origin, name: str, *frames: pd.DataFrame) -> TableReference:
    """Commit one file a frame."""
    parts = [with_partition(pa.Table.from_pandas(f, preserve_index=False), name) for f in frames]
    files = [
        file for part in parts for file in write_files(lake.settings, lake.uri("features"), part)
    ]
    return lake.commit("features", files, parts[0].schema, partitions=[name], origin=origin)


def test_every_row_is_scored_once_as_the_model_would(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    put_features(lake, origin, "2005-Q2", frame(10, 4))
    batch = put_features(lake, origin, "2005-Q1", frame(30, 2), frame(20, 3))

    for _ in range(2):  # a second run replaces what the first one wrote
        scored = batch_scoring.score(None, lake, pipeline, batch, champion, origin)

    assert (scored.predictions.partition, scored.predictions.rows) == ("2005-Q1", 50)
    rows = lake.read("predictions").to_pandas().set_index("id")
    assert sorted(rows.index) == sorted([*frame(30, 2)["id"], *frame(20, 3)["id"]])
    assert set(rows["partition"]) == {"2005-Q1"}
    assert set(rows["model_version"]) == {5}
    assert not rows["back_scored"].any()
    for part in (frame(30, 2), frame(20, 3)):
        expected = predict(lake.settings, champion, part)
        assert rows.loc[part["id"], "score"].to_numpy().tobytes() == expected.tobytes()
    inputs = json.loads(lake.open("predictions").history(1)[0]["inputs"])
    assert inputs == [batch.to_dict()]


DECISION = DecisionThreshold(0.35, {"threshold": 0.35})


def test_a_version_with_a_threshold_decides(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    rows = frame(40, 2)
    batch = put_features(lake, origin, "2005-Q1", rows)
    exact = float(np.sort(predict(lake.settings, champion, rows))[20])
    deciding = replace(champion, decision=DecisionThreshold(exact, {"threshold": exact}))
    scored = batch_scoring.score(None, lake, pipeline, batch, deciding, origin)
    held = lake.read("predictions").to_pandas().set_index("id").loc[rows["id"]]
    assert list(held.columns) == [
        "at",
        "score",
        "prediction",
        "model_version",
        "back_scored",
        "partition",
    ]
    assert held["prediction"].dtype == np.int64
    # The row whose score is the threshold is decided as 1.
    assert held["prediction"].tolist() == (held["score"] >= exact).astype(int).tolist()
    assert held["prediction"].sum() == 20
    expected = predict(lake.settings, champion, rows)
    assert held["score"].to_numpy().tobytes() == expected.tobytes()
    plain = batch_scoring.score(None, lake, pipeline, batch, champion, origin)
    assert plain.profile.to_dict() == scored.profile.to_dict()


@pytest.mark.parametrize("order", [(None, DECISION, None), (DECISION, None, DECISION)])
def test_versions_with_and_without_one_share_a_table(
    lake: Lake,
    pipeline: Pipeline,
    champion: ModelVersion,
    origin: Origin,
    order: tuple[DecisionThreshold | None, ...],
) -> None:
    names = ("2005-Q1", "2005-Q2", "2005-Q3")
    for name, decision in zip(names, order, strict=True):
        batch = put_features(lake, origin, name, frame(5, 2))
        version = replace(champion, decision=decision)
        batch_scoring.score(None, lake, pipeline, batch, version, origin)
    for name, decision in zip(names, order, strict=True):
        held = lake.read("predictions", partitions=[name])
        yes = [int(score >= 0.35) for score in held["score"].to_pylist()]
        assert held["prediction"].to_pylist() == ([None] * 5 if decision is None else yes)
    # Read as of the version before the column came, if it came later.
    first = lake.read("predictions", version=1)
    assert ("prediction" in first.column_names) == (order[0] is not None)


def test_a_partition_without_rows_may_be_the_first(
    lake: Lake, make_pipeline: MakePipeline, champion: ModelVersion, origin: Origin
) -> None:
    pipeline = make_pipeline()
    sources = {
        name: source.model_copy(update={"allow_empty": True})
        for name, source in pipeline.sources.items()
    }
    pipeline = pipeline.model_copy(update={"sources": sources})
    full = put_features(lake, origin, "2005-Q1", frame(5, 2))
    empty = TableReference(lake.pipeline, "features", full.version, "2005-Q2", 0)
    deciding = replace(champion, decision=DECISION)
    batch_scoring.score(None, lake, pipeline, empty, deciding, origin)
    batch_scoring.score(None, lake, pipeline, full, champion, origin)
    assert lake.read("predictions")["prediction"].to_pylist() == [None] * 5


def test_the_profile_is_that_of_the_whole_batch(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    whole = pd.concat([frame(30, 2), frame(20, 3)], ignore_index=True)
    batch = put_features(lake, origin, "2005-Q1", frame(30, 2), frame(20, 3))
    scored = batch_scoring.score(None, lake, pipeline, batch, champion, origin)
    assert scored.profile.rows == 50

    written = batch_scoring.write_profile(lake, "2005-Q1", champion, scored.profile, origin)
    version, current = batch_scoring.read_profile(lake, written)
    assert version == 5
    assert current.to_dict() == scored.profile.to_dict()

    one_file = put_features(lake, origin, "2005-Q1", whole)
    again = batch_scoring.score(None, lake, pipeline, one_file, champion, origin)
    assert again.profile.rows == 50
    missing = {name: column.missing for name, column in scored.profile.categorical.items()}
    assert missing == {"c": int(whole["c"].isna().sum())}


def test_infinities_are_scored_as_missing_and_told(
    lake: Lake,
    pipeline: Pipeline,
    champion: ModelVersion,
    origin: Origin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd, missing = frame(20, 2), frame(20, 2)
    odd.loc[[3, 4], "x"] = [np.inf, -np.inf]
    missing.loc[[3, 4], "x"] = np.nan
    batch = put_features(lake, origin, "2005-Q1", odd, frame(10, 3))
    scored = batch_scoring.score(None, lake, pipeline, batch, champion, origin)
    rows = to_pandas(lake.read("predictions")).set_index("id").loc[odd["id"]]
    expected = predict(lake.settings, champion, missing)
    assert rows["score"].to_numpy().tobytes() == expected.tobytes()
    counted = scored.profile.numeric["x"]
    assert (counted.non_finite, counted.missing, counted.rows) == (2, 0, 30)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"batch {lake.pipeline} 2005-Q1: features should be finite, got infinities of x in 2 rows "
        "of 30. They count as missing."
    ]


def test_long_identifiers_are_written_as_they_came(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    ids = [2**53 + number for number in range(9)]
    rows = frame(10, 2).assign(id=pd.array([*ids, None], "Int64"))
    batch = put_features(lake, origin, "2005-Q1", rows)
    batch_scoring.score(None, lake, pipeline, batch, champion, origin)
    assert lake.read("predictions")["id"].to_pylist() == [*ids, None]


def test_back_scored_rows_are_marked(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    batch = put_features(lake, origin, "2005-Q1", frame(5, 2))
    batch_scoring.score(None, lake, pipeline, batch, champion, origin, back_scored=True)
    assert lake.read("predictions")["back_scored"].to_pylist() == [True] * 5


def test_classes_stand_with_their_probabilities(
    lake: Lake, make_pipeline: MakePipeline, origin: Origin
) -> None:
    pipeline = make_pipeline(task="multiclass", promotion={"require": {"accuracy": 0.5}})
    champion = trained(lake, "multiclass")
    batch = put_features(lake, origin, "2005-Q1", frame(30, 2), frame(20, 3))
    for _ in range(2):
        scored = batch_scoring.score(None, lake, pipeline, batch, champion, origin)

    rows = lake.read("predictions").to_pandas().set_index("id")
    assert list(rows.columns) == [
        "at",
        "prediction",
        "score",
        "probabilities",
        "model_version",
        "back_scored",
        "partition",
    ]
    part = rows.loc[frame(30, 2)["id"]]
    expected = predict(lake.settings, champion, frame(30, 2))
    assert from_frame(champion.problem, part).tobytes() == expected.tobytes()
    assert part["prediction"].tolist() == [
        champion.classes[column] for column in expected.argmax(axis=1)
    ]
    assert part["score"].to_numpy().tobytes() == expected.max(axis=1).tobytes()
    assert len(set(rows["prediction"])) == 3
    assert scored.profile.predictions is not None
    assert scored.profile.predictions.rows == 50


def test_numbers_stand_alone_and_no_time_is_needed(
    lake: Lake, make_pipeline: MakePipeline, origin: Origin
) -> None:
    pipeline = make_pipeline(
        task="regression",
        partition="none",
        event_time=None,
        promotion={"require": {"mean_absolute_error": 1}},
    )
    champion = trained(lake, "regression")
    rows = frame(30, 2).drop(columns="at")
    batch = put_features(lake, origin, "snapshot-0001", rows)
    scored = batch_scoring.score(None, lake, pipeline, batch, champion, origin)

    written = lake.read("predictions").to_pandas()
    assert list(written.columns) == [
        "id",
        "prediction",
        "model_version",
        "back_scored",
        "partition",
    ]
    expected = predict(lake.settings, champion, rows)
    assert from_frame(champion.problem, written).tobytes() == expected.tobytes()
    assert scored.profile.predictions is not None
    assert scored.profile.predictions.rows == 30


@pytest.mark.parametrize("partition", ["none", "quarterly"])
def test_predictions_of_snapshots_are_watched_on_entities_that_no_model_is_fitted_on(
    lake: Lake, make_pipeline: MakePipeline, origin: Origin, partition: str
) -> None:
    has_time = partition != "none"
    changes: dict[str, Any] = {} if has_time else {"partition": "none", "event_time": None}
    pipeline = make_pipeline(**changes)
    rules = pipeline.training.model_copy(update={"holdout": 2 if has_time else 0.3})
    pipeline = pipeline.model_copy(update={"training": rules})
    champion = trained(lake, "binary", held_out=True)
    name = "2005-Q1" if has_time else "snapshot-0002"
    batch = put_features(lake, origin, name, frame(60, 2), frame(40, 3))
    scored = batch_scoring.score(None, lake, pipeline, batch, champion, origin)

    watched_rows = scored.profile.predictions
    assert watched_rows is not None
    entities = pd.concat([frame(60, 2), frame(40, 3)])["id"]
    expected = 100 if has_time else int(is_held_out(entities, 0.3).sum())
    assert watched_rows.rows == expected
    assert 20 < int(is_held_out(entities, 0.3).sum()) < 40
    assert scored.profile.rows == scored.profile.numeric["x"].rows == 100
    assert lake.read("predictions").num_rows == 100


def test_a_feature_that_is_not_there_is_named(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    batch = put_features(lake, origin, "2005-Q1", frame(5, 2).drop(columns="c"))
    with pytest.raises(FeatureError, match="that the model was trained on, got none named c"):
        batch_scoring.score(None, lake, pipeline, batch, champion, origin)
    assert not lake.exists("predictions")


def test_no_rows_are_an_error(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    batch = put_features(lake, origin, "2005-Q1", frame(5, 2))
    other = TableReference(lake.pipeline, "features", batch.version, "2005-Q2", 0)
    with pytest.raises(MonitoringError) as caught:
        batch_scoring.score(None, lake, pipeline, other, champion, origin)
    assert str(caught.value) == (
        f"batch {lake.pipeline} 2005-Q2: must have rows to score, got none."
    )
    assert not lake.exists("predictions")


def test_a_changed_model_scores_nothing(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin
) -> None:
    batch = put_features(lake, origin, "2005-Q1", frame(5, 2))
    uri, _ = champion.files[MODEL]
    ObjectStore(lake.settings).write(uri, b"another model")
    with pytest.raises(RegistryError, match="SHA-256 must be"):
        batch_scoring.score(None, lake, pipeline, batch, champion, origin)
    assert not lake.exists("predictions")
