"""Columns that Relevo adds are those whose names no key may have."""

from __future__ import annotations

import pytest

from include.evaluation.prediction_columns import fields
from include.features.feature_columns import HELD_OUT, KNOWN_AT, LABEL, SLICE
from include.specification import consistency
from include.specification.own_columns import BESIDE_KEYS, is_reserved, may_be_key
from include.specification.pipeline_file import load
from include.specification.problem import Problem
from include.storage.lake_tables import PARTITION


def test_no_column_of_a_user_meets_those_of_a_training_set() -> None:
    assert all(map(is_reserved, (PARTITION, LABEL, KNOWN_AT, SLICE, HELD_OUT)))


def test_no_key_meets_the_columns_of_predictions() -> None:
    problems = (
        Problem("binary", threshold=0.5),
        Problem("multiclass", ("a", "b")),
        Problem("regression"),
    )
    added = {field.name for problem in problems for field in fields(problem)}
    assert added | {"model_version", "back_scored", "label", "known_at"} == set(BESIDE_KEYS)


@pytest.mark.parametrize("name", ["score", "Label", "partition", "_id"])
def test_such_a_key_is_refused_when_the_file_is_read(name: str) -> None:
    assert not may_be_key(name)
    (problem,) = consistency.problems(load("loan_default").model_copy(update={"entity": name}))
    assert problem.location == ("entity",)
    assert f"got {name!r}. Rename the column" in problem.rule
