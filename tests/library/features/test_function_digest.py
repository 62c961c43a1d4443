"""Which version of a feature function computed what is stored."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.features.function_digest import (
    FUNCTION,
    computed_otherwise,
    digest_function,
    told_of_change,
)
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from tests.library.conftest import MakePipeline

Load = Callable[[str], Any]
FIRST = """\
def helper(x):
    return x + 1


def features(loans):
    'Take them.'
    loans = helper(loans)
    return loans
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(text: str) -> Any:
        name = f"m{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name).features

    return make


def test_comments_and_docstrings_do_not_count_and_code_does(load: Load) -> None:
    digest = digest_function(load(FIRST))
    assert digest
    told = f"'A module.'\n# Why.\n{FIRST.replace('Take them.', 'Take them all.')}"
    assert digest_function(load(told)) == digest
    assert digest_function(load(FIRST.replace("x + 1", "x + 2"))) != digest
    assert digest_function(load(FIRST.replace("return loans", "return loans.distinct()"))) != digest
    # What stands beside it for the next generation, and uses it.
    assert (
        digest_function(load(f"{FIRST}\n\ndef more(loans):\n    return features(loans)")) == digest
    )


def test_partitions_that_another_version_computed(
    lake: Lake, origin: Origin, make_pipeline: MakePipeline, load: Load
) -> None:
    pipeline, before, after = make_pipeline(), load(FIRST), load(FIRST.replace("+ 1", "+ 2"))
    assert told_of_change(lake, pipeline, after) == ""

    def write(name: str, **details: str) -> None:
        rows = with_partition(pa.table({"id": [name]}), name)
        lake.write("features", rows, partitions=[name], origin=origin, details=details)

    write("2004-Q1")  # an earlier release did not say
    write("2004-Q2", **{FUNCTION: digest_function(before)})
    write("2004-Q3", **{FUNCTION: digest_function(after)})
    write("2004-Q4", **{FUNCTION: digest_function(before)})
    write("2004-Q4", **{FUNCTION: digest_function(after)})
    assert computed_otherwise(lake, pipeline, before) == ("2004-Q3", "2004-Q4")
    assert computed_otherwise(lake, pipeline, before, among=["2004-Q4"]) == ("2004-Q4",)
    assert told_of_change(lake, pipeline, after) == (
        "Features of 1 partition (2004-Q2) were computed by another version of "
        "include.pipelines.loan_default:features. If what it returns is otherwise now, undo the "
        "change, or keep the old function and name the new one under `next:`."
    )
