"""Land the example loans the way a lender's system would have: quarter by quarter.

A loan lands in the quarter of its approval, without its outcome. The outcome lands in the quarter
in which it became known.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.calendar.partitions import Frequency, Partition, containing
from include.storage.object_store import THREADS, ObjectStore, content_type, join
from include.storage.parquet import open_parquet
from include.storage.settings import LANDING

LOANS = Path(__file__).parent / "sba_loans_2000_2008.parquet"
LOAN_COLUMNS = (
    "loan_id",
    "ApprovalDate",
    "State",
    "Bank",
    "BankState",
    "NAICS",
    "NoEmp",
    "NewExist",
    "CreateJob",
    "RetainedJob",
    "FranchiseCode",
    "UrbanRural",
    "RevLineCr",
    "LowDoc",
    "GrAppv",
    "SBA_Appv",
)
OUTCOME_COLUMNS = ("loan_id", "bad24", "label_time_24")
ROOT = f"s3://{LANDING}/loan_default"  # as in include/pipelines/loan_default.yaml


@dataclass(frozen=True)
class LandingReport:
    """What was landed.

    Args:
        loans: Loans on the store now, as far as asked for.
        outcomes: Outcomes on the store now, as far as asked for.
        written: Addresses written, sorted.
        skipped: Addresses that held the same content already, sorted.
    """

    loans: int
    outcomes: int
    written: tuple[str, ...]
    skipped: tuple[str, ...]


def land_loans(store: ObjectStore, *, until: Partition | None = None) -> LandingReport:
    """Land loans and outcomes of every quarter that closed by the end of ``until``.

    The same call always writes the same bytes and leaves files alone that hold them already.

    Args:
        store: Where to.
        until: Last partition to land; None lands all (loans to 2008-Q4, outcomes to 2010-Q4).

    Raises:
        SourceError: If the store does not take them.
    """
    records = open_parquet(LOANS).read()
    held = {item.uri: (item.size, item.etag) for item in store.list(ROOT)}
    parts = {
        "loans": list(_quarters(records, LOAN_COLUMNS, "ApprovalDate", until)),
        "outcomes": list(_quarters(records, OUTCOME_COLUMNS, "label_time_24", until)),
    }

    def land(job: tuple[str, Partition, pa.Table]) -> tuple[str, bool]:
        source, quarter, rows = job
        uri = join(ROOT, source, str(quarter), f"{source}.parquet")
        data = _parquet(rows)
        tag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if held.get(uri) == (len(data), tag):
            return uri, False
        store.write(uri, data, content_type(uri))
        return uri, True

    jobs = [(source, *part) for source, quarters in parts.items() for part in quarters]
    with ThreadPoolExecutor(THREADS) as pool:
        landed = sorted(pool.map(land, jobs))
    return LandingReport(
        loans=sum(rows.num_rows for _, rows in parts["loans"]),
        outcomes=sum(rows.num_rows for _, rows in parts["outcomes"]),
        written=tuple(uri for uri, wrote in landed if wrote),
        skipped=tuple(uri for uri, wrote in landed if not wrote),
    )


def _quarters(
    records: pa.Table, columns: tuple[str, ...], time: str, until: Partition | None
) -> Iterator[tuple[Partition, pa.Table]]:
    """Cut rows into quarters by a time column; within each, sorted by it and by key."""
    rows = records.select(list(columns)).sort_by([(time, "ascending"), ("loan_id", "ascending")])
    moments = rows[time].to_numpy()
    quarter = containing(moments[0].astype("datetime64[us]").item(), Frequency.QUARTERLY)
    start = 0
    while start < rows.num_rows and (until is None or quarter.end <= until.end):
        stop = int(np.searchsorted(moments, np.datetime64(quarter.end)))
        if stop > start:
            yield quarter, rows.slice(start, stop - start)
        start, quarter = stop, quarter.shift(1)


def _parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()
