"""The corpus of bad inputs: what arrives, and what must happen.

``docs/bad-input.md`` is written from it: ``python -m tests.corpus.page``.
"""

from __future__ import annotations

from tests.corpus import changes, csv_text, files, json_text, labels, parquet_types
from tests.corpus.case import Landed

# By the heading of the page, in its order.
LANDED: dict[str, tuple[Landed, ...]] = {
    "Files and folders": files.CASES,
    "CSV": csv_text.CASES,
    "JSON lines": json_text.CASES,
    "Parquet": parquet_types.CASES,
    "What differs from the batches before": changes.CASES,
    "Labels": labels.CASES,
}


def landed_cases() -> list[Landed]:
    """List every case of files that land."""
    return [case for cases in LANDED.values() for case in cases]
