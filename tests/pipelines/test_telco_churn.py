"""Telco churn: a snapshot without time or customer number."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from include.calendar.partitions import snapshot
from include.development.checking import check
from include.features import labels
from include.pipelines.telco_churn import features
from include.quality.suites import load_suite
from include.specification.pipeline_file import load
from include.storage.settings import StoreSettings
from tests.pipelines.records import land_records, read_records, validate_records

NAME, SNAPSHOT = "telco_churn", "snapshot-0001"


@pytest.fixture(scope="module")
def rows(store_settings: StoreSettings) -> pa.Table:
    return read_records(store_settings, NAME, SNAPSHOT)


def test_the_files_fit_together() -> None:
    assert check(NAME) == ()


def test_the_same_file_is_the_same_snapshot(store_settings: StoreSettings) -> None:
    assert land_records(store_settings, NAME).rows == {SNAPSHOT: 7043}
    assert land_records(store_settings, NAME).written == ()


def test_customers_that_look_alike_stay_apart(rows: pa.Table) -> None:
    landed = rows.drop_columns(["row_id", "_file", "_row"]).to_pandas()
    assert landed.duplicated().sum() == 22
    assert len(set(rows["row_id"].to_pylist())) == 7043
    assert validate_records(NAME, rows, SNAPSHOT).failures == ()


def test_a_customer_who_left_is_1(rows: pa.Table) -> None:
    known = labels.derive(load(NAME), rows, snapshot(1))
    assert Counter(known["label"].to_pylist()) == {0: 5174, 1: 1869}


def test_a_bill_that_is_missing_without_reason_is_a_reason(rows: pa.Table) -> None:
    at = rows.column_names.index("total_charges")
    bills = rows["total_charges"].to_pylist()
    old = next(row for row, months in enumerate(rows["tenure"].to_pylist()) if months > 0)
    bills[old] = None
    report = validate_records(NAME, rows.set_column(at, "total_charges", pa.array(bills)), SNAPSHOT)
    assert list(report.reasons) == [old]


def test_a_first_month_has_no_bill_to_compare(spark: Any) -> None:
    pipeline = load(NAME)
    columns = load_suite(pipeline.sources["customers"].suite)["expectations"][0]["kwargs"]
    numbers = {"tenure": "long", "monthly_charges": "double", "total_charges": "double"}
    names = [name for name in columns["column_set"] if name not in numbers]
    fields = [f"{name} string" for name in names]
    fields += [f"{name} {kind}" for name, kind in numbers.items()]
    usual = ["x"] * len(names)
    frame = spark.createDataFrame(
        [("a", *usual, 10, 50.0, 450.0), ("b", *usual, 0, 20.0, None)],
        ", ".join(["row_id string", *fields]),
    )
    returned = features(frame)
    suite = load_suite(pipeline.features.suite)
    assert set(returned.columns) == set(suite["expectations"][0]["kwargs"]["column_set"])
    shares = {row.row_id: row.billed_share for row in returned.collect()}
    assert shares == {"a": pytest.approx(0.9), "b": None}
