"""Labels as they were known, features by their kind, and functions that are not there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from include.errors import FeatureError
from include.features.feature_columns import (
    HELD_OUT,
    KNOWN_AT,
    LABEL,
    SLICE,
    feature_columns,
    split_kinds,
)
from include.features.feature_function import load_function
from include.features.point_in_time import join_labels
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import load

CLOSED = datetime(2005, 4, 1)


def loans(*ids: str) -> pd.DataFrame:
    return pd.DataFrame({"id": list(ids), "amount": range(len(ids))})


def labels(*rows: tuple[str, int, datetime]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "label", "known_at"])
    return frame.astype({"known_at": "datetime64[us]"})


def joined(features: pd.DataFrame, known: pd.DataFrame) -> list[tuple[Any, ...]]:
    result = join_labels(features, known, by_entity(), CLOSED)
    assert list(result.columns) == ["id", "amount", LABEL, KNOWN_AT]
    return list(result[["id", "amount", LABEL]].itertuples(index=False, name=None))


def by_entity(*, event_time: str | None = None, in_row: bool = False) -> Pipeline:
    pipeline = load("loan_default").model_copy(update={"entity": "id"})
    outcomes = pipeline.sources["outcomes"]
    assert outcomes.labels is not None
    named = outcomes.labels.model_copy(update={"event_time": event_time})
    labelled = outcomes.model_copy(update={"labels": named})
    sources = {"loans": labelled} if in_row else {**pipeline.sources, "outcomes": labelled}
    return pipeline.model_copy(update={"sources": sources})


class TestJoinLabels:
    def test_a_label_counts_only_if_it_was_known_before(self) -> None:
        just = timedelta(microseconds=1)
        known = labels(
            ("a", 1, CLOSED - just), ("b", 1, CLOSED), ("c", 0, CLOSED + just), ("d", 0, CLOSED)
        )
        assert joined(loans("a", "b", "c", "d"), known) == [("a", 0, 1)]

    def test_the_latest_correction_that_was_known_counts(self) -> None:
        known = labels(
            ("a", 1, datetime(2005, 3, 1)),
            ("a", 0, datetime(2005, 2, 1)),
            ("a", 0, datetime(2005, 5, 1)),  # corrected again, but later
        )
        result = join_labels(loans("a"), known, by_entity(), CLOSED)
        assert result[LABEL].tolist() == [1]
        assert result[KNOWN_AT].tolist() == [pd.Timestamp(2005, 3, 1)]

    def test_the_order_of_deliveries_does_not_matter(self) -> None:
        known = labels(("a", 0, datetime(2005, 2, 1)), ("a", 1, datetime(2005, 3, 1)))
        assert joined(loans("a"), known) == joined(loans("a"), known.iloc[::-1]) == [("a", 0, 1)]

    def test_an_entity_without_a_label_is_left_out_and_the_order_stays(self) -> None:
        known = labels(("b", 0, datetime(2005, 1, 1)), ("c", 1, datetime(2005, 1, 1)))
        assert joined(loans("c", "a", "b"), known) == [("c", 0, 1), ("b", 2, 0)]

    def test_a_label_of_nobody_is_left_out(self) -> None:
        assert joined(loans("a"), labels(("x", 1, datetime(2005, 1, 1)))) == []

    def test_no_label_at_all(self) -> None:
        assert joined(loans("a"), labels()) == []

    def test_an_entity_that_comes_twice_is_an_error(self) -> None:
        with pytest.raises(FeatureError) as caught:
            joined(loans("a", "a", "b"), labels(("a", 1, datetime(2005, 1, 1))))
        assert str(caught.value) == (
            "pipeline loan_default: id must identify a row, got 1 rows again. If entities come "
            "back, name labels.event_time; else remove the copies in the feature function or by a "
            "suite."
        )

    def test_labels_of_another_source_can_name_the_event_time(self) -> None:
        pipeline = by_entity(event_time="seen")
        features = pd.DataFrame({"id": ["a", "a"], "ApprovalDate": [1, 2], "x": [10, 20]})
        known = labels(("a", 1, datetime(2005, 1, 1)), ("a", 0, datetime(2005, 1, 2)))
        known["ApprovalDate"] = [2, 1]
        result = join_labels(features, known, pipeline, CLOSED)
        assert result[["x", LABEL]].to_numpy().tolist() == [[10, 0], [20, 1]]

    def test_labels_in_the_row_belong_to_the_row_of_their_partition(self) -> None:
        pipeline = by_entity(in_row=True)
        features = pd.DataFrame({"id": ["a", "a"], "partition": ["p1", "p2"], "x": [10, 20]})
        known = labels(("a", 1, datetime(2005, 1, 1)), ("a", 0, datetime(2005, 1, 2)))
        known["partition"] = ["p2", "p1"]
        result = join_labels(features, known, pipeline, CLOSED)
        assert result[["x", LABEL]].to_numpy().tolist() == [[10, 0], [20, 1]]


def test_feature_columns_are_all_but_keys_and_labels() -> None:
    pipeline = load("loan_default")
    columns = ["loan_id", "b", "ApprovalDate", "a", "partition", LABEL, KNOWN_AT, SLICE, HELD_OUT]
    assert feature_columns(pipeline, columns) == ["b", "a"]


def test_a_feature_may_be_called_as_earlier_releases_called_our_columns() -> None:
    names = ["label", "known_at", "source_partition", "held_out", "score", "prediction"]
    assert feature_columns(load("loan_default"), names) == names


def test_a_feature_called_label_keeps_its_values_beside_the_label() -> None:
    features = loans("a").assign(label=["red"], known_at=["blue"])
    result = join_labels(features, labels(("a", 1, datetime(2005, 1, 1))), by_entity(), CLOSED)
    assert result[["label", "known_at", LABEL]].to_numpy().tolist() == [["red", "blue", 1]]


def test_kinds_come_from_dtypes_and_keep_their_order() -> None:
    frame = pd.DataFrame(
        {
            "state": ["NY", None],
            "amount": [1.5, None],
            "count": [1, 2],
            "code": pd.Categorical([1, 2]),
            "flag": [True, False],
            "text": pd.array(["1", "2"], "string"),
        }
    )
    assert split_kinds(frame, list(frame.columns)) == (
        ["amount", "count", "flag"],
        ["state", "code", "text"],
    )
    assert split_kinds(frame, ["text", "count"]) == (["count"], ["text"])


class TestLoadFunction:
    def test_the_shipped_one(self) -> None:
        assert load_function(load("loan_default")).__name__ == "features"

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("include.pipelines.nowhere:features", "No module named 'include.pipelines.nowhere'"),
            ("include.errors:features", "has no attribute 'features'"),
        ],
    )
    def test_one_that_is_not_there(self, path: str, told: str) -> None:
        with pytest.raises(FeatureError) as caught:
            load_function(naming(path))
        message = str(caught.value)
        assert message.startswith(f"pipeline loan_default: feature function '{path}' must be ")
        assert told in message
        assert message.endswith("Correct the path or the module.")


def naming(path: str) -> Pipeline:
    pipeline = load("loan_default")
    return pipeline.model_copy(
        update={"features": pipeline.features.model_copy(update={"function": path})}
    )
