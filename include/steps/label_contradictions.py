"""Labels that contradict each other: all of them go to quarantine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from include.calendar.partitions import Partition
from include.features import labels
from include.ingestion.landed_batch import FILE
from include.quality.report import Failure, ValidationReport
from include.specification.pipeline import Pipeline

_EXAMPLES = 5


def with_contradictions(
    pipeline: Pipeline, rows: pa.Table, report: ValidationReport, partition: Partition
) -> ValidationReport:
    """Add the contradicting labels of a batch to what its suite found.

    Rows that go to quarantine anyway contradict nobody.

    Args:
        pipeline: The pipeline file.
        rows: The rows of the label source that the report is about.
        report: What the suite found.
        partition: Partition in which they landed.

    Raises:
        SourceError: If labels cannot be read.
    """
    kept = np.setdiff1d(np.arange(rows.num_rows), list(report.reasons))
    found = labels.contradictions(pipeline, rows.take(pa.array(kept, pa.int64())), partition)
    if not found:
        return report
    column = pipeline.labels.column or "labels.expression"
    names = [pipeline.entity, pipeline.labels.event_time]
    rule = f"one {' and '.join(filter(None, names))} must have one label at a moment"
    reasons = {int(kept[at]): (f"{column}: {rule}, got {told}",) for at, told in found.items()}
    files: list[str] = []
    if FILE in rows.column_names:
        files = rows[FILE].take(pa.array(list(reasons), pa.int64())).unique().to_pylist()
    failure = Failure(
        expectation="one_label",
        column=column,
        rule=rule,
        severity="critical",
        kind="failed",
        level="row",
        unexpected=len(reasons),
        examples=tuple(dict.fromkeys(found.values()))[:_EXAMPLES],
        files=tuple(sorted(files))[:_EXAMPLES],
        detail=f"{len(reasons)} of {report.rows} rows unexpected",
        stops=False,
    )
    stopping = len(report.stopping)
    failures = (*report.failures[:stopping], failure, *report.failures[stopping:])
    return replace(
        report, failures=failures, reasons=dict(sorted({**report.reasons, **reasons}.items()))
    )
