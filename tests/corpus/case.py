"""What a case of the corpus is, and how files for it are written."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from include.calendar.partitions import Frequency, parse

Files = Mapping[str, bytes]
Row = Mapping[str, Any]
# Every case lands in the second of these; some after a good batch in the first.
BEFORE, PARTITION = (parse(name, Frequency.QUARTERLY) for name in ("2005-Q1", "2005-Q2"))
AT = datetime(2005, 4, 3, 6, 30)


@dataclass(frozen=True)
class Kept:
    """Every row is in the table, exactly.

    Args:
        rows: The rows as the table must hold them, in any order.
        told: What a warning in the log must say; nothing if there must be none.
    """

    rows: Sequence[Row]
    told: str = ""


@dataclass(frozen=True)
class Quarantined:
    """Some rows are in quarantine with a reason, the others in the table, exactly.

    Args:
        rows: The rows that are kept.
        reasons: By the position of a row in its file, what its reason must say.
        told: What a warning in the log must say; nothing if there must be none.
    """

    rows: Sequence[Row]
    reasons: Mapping[int, str]
    told: str = ""


@dataclass(frozen=True)
class Refused:
    """The task fails and nothing of the partition changes.

    Args:
        by: The step that refuses it.
        says: What the message must say, in this order.
    """

    by: Literal["ingest", "validate"]
    says: Sequence[str]


Outcome = Kept | Quarantined | Refused


@dataclass(frozen=True)
class Landed:
    """Files of one partition.

    Args:
        what: What arrives, in a few words.
        files: Makes the files, by their path below the partition's folder.
        landed: Rows in them.
        outcome: What must happen.
        source: How the pipeline file describes the source, beyond its address.
        before: Makes the files of the partition before, which are good; None where the case
            begins the table.
        counts: Of labels: by entity the one that counts when the partition has closed.
    """

    what: str
    files: Callable[[], Files]
    landed: int
    outcome: Outcome
    source: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[], Files] | None = None
    counts: Mapping[Any, Any] | None = None


def refused(by: Literal["ingest", "validate"], *says: str) -> Refused:
    """Name what a message must say."""
    return Refused(by, says)


def rows(names: str, *values: Sequence[Any]) -> list[Row]:
    """Make rows of values under the same names."""
    return [dict(zip(names.split(), row, strict=True)) for row in values]


def text(content: str, name: str = "a.csv", encoding: str = "utf-8") -> Callable[[], Files]:
    """Land one text file."""
    return lambda: {name: content.encode(encoding)}


def raw(**files: bytes) -> Callable[[], Files]:
    """Land bytes as they are; ``a_csv`` stands for ``a.csv``."""
    return lambda: {name.replace("_", "."): data for name, data in files.items()}


def parquet(**columns: Any) -> Callable[[], Files]:
    """Land one Parquet file of columns."""
    return lambda: {"a.parquet": parquet_bytes(pa.table(columns))}


def parquet_bytes(table: pa.Table, **how: Any) -> bytes:
    """Write a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **how)
    return sink.getvalue()


def packed(content: bytes) -> bytes:
    """Compress as gzip does, the same bytes each time."""
    return gzip.compress(content, mtime=0)
