"""The drift report of a batch: our verdict, and Evidently's report on a sample."""

from __future__ import annotations

import pandas as pd

from include.monitoring.drift import DriftVerdict
from include.registry.model_files import ModelVersion, prepare, without_infinities
from include.specification.pipeline import Pipeline
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake
from include.storage.lineage import TableReference
from include.storage.object_store import ObjectStore
from include.storage.settings import REPORTS
from include.templates import render, without_markup
from include.training.training_sets import TrainingSet

SAMPLE_ROWS = 5_000
# Evidently's part of the page takes about a tenth of a second a column.
SHOWN_FEATURES = 100


def drift_report_uri(pipeline: str, partition: str) -> str:
    """Name the page about a batch."""
    return f"s3://{REPORTS}/{pipeline}/drift/{partition}/index.html"


def publish_drift_report(
    lake: Lake,
    pipeline: Pipeline,
    verdict: DriftVerdict,
    version: ModelVersion,
    batch: TableReference,
) -> str:
    """Publish Evidently's report on a bounded sample of both sides, headed by our verdict.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        verdict: The verdict, made from profiles of all rows.
        version: The version that scored the batch; its training set is the reference.
        batch: The features of the batch.

    Returns:
        Address of the page.
    """
    training_set = TrainingSet.from_dict(version.training_set)
    reference = _sample(lake, pipeline, training_set.reference, version)
    current = _sample(lake, pipeline, batch, version)
    # Where there is too little data for a verdict, there is none to differ from.
    ours = {item.column: item.drifted for item in verdict.features}
    columns = (*version.numeric, *version.categorical)
    held = [
        name for name in columns if reference[name].notna().any() and current[name].notna().any()
    ]
    first = set(sorted(held, key=lambda name: not ours.get(name, False))[:SHOWN_FEATURES])
    shown = [name for name in held if name in first]
    html, drifted = _evidently(reference, current, version, shown)
    banner = render(
        "drift_banner",
        pipeline=pipeline.name,
        partition=batch.partition,
        verdict=verdict,
        version=version.version,
        sample_rows=SAMPLE_ROWS,
        differing=[name for name in shown if name in ours and ours[name] != drifted[name]],
        left_out=sorted(set(columns) - set(held)),
        hidden=len(held) - len(shown),
    )
    page = html.replace("<body>", f"<body>{banner}", 1)
    uri = drift_report_uri(pipeline.name, str(batch.partition))
    ObjectStore(lake.settings).write(uri, page.encode(), "text/html; charset=utf-8")
    return uri


def _sample(
    lake: Lake, pipeline: Pipeline, reference: TableReference, version: ModelVersion
) -> pd.DataFrame:
    columns = [*version.numeric, *version.categorical]
    held = lake.read(
        reference.table,
        partitions=[str(reference.partition)],
        version=reference.version,
        columns=[pipeline.entity, *columns],
    )
    rows = to_pandas(held).sort_values(pipeline.entity, kind="stable")
    if len(rows) > SAMPLE_ROWS:
        rows = rows.sample(SAMPLE_ROWS, random_state=pipeline.training.seed)
    return without_infinities(prepare(rows, version.numeric, version.categorical))


def _evidently(
    reference: pd.DataFrame, current: pd.DataFrame, version: ModelVersion, columns: list[str]
) -> tuple[str, dict[str, bool]]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    named = _without_markup(columns)
    definition = DataDefinition(
        numerical_columns=[named[name] for name in version.numeric if name in named],
        categorical_columns=[named[name] for name in version.categorical if name in named],
    )
    sides = []
    for frame in (current, reference):
        shown = frame[columns].rename(columns=named)
        for name in definition.categorical_columns:
            shown[name] = shown[name].map(without_markup, na_action="ignore")
        sides.append(Dataset.from_pandas(shown, data_definition=definition))
    metrics = [ValueDrift(column=named[name], method="psi") for name in columns]
    report = Report(metrics, include_tests=True)
    result = report.run(current_data=sides[0], reference_data=sides[1])
    tests = result.dict()["tests"]
    drifted = {name: test["status"] == "FAIL" for name, test in zip(columns, tests, strict=True)}
    return str(result.get_html_str(as_iframe=False)), drifted


def _without_markup(columns: list[str]) -> dict[str, str]:
    """Name columns for Evidently, which puts them into a script of its page as they are."""
    named: dict[str, str] = {}
    for column in columns:
        shown = without_markup(column)
        while shown in named.values():
            shown += "'"
        named[column] = shown
    return named
