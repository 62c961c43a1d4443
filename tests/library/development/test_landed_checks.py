"""Checking a pipeline against what has landed: one partition is read, as ingest would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from include.development import local_run
from include.development.checking import check
from include.errors import SourceError
from include.specification.generations import raw_table
from include.specification.pipeline_file import load
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings

FILE = """\
description: Tests.
owner: tests
task: binary
entity: id
event_time: at
partition: monthly
sources:
  rows:
    uri: "s3://landing/NAME/rows/{partition}/"
    format: csv
    suite: checked_rows
    labels: {column: bad}
features: {function: "include.pipelines.telco_churn:features", suite: checked_features}
training: {window: 4, holdout: 2, candidates: {logistic_regression: {}}}
promotion: {require: {roc_auc: 0.6}}
"""
HEAD = "id,at,amount,bad"
Told = Callable[..., list[str]]


@pytest.fixture
def told(tmp_path: Path, lake: Lake) -> Told:
    """Land files and render what checking finds about them."""

    def tell(files: dict[str, str], *edits: tuple[str, str], expects: str = "amount") -> list[str]:
        text = FILE.replace("NAME", lake.pipeline)
        for old, new in edits:
            text = text.replace(old, new)
        (tmp_path / f"{lake.pipeline}.yaml").write_text(text)
        item = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": expects}}
        for name in ("checked_rows", "checked_features"):
            suite = {"name": name, "expectations": [item]}
            (tmp_path / f"{name}.json").write_text(json.dumps(suite))
        for partition, head in files.items():
            uri = f"s3://landing/{lake.pipeline}/rows/{partition}/rows.csv"
            ObjectStore(lake.settings).write(uri, f"{head}\n1,{partition}-01,2.5,0\n".encode())
        folders: dict[str, Any] = {"pipelines": tmp_path, "expectations": tmp_path}
        found = check(lake.pipeline, **folders, dags=tmp_path, store=lake.settings)
        without = check(lake.pipeline, **folders, dags=tmp_path)
        return [f"{item.level} {item}" for item in found if item not in without]

    return tell


def months(*numbers: int, head: str = HEAD) -> dict[str, str]:
    return {f"2020-{number:02}": head for number in numbers}


def test_data_that_fit_have_no_finding(told: Told) -> None:
    assert told(months(1, 2, 3, 4, 5)) == []


def test_before_anything_has_landed(told: Told) -> None:
    assert told({}) == []


def test_a_history_shorter_than_the_window(told: Told, lake: Lake) -> None:
    file = f"warning {lake.pipeline}.yaml:14: training.window: needs 4 partitions with labels"
    assert told(months(1, 2, 3, 4)) == [
        f"{file} before the one to score, got 3 (2020-01 to 2020-03). Land older ones, or "
        "shorten window to 3 and holdout to 1."
    ]


def test_a_history_that_no_window_fits(told: Told) -> None:
    (found,) = told(months(1, 2, 3))
    assert "got 2 (2020-01 to 2020-02). Land older ones; the smallest window is 3" in found


def test_snapshots_are_learned_from_and_scored_alike(told: Told) -> None:
    edits = (
        ("partition: monthly", "partition: none"),
        ("event_time: at\n", ""),
        ("window: 4, holdout: 2", "window: 2, holdout: 0.2"),
    )
    (found,) = told({"snapshot-0001": HEAD}, *edits)
    assert "training.window: needs 2 partitions with labels, got 1" in found
    assert "or shorten window to 1." in found


def test_columns_that_file_and_suite_name(told: Told, lake: Lake) -> None:
    found = told(months(1, 2, 3, 4, 5), ("column: bad", "column: bda"), expects="amonut")
    assert found == [
        f"error {lake.pipeline}.yaml:12: sources.rows.labels.column: must be a column of what "
        "landed in 2020-05, got 'bda'; did you mean 'bad'?",
        "error checked_rows.json:1: expect_column_values_to_not_be_null: its columns must be among "
        "those that landed in 2020-05 of rows, got 'amonut'; did you mean 'amount'? Change the "
        "line, or land the column.",
    ]


def test_a_later_delivery_with_a_renamed_column(told: Told) -> None:
    files = {**months(1, 2, 3, 4), **months(5, head="id,at,amount_eur,bad")}
    (found,) = told(files)
    assert found.startswith("warning ")
    assert "sources.rows: what has landed cannot be read. source rows 2020-05: " in found
    assert "1 missing: amount (perhaps now 'amount_eur'); it holds id, at" in found


def test_the_columns_of_the_table_count_if_there_is_one(
    told: Told, lake: Lake, origin: Origin
) -> None:
    import pyarrow as pa

    table = pa.table({"id": [1], "price": [2.5], "partition": ["2019-12"]})
    lake.write(raw_table("rows"), table, partitions=["2019-12"], origin=origin)
    (found,) = told(months(1, 2, 3, 4, 5))
    assert "1 missing: price; it holds id, at, amount, bad" in found


def test_a_run_without_airflow_stops_before_anything_is_computed(
    told: Told, tmp_path: Path, lake: Lake
) -> None:
    told(months(1, 2, 3, 4))
    pipeline = load(lake.pipeline, tmp_path)
    settings = create_autospec(Settings, instance=True, store=lake.settings)
    with pytest.raises(SourceError, match=r"training\.window needs 4 .* got 3 .* window to 3"):
        local_run.run(None, settings, pipeline, print)
