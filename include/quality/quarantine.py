"""Move bad rows to quarantine with their reasons, and stop a batch that must not go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from include.errors import QualityError
from include.ingestion.landed_batch import FILE, ROW, UNPARSED
from include.quality.report import Failure, ValidationReport
from include.quality.values import finite, text_of
from include.storage.data_frames import to_pandas
from include.wording import some

_CORRECT = "Correct the data, land it again and clear the task that ingests it, with downstream"
QUARANTINE_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("partition", pa.string()),
        (FILE, pa.string()),
        (ROW, pa.int64()),
        ("reasons", pa.string()),
        ("row", pa.string()),
    ]
)
_OWN = (FILE, ROW, UNPARSED)
_LISTED = 5

Frame = TypeVar("Frame", pd.DataFrame, pa.Table)


def split(frame: Frame, report: ValidationReport) -> tuple[Frame, Frame]:
    """Separate the rows to keep from those for quarantine.

    Args:
        frame: The rows that were validated, in the same order.
        report: What :func:`~include.quality.validation.validate` said of them.

    Returns:
        The kept rows as they came, and the others in the columns of ``QUARANTINE_SCHEMA``:
        ``row`` holds the original columns as one JSON object, with the text of cells that could
        not be read, and ``reasons`` why, joined by ``; ``.
        Without ``_file`` and ``_row`` columns, ``_file`` is null and ``_row`` the position in the
        frame. Both are Arrow tables or data frames, as the rows are; Arrow keeps exact types.

    Raises:
        QualityError: If the report is about other rows, or rows in are not rows out.
    """
    if len(frame) != report.rows:
        raise QualityError(
            f"source {report.source} {report.partition}: the report must be about these rows, got "
            f"{report.rows} rows checked and {len(frame)} to split. Validate them again."
        )
    moved = np.zeros(report.rows, dtype=bool)
    positions = list(report.reasons)
    moved[positions] = True
    if isinstance(frame, pa.Table):
        kept = frame.filter(pa.array(~moved))
        quarantined = _quarantined(frame.take(pa.array(positions, pa.int64())), report)
    else:
        kept = frame.loc[~moved].reset_index(drop=True)
        bad = pa.Table.from_pandas(frame.iloc[positions], preserve_index=False)
        # Typed even without rows, so that the way back to Arrow gives the same schema.
        types = {name: "string[python]" for name in QUARANTINE_SCHEMA.names} | {ROW: "Int64"}
        quarantined = to_pandas(_quarantined(bad, report)).astype(types)
    if len(kept) + len(quarantined) != report.rows:
        raise QualityError(
            f"source {report.source} {report.partition}: rows in must be rows kept plus rows "
            f"quarantined, got {report.rows} in, {len(kept)} kept and {len(quarantined)} "
            "quarantined. Report this as a bug; nothing was written."
        )
    return kept, quarantined


def enforce(
    report: ValidationReport,
    *,
    on_failure: str,
    max_quarantined: float,
    data_docs: str | None = None,
) -> None:
    """Stop a batch that must not go on.

    Args:
        report: What :func:`~include.quality.validation.validate` said.
        on_failure: ``fail`` stops at any critical failure, ``quarantine`` moves its rows away.
        max_quarantined: Largest share of rows that may be moved away, in [0, 1].
        data_docs: Where the Data Docs are, for the message.

    Raises:
        QualityError: If something stops the batch, too many rows would be moved, or none is left.
    """
    subject = f"source {report.source} {report.partition}"
    if on_failure not in ("quarantine", "fail"):
        raise QualityError(
            f"{subject}: on_failure must be 'quarantine' or 'fail', got {on_failure!r}. Correct it."
        )
    where = f" Data Docs: {data_docs}" if data_docs else ""
    critical = tuple(failure for failure in report.failures if failure.severity == "critical")
    fatal = report.stopping or (critical if on_failure == "fail" else ())
    if fatal:
        raise QualityError(
            f"{subject}: suite {report.suite} must hold on {report.rows} rows of "
            f"{some(report.files) if report.files else 'the batch'}, got {len(fatal)} that stop "
            f"it: {_listed(fatal)}. {_CORRECT}; or correct the suite and clear this task with "
            f"downstream.{where}"
        )
    if report.quarantined_share > max_quarantined or report.quarantined == report.rows:
        rowwise = tuple(failure for failure in critical if failure.level == "row")
        limit = f"at most {max_quarantined:.2%} of {report.rows} rows may go to quarantine"
        if report.quarantined_share <= max_quarantined:
            limit = "at least one row must be left"
        raise QualityError(
            f"{subject}: {limit}, got {report.quarantined} ({report.quarantined_share:.2%}): "
            f"{_listed(rowwise)}. {_CORRECT}; or raise max_quarantined in the pipeline file and "
            f"clear this task with downstream.{where}"
        )


def as_json(rows: pa.Table) -> list[str]:
    """Render each row as ``row`` holds it: its own columns, with the text of unread cells."""
    names = rows.column_names
    original = rows.select([name for name in names if name not in _OWN]).to_pylist()
    if UNPARSED in names:
        texts = rows[UNPARSED].to_pylist()
        original = [
            row | json.loads(text or "{}") for row, text in zip(original, texts, strict=True)
        ]
    return [json.dumps(finite(row), default=text_of, ensure_ascii=False) for row in original]


def _quarantined(bad: pa.Table, report: ValidationReport) -> pa.Table:
    positions = list(report.reasons)
    names = bad.column_names
    return pa.table(
        {
            "source": [report.source] * len(positions),
            "partition": [report.partition] * len(positions),
            FILE: bad[FILE].cast(pa.string()) if FILE in names else [None] * len(positions),
            ROW: bad[ROW].cast(pa.int64()) if ROW in names else positions,
            "reasons": ["; ".join(report.reasons[position]) for position in positions],
            "row": as_json(bad),
        },
        schema=QUARANTINE_SCHEMA,
    )


def _listed(failures: Sequence[Failure]) -> str:
    more = len(failures) - _LISTED
    listed = "; ".join(str(failure) for failure in failures[:_LISTED])
    return listed + (f"; and {more} more" if more > 0 else "")
