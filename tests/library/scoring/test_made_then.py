"""Which predictions were made then, when a partition is scored again and again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import create_autospec

import pandas as pd
import pytest

from include.calendar.partitions import Frequency, parse
from include.evaluation.decision_threshold import DecisionThreshold
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.scoring import batch_scoring, made_then
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import ROW_ID
from include.steps import monitoring
from include.storage import lineage_records
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin, TableReference
from tests.library.scoring.test_batch_scoring import (  # noqa: F401 (worker is a fixture)
    frame,
    put_features,
    trained,
    worker,
)

NAME = "2005-Q1"


@pytest.fixture
def champion(lake: Lake) -> ModelVersion:
    return trained(lake, "binary")


@pytest.fixture
def pipeline(make_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return make_pipeline()


@pytest.fixture
def score(lake: Lake, pipeline: Pipeline, origin: Origin) -> Callable[..., TableReference]:
    """Score the partition as the task does, and tell where the predictions are."""

    def run(
        features: TableReference, version: ModelVersion, by: ModelVersion | None = None
    ) -> TableReference:
        by = by or version
        registry = create_autospec(Registry, instance=True)
        registry.require_champion.return_value = version
        registry.get.side_effect = {by.version: by}.__getitem__
        partition = parse(NAME, Frequency.QUARTERLY)
        scored = monitoring.score_batch(None, lake, registry, pipeline, features, partition, origin)
        assert lake.read("profiles")["model_version"].to_pylist() == [by.version]
        return scored.predictions

    return run


def held(lake: Lake, reference: TableReference | None = None) -> pd.DataFrame:
    version = None if reference is None else reference.version
    rows = lake.read("predictions", partitions=[NAME], version=version)
    return to_pandas(rows).sort_values("id", ignore_index=True)


def is_marked(lake: Lake) -> bool:
    (mark,) = set(held(lake)["back_scored"])
    return bool(mark)


def test_nobody_has_scored_it(lake: Lake) -> None:
    assert made_then.made_then(lake, NAME) is None


def test_the_same_version_on_the_same_rows_makes_the_same(
    lake: Lake, champion: ModelVersion, origin: Origin, score: Any
) -> None:
    rows = frame(50, 2)
    first = score(put_features(lake, origin, NAME, rows), champion)
    before = held(lake)
    assert made_then.made_then(lake, NAME) == first
    # Computed again: other files, and other rows in each.
    again = put_features(lake, origin, NAME, rows.iloc[:10][::-1], rows.iloc[10:])
    second = score(again, champion)
    pd.testing.assert_frame_equal(held(lake), before)
    assert not is_marked(lake)
    assert made_then.made_then(lake, NAME) == second


@pytest.mark.parametrize("recent", [1, 50])
def test_corrected_features_make_others_and_the_first_stay_those_made_then(
    lake: Lake,
    champion: ModelVersion,
    origin: Origin,
    score: Any,
    recent: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(made_then, "_RECENT", recent)
    rows = frame(50, 2)
    first = score(put_features(lake, origin, NAME, rows), champion)
    before = held(lake)
    corrected = rows.assign(x=[9.0, *rows["x"][1:]])
    for _ in range(3):
        score(put_features(lake, origin, NAME, corrected), champion)
        assert is_marked(lake)
        assert made_then.made_then(lake, NAME) == first
    pd.testing.assert_frame_equal(held(lake, first), before)
    # With the rows of then again, they are as made then.
    score(put_features(lake, origin, NAME, rows), champion)
    pd.testing.assert_frame_equal(held(lake), before)


@pytest.mark.parametrize("entity", ["id", ROW_ID])
def test_labels_of_a_corrected_file_go_with_the_rows_that_they_are_of(
    lake: Lake, champion: ModelVersion, origin: Origin, score: Any, pipeline: Pipeline, entity: str
) -> None:
    assert made_then.to_judge(lake, pipeline, NAME) == (None, False)
    pipeline = pipeline.model_copy(update={"entity": entity})
    rows = frame(50, 2)
    first = score(put_features(lake, origin, NAME, rows), champion)
    assert made_then.to_judge(lake, pipeline, NAME) == (first, True)
    second = score(put_features(lake, origin, NAME, rows.assign(x=0.0)), champion)
    # Rows that have no key but their place in the file are not those of then any more.
    expected = (second, False) if entity == ROW_ID else (first, True)
    assert made_then.to_judge(lake, pipeline, NAME) == expected


def test_whoever_scored_it_scores_it_again_although_another_is_champion(
    lake: Lake, champion: ModelVersion, origin: Origin, score: Any
) -> None:
    rows = frame(50, 2)
    first = score(put_features(lake, origin, NAME, rows), champion)
    # Killed before the profile was written, or written by an earlier release.
    score(put_features(lake, origin, NAME, rows), replace(champion, version=6), by=champion)
    assert set(held(lake)["model_version"]) == {5}
    assert not is_marked(lake)
    corrected = rows.assign(x=[9.0, *rows["x"][1:]])
    score(put_features(lake, origin, NAME, corrected), replace(champion, version=6), by=champion)
    assert set(held(lake)["model_version"]) == {5}
    assert is_marked(lake)
    assert made_then.made_by(lake, first) == 5


def test_what_was_scored_to_measure_it_was_not_made_then(
    lake: Lake, pipeline: Pipeline, champion: ModelVersion, origin: Origin, score: Any
) -> None:
    features = put_features(lake, origin, NAME, frame(50, 2))
    later = replace(champion, version=6)
    batch_scoring.score(None, lake, pipeline, features, later, origin, back_scored=True)
    assert made_then.made_then(lake, NAME) is None
    # Its own run comes late, with the champion of then.
    first = score(features, champion)
    assert not is_marked(lake)
    assert made_then.made_then(lake, NAME) == first


@pytest.mark.parametrize("decided_then", [True, False])
def test_a_column_that_comes_or_is_left_out_later_changes_nothing_made_then(
    lake: Lake,
    pipeline: Pipeline,
    champion: ModelVersion,
    origin: Origin,
    score: Any,
    decided_then: bool,
) -> None:
    deciding = replace(champion, decision=DecisionThreshold(0.35, {"threshold": 0.35}))
    version = deciding if decided_then else champion
    rows = frame(50, 2)
    first = score(put_features(lake, origin, NAME, rows), version)
    before = held(lake)
    # Another partition is scored by a version of the other kind.
    other = replace(champion if decided_then else deciding, version=6)
    batch = put_features(lake, origin, "2005-Q2", frame(5, 3))
    batch_scoring.score(None, lake, pipeline, batch, other, origin)
    then = made_then.made_then(lake, NAME)
    assert then is not None
    assert (then.rows, made_then.made_by(lake, then)) == (50, 5)
    now = held(lake)
    pd.testing.assert_frame_equal(now[before.columns], before)
    assert now["prediction"].isna().all() != decided_then
    # Corrected, and scored by the same version: those of then are where they were.
    score(put_features(lake, origin, NAME, rows.assign(x=0.0)), version)
    then = made_then.made_then(lake, NAME)
    assert then is not None
    pd.testing.assert_frame_equal(held(lake, then)[before.columns], before)
    pd.testing.assert_frame_equal(held(lake, first), before)


def test_of_predictions_of_an_earlier_release_nobody_knows_which_rows_they_saw(
    lake: Lake,
    champion: ModelVersion,
    origin: Origin,
    score: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = frame(50, 2)
    with monkeypatch.context() as earlier:
        earlier.setattr(lineage_records, "metadata", lambda origin, *_: origin.metadata())
        earlier.setattr(lineage_records, "record", lambda *_: None)
        first = score(put_features(lake, origin, NAME, rows), champion)
    assert "partitions" not in lake.open("predictions").history(1)[0]
    second = score(put_features(lake, origin, NAME, rows.assign(x=0.0)), champion)
    assert not is_marked(lake)
    assert first.version < second.version
    assert made_then.made_then(lake, NAME) == second


def test_the_log_and_the_lineage_say_where_they_are(
    lake: Lake, champion: ModelVersion, origin: Origin, score: Any
) -> None:
    rows = frame(50, 2)
    first = score(put_features(lake, origin, NAME, rows), champion)
    score(put_features(lake, origin, NAME, rows.assign(x=0.0)), champion)
    last = lineage_records.written(lake, "predictions")[-1]
    assert last.details == {"made_then": str(first.version), "model_version": "5"}
    assert json.loads(lake.open("predictions").history(1)[0]["details"]) == dict(last.details)
