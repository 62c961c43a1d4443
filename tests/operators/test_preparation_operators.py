"""Operators that bring data in: one call of the library, a link, and a reference in XCom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.calendar.partitions import Frequency, parse
from include.errors import QualityError
from include.specification.pipeline_file import load
from include.steps.preparation import Validated
from include.storage.drafts import Draft
from relevo.links import DataDocsLink
from relevo.operators.preparation import (
    ComputeFeaturesOperator,
    IngestLabelsOperator,
    IngestSourceOperator,
    ValidateFeaturesOperator,
    ValidateLabelsOperator,
    ValidateSourceOperator,
)
from tests.operators.running import DRAFT, FEATURES, RAW, SPARK, small_json

COMMON = {"task_id": "a_task", "pipeline": "loan_default", "partition": "2005-Q1"}
PARTITION = parse("2005-Q1", Frequency.QUARTERLY)
SUMMARY = {"rows": 100, "quarantined": 2, "failures": []}
DOCS = "/relevo/reports/loan_default/data_docs/2005-Q1"


def validated(reference: Any) -> Validated:
    return Validated(reference, 2, "s3://reports/x/index.html", SUMMARY)


def draft_of(source: str) -> Draft:
    return replace(DRAFT, table=f"raw_{source}")


def test_what_may_be_templated() -> None:
    assert list(IngestSourceOperator.template_fields) == ["partition", "source"]
    assert list(ValidateSourceOperator.template_fields) == ["partition", "source", "batch"]
    assert list(ComputeFeaturesOperator.template_fields) == ["partition", "batches"]
    assert list(ValidateFeaturesOperator.template_fields) == ["partition", "batch"]


def test_validations_link_to_their_data_docs() -> None:
    for operator in (ValidateSourceOperator, ValidateLabelsOperator, ValidateFeaturesOperator):
        assert operator.operator_extra_links == (DataDocsLink(),)


@pytest.mark.parametrize(
    ("operator", "source"), [(IngestSourceOperator, "loans"), (IngestLabelsOperator, "outcomes")]
)
def test_ingest(operator: Any, source: str, context: Any, replace_by_autospec: Any) -> None:
    ingest = replace_by_autospec("include.steps.preparation.ingest", return_value=DRAFT)
    result = small_json(operator(source=source, **COMMON).execute(context))
    assert result == DRAFT.to_dict()
    lake, pipeline, named, wanted, origin = ingest.call_args.args
    assert (lake.pipeline, lake.settings.access_key) == ("loan_default", "key")
    assert (pipeline, named, wanted) == (load("loan_default"), source, [PARTITION])
    assert origin.task_id == "a_task"


@pytest.mark.parametrize(
    ("operator", "source"),
    [(ValidateSourceOperator, "loans"), (ValidateLabelsOperator, "outcomes")],
)
class TestValidateSource:
    def test_it_returns_the_reference_of_the_good_rows(
        self, operator: Any, source: str, context: Any, ti: Any, replace_by_autospec: Any
    ) -> None:
        validate = replace_by_autospec(
            "include.steps.preparation.validate_source", return_value=validated(RAW)
        )
        task = operator(source=source, batch=draft_of(source).to_dict(), **COMMON)
        result = small_json(task.execute(context))
        assert result["reference"] == RAW.to_dict()
        assert result["quarantined"] == 2
        assert validate.call_args.args[2:5] == (source, draft_of(source), PARTITION)
        assert ti.pushed == {"relevo_data_docs": f"{DOCS}/{source}/index.html"}

    def test_a_batch_that_is_stopped_links_to_its_data_docs_as_well(
        self, operator: Any, source: str, context: Any, ti: Any, replace_by_autospec: Any
    ) -> None:
        error = QualityError("source x: 20 rows. Correct the data.")
        replace_by_autospec("include.steps.preparation.validate_source", side_effect=error)
        task = operator(source=source, batch=draft_of(source).to_dict(), **COMMON)
        with pytest.raises(AirflowFailException) as caught:
            task.execute(context)
        assert str(caught.value) == str(error)
        assert ti.pushed == {
            "relevo_data_docs": f"{DOCS}/{source}/index.html",
            "relevo_failure": {"kind": "gate", "told": str(error)},
        }

    def test_a_store_that_does_not_answer_is_retried(
        self, operator: Any, source: str, context: Any, replace_by_autospec: Any
    ) -> None:
        replace_by_autospec(
            "include.steps.preparation.validate_source", side_effect=OSError("reset")
        )
        with pytest.raises(OSError, match="reset"):
            operator(source=source, batch=draft_of(source).to_dict(), **COMMON).execute(context)


@pytest.fixture
def changed(replace_by_autospec: Any) -> Any:
    """Whether another version of the function computed what is stored."""
    return replace_by_autospec("include.features.function_digest.told_of_change", return_value="")


def test_compute_features(context: Any, spark: Any, replace_by_autospec: Any, changed: Any) -> None:
    compute = replace_by_autospec("include.features.feature_function.compute", return_value=DRAFT)
    batches = {"loans": validated(RAW).to_dict()}
    task = ComputeFeaturesOperator(batches=batches, **COMMON)
    assert small_json(task.execute(context)) == DRAFT.to_dict()
    session, lake, pipeline, sources, partitions, _ = compute.call_args.args
    assert session is SPARK
    assert (lake.pipeline, pipeline.name) == ("loan_default", "loan_default")
    assert (sources, partitions) == ({"loans": RAW}, ["2005-Q1"])
    assert spark.call_args.args[0].get_secret_value() == "sc://spark:15002/;token=token"


def test_compute_features_warns_of_another_version_of_the_function(
    context: Any,
    spark: Any,
    replace_by_autospec: Any,
    changed: Any,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace_by_autospec("include.features.feature_function.compute", return_value=DRAFT)
    changed.return_value = "Features of 2 partitions were computed by another version"
    ComputeFeaturesOperator(batches={"loans": validated(RAW).to_dict()}, **COMMON).execute(context)
    logged = caplog.text + "".join(capsys.readouterr())
    assert changed.return_value in logged


def test_compute_features_looks_at_history_after_it_has_waited(
    context: Any, spark: Any, replace_by_autospec: Any, changed: Any
) -> None:
    now = replace(RAW, version=RAW.version + 1)
    replace_by_autospec(
        "include.features.feature_function.with_history_of_now", return_value={"loans": now}
    )
    compute = replace_by_autospec("include.features.feature_function.compute", return_value=DRAFT)
    ComputeFeaturesOperator(batches={"loans": validated(RAW).to_dict()}, **COMMON).execute(context)
    assert compute.call_args.args[3] == {"loans": now}


def test_validate_features(context: Any, ti: Any, replace_by_autospec: Any) -> None:
    validate = replace_by_autospec(
        "include.steps.preparation.validate_features", return_value=validated(FEATURES)
    )
    draft = replace(DRAFT, table="features")
    task = ValidateFeaturesOperator(batch=draft.to_dict(), **COMMON)
    assert small_json(task.execute(context))["reference"] == FEATURES.to_dict()
    assert validate.call_args.args[2:4] == (draft, PARTITION)
    assert ti.pushed == {"relevo_data_docs": f"{DOCS}/features/index.html"}
