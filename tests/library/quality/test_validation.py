"""What suites find, which rows they move away, what they stop, and with which words."""

from __future__ import annotations

import json
import re
from datetime import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.errors import QualityError, SpecificationError
from include.quality import data_docs, quarantine, suites, validation
from include.quality.suites import EXPECTATIONS
from include.storage.object_store import ObjectStore

EXPECT = "expect_column_values_to_"


def expectation(kind, severity="critical", **kwargs):
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": {}}


def suite(*expectations):
    return {"name": "loans", "expectations": list(expectations), "meta": {}}


def check(frame, *expectations):
    return validation.validate(frame, suite(*expectations), source="loans", partition="2005-Q3")


def loans(rows=10):
    return pd.DataFrame(
        {
            "loan_id": [f"{i:04}" for i in range(rows)],
            "amount": np.arange(1.0, rows + 1),
            "bank": ["B"] * rows,
            "_file": ["a.parquet"] * (rows // 2) + ["b.parquet"] * (rows - rows // 2),
            "_row": [*range(rows // 2), *range(rows - rows // 2)],
        }
    )


UNIQUE = expectation(f"{EXPECT}be_unique", column="loan_id")
POSITIVE = expectation(f"{EXPECT}be_between", column="amount", min_value=0, strict_min=True)
HAS_BANK = expectation(f"{EXPECT}not_be_null", column="bank")


def test_a_good_batch_passes():
    report = check(loans(), UNIQUE, POSITIVE, HAS_BANK)
    assert report.failures == ()
    assert report.quarantined_share == 0
    assert report.files == ("a.parquet", "b.parquet")
    assert report.statistics == {"evaluated": 3, "successful": 3, "unsuccessful": 0}
    quarantine.enforce(report, on_failure="fail", max_quarantined=0.0)
    kept, quarantined = quarantine.split(loans(), report)
    pd.testing.assert_frame_equal(kept, loans())
    assert len(quarantined) == 0


def test_an_empty_batch_is_an_error_not_a_pass():
    with pytest.raises(QualityError, match=r"source loans 2005-Q3: .*at least one row, got none"):
        check(loans(0), UNIQUE)


def test_bad_rows_go_to_quarantine_with_reasons_and_origin():
    frame = loans()
    frame.loc[7, "amount"] = -5.0
    frame.loc[7, "bank"] = None
    report = check(frame, UNIQUE, POSITIVE, HAS_BANK)
    kept, quarantined = quarantine.split(frame, report)

    assert list(quarantined.columns) == quarantine.QUARANTINE_SCHEMA.names
    row = quarantined.iloc[0]
    assert (row["source"], row["partition"]) == ("loans", "2005-Q3")
    assert (row["_file"], row["_row"]) == ("b.parquet", 2)
    assert json.loads(row["row"]) == {"loan_id": "0007", "amount": -5.0, "bank": None}
    assert (
        "amount: expect_column_values_to_be_between(min_value=0.0, strict_min=True), got -5.0"
        in (row["reasons"])
    )
    assert "bank: expect_column_values_to_not_be_null" in row["reasons"].split("; ")
    assert kept["loan_id"].tolist() == [f"{i:04}" for i in range(10) if i != 7]
    assert kept.index.tolist() == list(range(9))
    assert [failure.files for failure in report.failures] == [("b.parquet",)] * 2


def test_every_copy_of_a_duplicated_key_is_quarantined():
    frame = loans()
    frame.loc[[2, 8], "loan_id"] = "0005"
    report = check(frame, UNIQUE)
    assert list(report.reasons) == [2, 5, 8]
    assert all("be_unique, got '0005'" in reason for (reason,) in report.reasons.values())


def test_arrow_rows_keep_their_types_exactly():
    table = pa.table(
        {
            "loan_id": pa.array([2**60, 2**60 + 1, None, 4]),
            "when": pa.array([datetime(2005, 7, 1), None, datetime(9999, 1, 1), None]),
            "amount": pa.array([1.0, float("nan"), -3.0, 4.0]),
        }
    )
    report = check(
        table,
        UNIQUE,
        POSITIVE,
        expectation(f"{EXPECT}be_between", column="when", max_value="2008-12-31T00:00:00"),
    )
    kept, quarantined = quarantine.split(table, report)
    assert list(report.reasons) == [2]  # long keys next to a null do not collide
    assert kept.schema == table.schema
    assert quarantined.schema == quarantine.QUARANTINE_SCHEMA
    assert quarantined["_row"].to_pylist() == [2]
    assert quarantined["_file"].to_pylist() == [None]
    assert json.loads(quarantined["row"][0].as_py()) == {
        "loan_id": None,
        "when": "9999-01-01T00:00:00",
        "amount": -3.0,
    }
    assert "max_value=2008-12-31T00:00:00" in quarantined["reasons"][0].as_py()


def test_an_empty_quarantine_has_the_same_arrow_schema_from_pandas():
    _, none = quarantine.split(loans(), check(loans(), UNIQUE))
    frame = loans()
    frame.loc[1, "amount"] = -1.0
    _, one = quarantine.split(frame, check(frame, POSITIVE))
    schemas = [pa.Table.from_pandas(item, preserve_index=False).schema for item in (none, one)]
    assert schemas[0].remove_metadata() == schemas[1].remove_metadata()
    assert schemas[0].remove_metadata() == quarantine.QUARANTINE_SCHEMA


def test_a_fifth_of_bad_rows_stops_the_batch_above_the_limit():
    frame = loans(100)
    frame.loc[frame.index % 5 == 0, "amount"] = 0.0
    report = check(frame, POSITIVE)
    assert report.quarantined_share == 0.2
    quarantine.enforce(report, on_failure="quarantine", max_quarantined=0.2)
    with pytest.raises(QualityError) as caught:
        quarantine.enforce(
            report, on_failure="quarantine", max_quarantined=0.05, data_docs="s3://reports/x"
        )
    for words in (
        "source loans 2005-Q3: at most 5.00% of 100 rows may go to quarantine, got 20 (20.00%)",
        "amount: expect_column_values_to_be_between",
        "20 of 100 rows unexpected in a.parquet, b.parquet",
        "raise max_quarantined",
        "Data Docs: s3://reports/x",
    ):
        assert words in str(caught.value)


def test_on_failure_fail_stops_at_one_bad_row():
    frame = loans()
    frame.loc[0, "amount"] = -1.0
    report = check(frame, POSITIVE)
    quarantine.enforce(report, on_failure="quarantine", max_quarantined=0.5)
    with pytest.raises(QualityError, match="got 1 that stop it: critical failed: amount"):
        quarantine.enforce(report, on_failure="fail", max_quarantined=0.5)
    with pytest.raises(QualityError, match="on_failure must be"):
        quarantine.enforce(report, on_failure="drop", max_quarantined=0.5)


def test_a_batch_of_which_nothing_is_left_stops_whatever_the_limit():
    frame = loans()
    frame["amount"] = -1.0
    with pytest.raises(QualityError, match="at least one row must be left, got 10"):
        quarantine.enforce(check(frame, POSITIVE), on_failure="quarantine", max_quarantined=1.0)


def test_mostly_decides_when_the_batch_stops_and_never_keeps_a_bad_row():
    frame = loans()
    frame.loc[[1, 2], "bank"] = None
    tolerant = expectation(f"{EXPECT}not_be_null", column="bank", mostly=0.5)
    strict = expectation(f"{EXPECT}not_be_null", column="bank", mostly=0.9)
    assert list(check(frame, tolerant).reasons) == [1, 2]
    assert check(frame, tolerant).stopping == ()
    assert [failure.column for failure in check(frame, strict).stopping] == ["bank"]


def test_warnings_change_nothing():
    frame = loans()
    frame["amount"] = -1.0
    warning = {**POSITIVE, "severity": "warning"}
    report = check(frame, warning)
    assert report.quarantined == 0
    assert [(failure.severity, failure.unexpected) for failure in report.failures] == [
        ("warning", 10)
    ]
    assert report.failures[0].examples == ("-1.0",)
    quarantine.enforce(report, on_failure="fail", max_quarantined=0.0)


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_a_missing_column_is_an_error_that_stops_at_any_severity(severity):
    gone = expectation(f"{EXPECT}not_be_null", severity, column="nowhere")
    report = check(loans(), UNIQUE, gone)
    (failure,) = report.stopping
    assert (failure.kind, failure.column, failure.level) == ("error", "nowhere", "dataset")
    with pytest.raises(QualityError, match=f"{severity} error: nowhere: .*nowhere"):
        quarantine.enforce(report, on_failure="quarantine", max_quarantined=1.0)


def test_pairs_of_columns_are_rules_about_rows():
    frame = loans().assign(guaranteed=2.0)
    rule = expectation(
        "expect_column_pair_values_a_to_be_greater_than_b",
        column_A="amount",
        column_B="guaranteed",
        or_equal=True,
    )
    report = check(frame, rule)
    assert report.reasons == {
        0: (
            "amount, guaranteed: expect_column_pair_values_a_to_be_greater_than_b(or_equal=True), "
            "got [1.0, 2.0]",
        )
    }
    assert report.failures[0].examples == ("[1.0, 2.0]",)


def test_a_wrong_type_is_an_error_and_quarantines_nothing():
    frame = loans()
    frame["amount"] = frame["amount"].astype(str)
    report = check(frame, POSITIVE)
    assert [failure.kind for failure in report.stopping] == ["error"]
    assert report.quarantined == 0


def test_an_all_null_column_is_not_a_pass():
    frame = loans()
    frame["amount"] = np.nan
    (failure,) = check(frame, POSITIVE).stopping
    assert "only nulls in 10 rows, so nothing was checked" in str(failure)
    relaxed = check(frame, {**POSITIVE, "severity": "warning"})
    assert relaxed.stopping == ()
    assert len(relaxed.failures) == 1
    nulls = expectation(f"{EXPECT}be_null", column="amount")
    assert check(frame, nulls).failures == ()


def test_dataset_failures_tell_what_was_found():
    report = check(
        loans(),
        expectation("expect_table_row_count_to_be_between", min_value=1000),
        expectation("expect_column_mean_to_be_between", column="amount", max_value=5),
        expectation(
            "expect_table_columns_to_match_set", column_set=["loan_id", "rate"], exact_match=False
        ),
    )
    details = {failure.expectation: failure.detail for failure in report.stopping}
    assert details["expect_table_row_count_to_be_between"] == "10"
    assert details["expect_column_mean_to_be_between"] == "5.5"
    assert "missing ['rate']" in details["expect_table_columns_to_match_set"]
    assert "_file" not in details["expect_table_columns_to_match_set"]


def test_messages_are_bounded():
    frame = loans()
    columns = [expectation(f"{EXPECT}not_be_null", column="c" * 300 + str(i)) for i in range(30)]
    with pytest.raises(QualityError, match=r"got 30 that stop it.*and 25 more") as caught:
        quarantine.enforce(check(frame, *columns), on_failure="quarantine", max_quarantined=0.1)
    assert len(str(caught.value)) < 6000


def test_split_refuses_other_rows():
    report = check(loans(), UNIQUE)
    with pytest.raises(QualityError, match="got 10 rows checked and 9 to split"):
        quarantine.split(loans(9), report)


def test_the_summary_is_small_and_counts():
    frame = loans()
    frame.loc[3, "amount"] = -1.0
    summary = check(frame, UNIQUE, POSITIVE).summary()
    assert summary["quarantined"] == 1
    assert summary["evaluated"] == 2
    assert summary["unsuccessful"] == 1
    assert summary["failures_left_out"] == 0
    assert summary["failures"][0] == {
        "expectation": "expect_column_values_to_be_between",
        "column": "amount",
        "severity": "critical",
        "kind": "failed",
        "unexpected": 1,
    }
    assert len(json.dumps(summary)) < 1000


# Suites as files


def written(folder, *expectations, name="loans"):
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"name": "loans", "expectations": list(expectations)}))
    return folder


def test_a_suite_is_read_and_dates_become_midnight(tmp_path):
    kwargs = {"column": "when", "min_value": "2000-01-01"}
    folder = written(tmp_path, {"type": f"{EXPECT}be_between", "kwargs": kwargs})
    (loaded,) = suites.load_suite("loans", folder)["expectations"]
    assert loaded["kwargs"]["min_value"] == "2000-01-01T00:00:00"
    assert loaded["severity"] == "critical"
    frame = pd.DataFrame({"when": pd.to_datetime(["1999-12-31", "2000-01-01"])})
    assert list(check(frame, loaded).reasons) == [0]
    frame["when"] = frame["when"].astype("datetime64[us]")
    assert list(check(frame, loaded).reasons) == [0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": f"{EXPECT}be_betwen"}, "did you mean 'expect_column_values_to_be_between'"),
        ({"severity": "critcal"}, "did you mean 'critical'"),
        ({"severty": "critical"}, "did you mean 'severity'"),
        ({"kwargs": {"column": "a", "min_valu": 1}}, "did you mean 'min_value'"),
        ({"kwargs": {"min_value": 1}}, "got column: field required"),
        ({"kwargs": {"column": "a"}}, "min_value and max_value cannot both be None"),
        ({"type": None}, "must be an object with a type"),
    ],
)
def test_a_wrong_expectation_names_file_place_and_nearest_spelling(tmp_path, change, words):
    good = {"type": f"{EXPECT}be_between", "kwargs": {"column": "a", "min_value": 1}}
    with pytest.raises(SpecificationError) as caught:
        suites.load_suite("loans", written(tmp_path, good, {**good, **change}))
    assert str(caught.value).startswith("suite loans.json: expectation 2")
    assert words in str(caught.value)


def test_a_suite_that_is_missing_broken_or_empty_is_an_error(tmp_path):
    written(tmp_path, {"type": "x"})
    with pytest.raises(SpecificationError, match="did you mean 'loans'"):
        suites.load_suite("loan", tmp_path)
    with pytest.raises(SpecificationError, match="got none"):
        suites.load_suite("../loans", tmp_path)
    written(tmp_path, name="other")
    with pytest.raises(SpecificationError, match="at least one of expectations, got none"):
        suites.load_suite("other", tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SpecificationError, match=r"broken\.json: must be JSON"):
        suites.load_suite("broken", tmp_path)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for name in ("folder", "deep"):
        with pytest.raises(SpecificationError, match=rf"{name}\.json: must be JSON"):
            suites.load_suite(name, tmp_path)
    for text, words in (
        ('{"name": "a", "name": "broken"}', "the key 'name' twice"),
        ('{"expectations": [{"kwargs": {"min_value": NaN}}]}', "NaN, which is no number of JSON"),
    ):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(SpecificationError, match=f"must be JSON, got {words}"):
            suites.load_suite("broken", tmp_path)
    (tmp_path / "broken.json").write_text('{"expectations": 5}')
    with pytest.raises(SpecificationError, match="at least one of expectations, got none"):
        suites.load_suite("broken", tmp_path)
    item = {"type": "expect_column_to_exist", "kwargs": ["x"]}
    with pytest.raises(SpecificationError, match="kwargs must be an object"):
        suites.load_suite("loans", written(tmp_path, item))
    written(tmp_path, {"type": "x"}, name="renamed")
    with pytest.raises(SpecificationError, match="must be that of the file, got 'loans'"):
        suites.load_suite("renamed", tmp_path)


@pytest.mark.parametrize("path", sorted(EXPECTATIONS.glob("*.json")), ids=lambda p: p.stem)
def test_shipped_suites_load_and_say_why(path):
    loaded = suites.load_suite(path.stem)
    for item in loaded["expectations"]:
        assert item["meta"].get("notes"), f"{path.name}: {item['type']} has no notes"


# Data Docs


def test_data_docs_are_one_page_without_scripts_or_addresses(tmp_path):
    frame = loans()
    frame["bank"] = ["<script>alert(1)</script>"] * 9 + [None]
    report = check(
        frame,
        HAS_BANK,
        expectation(f"{EXPECT}be_in_set", "warning", column="bank", value_set=["<b>", "B"]),
        expectation("expect_column_mean_to_be_between", column="amount", max_value=5),
        expectation(f"{EXPECT}not_be_null", column="gone"),
        expectation(f"{EXPECT}not_be_null", "warning", column="</h5><script>alert(2)</script>"),
    )
    page = data_docs.build_data_docs(report, tmp_path / "docs").read_text()

    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == [
        "index.html",
        "result.json",
    ]
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["'](?!#|data:|result\.json)""", page)
    assert "3 expectation(s) stop the batch" in page
    assert "5.5" in page
    assert "Run Info" in page
    result = json.loads((tmp_path / "docs" / "result.json").read_text())
    assert result["statistics"]["evaluated_expectations"] == 5
    assert all("unexpected_index_list" not in item["result"] for item in result["results"])


def test_data_docs_of_an_expectation_with_a_condition(tmp_path):
    large = {"type": "comparison", "column": {"name": "amount"}, "operator": ">", "parameter": 8}
    report = check(
        loans(),
        expectation(f"{EXPECT}be_between", column="amount", max_value=9, row_condition=large),
    )
    assert [failure.unexpected for failure in report.failures] == [1]
    assert "amount" in data_docs.build_data_docs(report, tmp_path / "docs").read_text()


def test_data_docs_are_published(store_settings):
    frame = loans()
    frame.loc[0, "amount"] = np.nan
    store = ObjectStore(store_settings)
    uri = data_docs.publish_data_docs(
        store, check(frame, UNIQUE, POSITIVE), "s3://reports/quality/a"
    )
    assert uri == "s3://reports/quality/a/index.html"
    assert b"Passed: nothing critical failed." in store.read(uri)
    assert json.loads(store.read("s3://reports/quality/a/result.json"))["success"] is True


LONG = 10**17


@pytest.mark.parametrize("scale", [0, 2])
def test_decimals_are_compared_with_every_digit(scale):
    ids = [Decimal(LONG), Decimal(LONG + 1), Decimal(LONG), None]
    rows = pa.table(
        {
            "loan_id": pa.array(ids, pa.decimal128(38, scale)),
            "amount": [Decimal("1.10"), None, Decimal("-0.01"), Decimal("200.25")],
            "bank": ["B"] * 4,
        }
    )
    mean = expectation("expect_column_mean_to_be_between", column="amount", max_value=68)
    known = expectation(f"{EXPECT}be_in_set", column="amount", value_set=[1.1, -0.01, 200.25])
    report = check(rows, UNIQUE, POSITIVE, mean, known)
    assert [failure.expectation for failure in report.failures] == [
        f"{EXPECT}be_between",
        f"{EXPECT}be_unique",
    ]
    assert sorted(report.reasons) == [0, 2]
    _, moved = quarantine.split(rows, report)
    held = [json.loads(row) for row in moved["row"].to_pylist()]
    assert [row["amount"] for row in held] == ["1.10", "-0.01"]
    assert {Decimal(row["loan_id"]) for row in held} == {LONG}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([Decimal("0.10"), None], pa.float64()),
        ([Decimal("9999999999999.99")], pa.float64()),
        ([Decimal("99999999999999.99")], pa.decimal128(16, 2)),  # a float may not keep it apart
        ([Decimal("1E-16")], pa.decimal128(16, 16)),
        ([Decimal(2**63 - 1), None], pa.int64()),
        ([Decimal(2**63)], pa.decimal128(19, 0)),
        ([], pa.int64()),
    ],
)
def test_decimals_become_numbers_that_hold_them(values, kind):
    column = pa.chunked_array([pa.array(values, None if values else pa.decimal128(9, 0))])
    numbers = validation._numbers(column)
    assert numbers.type == kind
    assert [None if v is None else Decimal(str(v)) for v in numbers.to_pylist()] == values
