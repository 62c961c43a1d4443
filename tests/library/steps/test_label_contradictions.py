"""Contradicting labels move to quarantine with the rows that they stand in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from include.calendar.partitions import Frequency, parse
from include.errors import QualityError
from include.quality.quarantine import enforce, split
from include.quality.report import Failure, ValidationReport
from include.specification.pipeline import Pipeline
from include.steps.label_contradictions import with_contradictions

QUARTER = parse("2005-Q1", Frequency.QUARTERLY)


def report(rows: int, reasons: dict[int, tuple[str, ...]], *failures: Failure) -> ValidationReport:
    counts = {"evaluated": 1, "successful": 1, "unsuccessful": 0}
    return ValidationReport(
        "s", "outcomes", "2005-Q1", rows, ("a.csv",), failures, reasons, counts, {}
    )


def failure(severity: str, *, stops: bool) -> Failure:
    found = ("e", "x", "", severity, "failed", "row", 1, (), (), "1 of 5 rows", stops)
    return Failure(*found)  # type: ignore[arg-type]


@pytest.fixture
def pipeline(make_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return make_pipeline(sources={"outcomes": outcomes()})


def outcomes() -> dict[str, Any]:
    uri = "s3://landing/p/outcomes/{partition}/"
    return {"uri": uri, "suite": "outcomes", "labels": {"column": "bad"}}


def landed() -> pa.Table:
    return pa.table(
        {
            "id": ["a", "b", "a", "c", "c"],
            "bad": [0, 1, 1, 0, 1],
            "_file": ["x.csv", "x.csv", "y.csv", "x.csv", "x.csv"],
            "_row": pa.array([0, 1, 0, 2, 3]),
        }
    )


def test_all_of_them_move(pipeline: Pipeline) -> None:
    # The last row goes anyway, and contradicts nobody.
    before = report(5, {4: ("x: bad cell",)}, failure("warning", stops=False))
    after = with_contradictions(pipeline, landed(), before, QUARTER)
    reason = "bad: one id must have one label at a moment, got 0, 1"
    assert after.reasons == {0: (reason,), 2: (reason,), 4: ("x: bad cell",)}
    first, *others = after.failures
    assert (first.expectation, first.unexpected, first.files) == (
        "one_label",
        2,
        ("x.csv", "y.csv"),
    )
    assert others == list(before.failures)
    kept, moved = split(landed(), after)
    assert kept["id"].to_pylist() == ["b", "c"]
    assert moved["reasons"].to_pylist() == [reason, reason, "x: bad cell"]


def test_they_stop_a_batch_as_any_critical_failure(pipeline: Pipeline) -> None:
    after = with_contradictions(pipeline, landed(), report(5, {}), QUARTER)
    enforce(after, on_failure="quarantine", max_quarantined=0.8)
    with pytest.raises(QualityError, match=r"must have one label at a moment"):
        enforce(after, on_failure="quarantine", max_quarantined=0.79)
    with pytest.raises(QualityError, match=r"got 1 that stop it"):
        enforce(after, on_failure="fail", max_quarantined=1.0)


def test_labels_that_agree_change_nothing(pipeline: Pipeline) -> None:
    before = report(2, {})
    assert with_contradictions(pipeline, landed().slice(0, 2), before, QUARTER) is before
