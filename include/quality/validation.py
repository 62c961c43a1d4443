"""Expectation suites: what a batch has to show, which rows are moved away, what stops it.

The rules, by severity and kind of expectation:

* A **critical** expectation about single rows moves every unexpected row to quarantine, each copy
  of a duplicated key included. If it states ``mostly`` below 1 and fewer rows pass, the whole
  batch stops as well.
* A **critical** expectation about the data set (row count, mean, columns) stops the batch when it
  fails, and so does one about a column that is null throughout, because nothing was checked.
* An expectation that **cannot be evaluated** (missing column, wrong type) stops the batch at any
  severity: no answer is never a pass.
* Other severities are reported and change nothing.
* A row with a cell that could not be read as its column's type (``_unparsed``, of text files)
  moves to quarantine as if a critical expectation ``parse`` had said so.

Great Expectations is imported inside the functions: it takes seconds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.partitions import Partition
from include.errors import QualityError
from include.ingestion.cell_types import kind_of
from include.ingestion.landed_batch import FILE, ROW, UNPARSED
from include.quality.report import Failure, ValidationReport
from include.quality.suites import SEVERITIES
from include.quality.values import TEXT_LENGTH, finite, short
from include.storage.data_frames import to_pandas, to_series

_OWN = (FILE, ROW, UNPARSED)
_EXAMPLES = 5
# So many a float keeps apart.
_DIGITS = 15
_PARSED_AS = {
    "integer": "an integer",
    "number": "a number",
    "date": "a date",
    "timestamp": "a timestamp",
    "boolean": "true or false",
    "string": "a string",
}


def validate(
    frame: pd.DataFrame | pa.Table,
    suite: Mapping[str, Any],
    *,
    source: str,
    partition: Partition | str,
) -> ValidationReport:
    """Run a suite on a batch; nothing is raised for what it finds (see ``quarantine.enforce``).

    Args:
        frame: The rows; ``_file``, ``_row`` and ``_unparsed`` are not shown to the suite.
        suite: As :func:`~include.quality.suites.load_suite` returns it.
        source: Where the rows come from.
        partition: What the rows are about.

    Raises:
        QualityError: If there is no row, or an expectation gave no result.
    """
    rows = len(frame)
    if rows == 0:
        raise QualityError(
            f"source {source} {partition}: suite {suite['name']} must see at least one row, "
            "got none. Find out why the batch is empty; nothing was checked."
        )
    files = _files(frame)
    checked = _comparable(frame)
    outcome = _run(checked, suite, source, str(partition))
    if len(outcome.results) != len(suite["expectations"]):
        raise QualityError(
            f"source {source} {partition}: every expectation of suite {suite['name']} must give a "
            f"result, got {len(outcome.results)} of {len(suite['expectations'])}. "
            "Remove expectations that are there twice."
        )
    failures, reasons = _unparsed(frame, files)
    for item in outcome.results:
        failure = _failure(item, files)
        if failure is None:
            continue
        failures.append(failure)
        if failure.severity == "critical" and failure.level == "row" and failure.kind == "failed":
            for position, reason in _row_reasons(item, failure):
                reasons.setdefault(position, []).append(reason)
    failures.sort(
        key=lambda failure: (
            not failure.stops,
            SEVERITIES.index(failure.severity),
            failure.column,
            failure.expectation,
        )
    )
    return ValidationReport(
        suite=suite["name"],
        source=source,
        partition=str(partition),
        rows=rows,
        files=tuple(sorted(set(files.tolist()))) if files is not None else (),
        failures=tuple(failures),
        reasons={position: tuple(sorted(texts)) for position, texts in sorted(reasons.items())},
        statistics={
            "evaluated": int(outcome.statistics["evaluated_expectations"]),
            "successful": int(outcome.statistics["successful_expectations"]),
            "unsuccessful": int(outcome.statistics["unsuccessful_expectations"]),
        },
        result=_archived(outcome),
    )


def _run(frame: pd.DataFrame, suite: Mapping[str, Any], source: str, partition: str) -> Any:
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.expectations.registry import get_expectation_impl

    # It tells of its temporary folders at every run.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    # A file context would rewrite the suites, so the context lives in memory only.
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    expectations = [
        get_expectation_impl(item["type"])(
            **item["kwargs"], severity=item["severity"], meta=dict(item["meta"])
        )
        for item in suite["expectations"]
    ]
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=suite["name"],
            data=context.data_sources.add_pandas("relevo")
            .add_dataframe_asset(source)
            .add_batch_definition_whole_dataframe(partition),
            suite=context.suites.add(
                gx.ExpectationSuite(name=suite["name"], expectations=expectations)
            ),
        )
    )
    return definition.run(
        batch_parameters={"dataframe": frame},
        result_format={"result_format": "COMPLETE"},
        run_id=RunIdentifier(run_name=f"{source} {partition}"),
    )


def _comparable(frame: pd.DataFrame | pa.Table) -> pd.DataFrame:
    """Take rows to the pandas types that Great Expectations compares fastest and exactly.

    Times become datetime64[ns] unless one lies outside its years 1677 to 2262, and decimals numbers
    unless one has more digits than those hold: several expectations cannot be evaluated on them.
    """
    if isinstance(frame, pa.Table):
        for at, field in enumerate(frame.schema):
            if pa.types.is_decimal(field.type):
                frame = frame.set_column(at, field.name, _numbers(frame[field.name]))
        checked = to_pandas(frame)
    else:
        checked = frame.reset_index(drop=True)
    checked = checked.drop(columns=[name for name in _OWN if name in checked.columns])
    for name in checked.columns:
        if pd.api.types.is_datetime64_dtype(checked[name].dtype):
            try:
                checked[name] = checked[name].astype("datetime64[ns]")
            except pd.errors.OutOfBoundsDatetime:
                continue
    return checked


def _numbers(decimals: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Take decimals to int64 or float64, or leave them if those lose a digit."""
    scale = decimals.type.scale
    try:
        if scale <= 0:
            return decimals.cast(pa.int64())
        if scale > _DIGITS:
            return decimals
        power = pa.scalar(Decimal(10**scale), pa.decimal128(scale + 1, 0))
        whole = pc.multiply(decimals.cast(pa.decimal128(_DIGITS, scale)), power).cast(pa.int64())
    except pa.ArrowInvalid:
        return decimals
    # Both are exact, so that their quotient is the float nearest to the decimal.
    numbers = to_series(whole).to_numpy(np.float64, na_value=np.nan) / 10.0**scale
    return pa.array(numbers, from_pandas=True)


def _files(frame: pd.DataFrame | pa.Table) -> np.ndarray[Any, Any] | None:
    names = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
    return np.asarray(frame[FILE], dtype=object) if FILE in names else None


def _unparsed(
    frame: pd.DataFrame | pa.Table, files: np.ndarray[Any, Any] | None
) -> tuple[list[Failure], dict[int, list[str]]]:
    """Tell of cells that could not be read: one failure per column, one reason per cell."""
    names = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
    if UNPARSED not in names:
        return [], {}
    texts = frame[UNPARSED] if isinstance(frame, pa.Table) else pa.array(frame[UNPARSED])
    cells: dict[str, dict[int, str]] = {}
    for position, text in enumerate(texts.to_pylist()):
        for column, original in json.loads(text or "{}").items():
            cells.setdefault(column, {})[position] = original
    failures: list[Failure] = []
    reasons: dict[int, list[str]] = {}
    for column, originals in cells.items():
        held = frame[column]
        stored = held.type if isinstance(held, pa.ChunkedArray) else pa.array(held).type
        kind = kind_of(stored)
        rule = f"must be {_PARSED_AS[kind]}"
        for position, original in originals.items():
            reasons.setdefault(position, []).append(f"{column}: {rule}, got {short(original)}")
        touched: Iterable[str] = () if files is None else files[list(originals)]
        failures.append(
            Failure(
                expectation="parse",
                column=column,
                rule=f"type={kind}",
                severity="critical",
                kind="failed",
                level="row",
                unexpected=len(originals),
                examples=tuple(dict.fromkeys(map(short, originals.values())))[:_EXAMPLES],
                files=tuple(sorted(set(touched)))[:_EXAMPLES],
                detail=f"{len(originals)} of {len(frame)} rows unexpected",
                stops=False,
            )
        )
    return failures, reasons


def _failure(item: Any, files: np.ndarray[Any, Any] | None) -> Failure | None:
    """Read one Great Expectations result; None if there is nothing to tell."""
    configuration, result = item.expectation_config, item.result or {}
    severity = str(configuration.severity.value)
    critical = severity == "critical"
    error = _error(item)
    positions = result.get("unexpected_index_list")
    unexpected = int(result.get("unexpected_count") or 0)
    elements = result.get("element_count")
    vacuous = elements is not None and result.get("missing_count") == elements
    if error is None and not vacuous and item.success and not (critical and unexpected):
        return None
    arguments = {
        key: value
        for key, value in configuration.kwargs.items()
        if key != "batch_id" and not key.startswith("column")
    }
    by_row = positions is not None and error is None and not vacuous
    if error is not None:
        detail = error
    elif vacuous:
        detail = f"only nulls in {elements} rows, so nothing was checked"
    elif by_row:
        detail = f"{unexpected} of {elements} rows unexpected"
    else:
        detail = f"{short(result.get('observed_value', 'another value'))}{_mismatch(result)}"
    values = [value for value in result.get("partial_unexpected_list") or () if not _is_null(value)]
    touched = files[positions] if by_row and files is not None else ()
    return Failure(
        expectation=str(configuration.type),
        column=_columns(configuration.kwargs),
        rule=", ".join(f"{key}={short(value)}" for key, value in sorted(arguments.items())),
        severity=severity,
        kind="failed" if error is None else "error",
        level="row" if by_row else "dataset",
        unexpected=unexpected if by_row else 0,
        examples=tuple(dict.fromkeys(short(value) for value in values))[:_EXAMPLES],
        files=tuple(sorted(set(touched)))[:_EXAMPLES],
        detail=detail,
        stops=error is not None
        or (critical and (not by_row or (not item.success and arguments.get("mostly", 1) < 1))),
    )


def _error(item: Any) -> str | None:
    """Say why an expectation could not be evaluated; None if it could."""
    messages = [
        str(entry["exception_message"]) for entry in _exceptions(item) if entry["raised_exception"]
    ]
    if messages:
        first = messages[0].partition("\n")[0].removeprefix("Error: ").rstrip(".")
        return first[:TEXT_LENGTH] or "an error without a message"
    if not item.success and not item.result:
        return "no result"
    return None


def _exceptions(item: Any) -> list[dict[str, Any]]:
    """List what was raised: Great Expectations has one entry, or one for each metric."""
    information = item.exception_info or {}
    return [information] if "raised_exception" in information else list(information.values())


def _row_reasons(item: Any, failure: Failure) -> list[tuple[int, str]]:
    positions = item.result["unexpected_index_list"]
    values = item.result.get("unexpected_list") or []
    if len(values) != len(positions):
        return [(int(position), failure.expected) for position in positions]
    return [
        (int(position), failure.expected + ("" if _is_null(value) else f", got {short(value)}"))
        for position, value in zip(positions, values, strict=True)
    ]


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def _archived(outcome: Any) -> dict[str, Any]:
    """Make the result fit for JSON and people: no list of all rows, no stack traces."""
    for item in outcome.results:
        for key in ("unexpected_list", "unexpected_index_list", "unexpected_index_query"):
            item.result.pop(key, None)
        for entry in _exceptions(item):
            if entry["raised_exception"]:
                entry["exception_traceback"] = entry["exception_message"]
    archived: dict[str, Any] = finite(outcome.to_json_dict())
    return archived


def _columns(kwargs: Mapping[str, Any]) -> str:
    for key in ("column", "column_list"):
        if key in kwargs:
            value = kwargs[key]
            return value if isinstance(value, str) else ", ".join(map(str, value))
    if "column_A" in kwargs:
        return f"{kwargs['column_A']}, {kwargs['column_B']}"
    return "(table)"


def _mismatch(result: Mapping[str, Any]) -> str:
    mismatched = (result.get("details") or {}).get("mismatched")
    if not isinstance(mismatched, dict):
        return ""
    return "; " + ", ".join(f"{key} {short(value)}" for key, value in sorted(mismatched.items()))
