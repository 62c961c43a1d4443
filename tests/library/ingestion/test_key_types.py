"""Keys of both sides of a join, compared when one of them lands."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from include.errors import SourceError
from include.ingestion.key_types import check_keys, check_named
from include.specification.pipeline import Pipeline

INTEGER, TEXT, TIME = pa.int64(), pa.string(), pa.timestamp("us")


@pytest.fixture
def pipeline() -> Pipeline:
    """Loans, their accounts, and outcomes that come back every month."""

    def source(name: str, **more: Any) -> dict[str, Any]:
        return {"uri": f"s3://landing/loans/{name}/{{partition}}/", "suite": name, **more}

    return Pipeline.model_validate(
        {
            "name": "loans",
            "description": "Tests.",
            "owner": "tests",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "partition": "monthly",
            "sources": {
                "loans": source("loans"),
                "accounts": source("accounts"),
                "outcomes": source("outcomes", labels={"column": "bad", "event_time": "month"}),
            },
            "features": {"function": "include.pipelines.loan_default:features", "suite": "f"},
            "training": {"window": 3, "candidates": {"logistic_regression": {}}},
            "promotion": {"require": {"roc_auc": 0.6}},
        }
    )


def check(pipeline: Pipeline, source: str, other: str, rows: Any, theirs: Any) -> None:
    schema = pa.schema(list(rows.items()))
    others = {other: pa.schema(list(theirs.items()))}
    check_keys(pipeline, source, f"source {source} 2005-01", schema.empty_table(), others)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("other", ["outcomes", "accounts"])
@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ((INTEGER, TEXT), "got int64 here and string there"),
        ((TEXT, pa.float64()), "got string here and double there"),
        ((TEXT, pa.decimal128(38, 0)), "got string here and decimal128(38, 0) there"),
        ((INTEGER, TIME), "got int64 here and timestamp[us] there"),
        ((pa.bool_(), INTEGER), "got bool here and int64 there"),
    ],
)
def test_entities_of_two_kinds(
    pipeline: Pipeline, kinds: tuple[pa.DataType, ...], told: str, other: str, turned: bool
) -> None:
    sides = (other, "loans") if turned else ("loans", other)
    with pytest.raises(SourceError) as caught:
        check(pipeline, *sides, {"id": kinds[0]}, {"id": kinds[1]})
    assert str(caught.value) == (
        f"source {sides[0]} 2005-01: column id must be of one kind with id of source {sides[1]}, "
        f"because both are the entity by which rows are joined, {told}. Land both with one type."
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (INTEGER, pa.int16()),
        (INTEGER, pa.decimal128(38, 0)),
        (pa.decimal128(18, 0), pa.decimal128(20, 2)),
        (INTEGER, pa.float64()),
        (TEXT, TEXT),
        (TIME, pa.date32()),
    ],
)
def test_entities_of_one_kind(pipeline: Pipeline, ours: pa.DataType, theirs: pa.DataType) -> None:
    check(pipeline, "outcomes", "loans", {"id": ours}, {"id": theirs})


def test_event_times_are_texts_or_times_but_never_texts_and_numbers(pipeline: Pipeline) -> None:
    for month in (TIME, TEXT, INTEGER, pa.date32()):
        check(pipeline, "outcomes", "loans", {"month": month}, {"at": TIME})
    with pytest.raises(SourceError, match="column month must be of one kind with at of source"):
        check(pipeline, "outcomes", "loans", {"month": TEXT}, {"at": INTEGER})


def test_a_column_that_only_one_side_has(pipeline: Pipeline) -> None:
    check(pipeline, "accounts", "loans", {"id": TEXT, "x": TEXT}, {"account": INTEGER})
    check(pipeline, "accounts", "outcomes", {"at": TEXT}, {"month": INTEGER})  # no key of accounts


@pytest.mark.parametrize("largest", [2.0**53, 1e300, float("inf")])
def test_floats_that_may_have_been_other_numbers(pipeline: Pipeline, largest: float) -> None:
    rows = pa.table({"id": pa.array([1.0, None, -largest])})
    with pytest.raises(SourceError, match="column id names rows, so its numbers must be exact"):
        check_keys(pipeline, "loans", "source loans 2005-01", rows, {})


def test_floats_that_are_exact(pipeline: Pipeline) -> None:
    for values in ([1.0, None, 2.0**53 - 1], [None], []):
        rows = pa.table({"id": pa.array(values, pa.float64()), "x": pa.array(values, pa.float64())})
        check_keys(pipeline, "loans", "source loans 2005-01", rows, {})


@pytest.mark.parametrize("missing", ["id", "bad", "month"])
def test_labels_without_a_column_that_the_file_names(pipeline: Pipeline, missing: str) -> None:
    kinds = {"id": INTEGER, "bad": INTEGER, "month": TIME}
    rows = pa.schema(list(kinds.items())).empty_table()
    check_named(pipeline, "outcomes", "source outcomes 2005-01", rows)
    key = {"id": "entity", "bad": "sources.outcomes.labels.column"}.get(
        missing, "sources.outcomes.labels.event_time"
    )
    with pytest.raises(SourceError, match=rf"must have a column {missing}, which {key} of the pip"):
        check_named(pipeline, "outcomes", "source outcomes 2005-01", rows.drop_columns([missing]))


def test_other_columns_may_be_made_by_the_feature_function(pipeline: Pipeline) -> None:
    check_named(pipeline, "loans", "source loans 2005-01", pa.table({"year": [2005]}))
