"""Read what was scored, and write it to a file as it stands in the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from include.errors import SourceError, TableError
from include.scoring.batch_scoring import TABLE
from include.scoring.made_then import made_then
from include.storage.lake_tables import Lake
from include.wording import nearest

ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Scored:
    """The partitions of ``predictions`` at one version of the table.

    Args:
        version: Version of the table that was looked at.
        rows: Rows by partition, in the order of the partitions; none without rows.
    """

    version: int
    rows: dict[str, int]


def scored(lake: Lake, partition: str | None = None) -> Scored:
    """List what was scored.

    Args:
        lake: The pipeline's tables.
        partition: The only partition that is wanted; all of them if None.

    Raises:
        TableError: If nothing was scored yet, or not this partition.
    """
    counts = lake.row_counts(TABLE)
    found = {name: rows for name, rows in sorted(counts.items()) if rows}
    if not found:
        raise TableError(
            f"pipeline {lake.pipeline}: at least one partition must have been scored, got none. "
            f"Trigger {lake.pipeline}_train, then {lake.pipeline}_score; --dev shows what "
            "./relevo run scored."
        )
    if partition is not None and partition not in found:
        raise TableError(
            f"pipeline {lake.pipeline}: partition {partition} must have been scored, got "
            f"{_told(found)}{_near(partition, found)}"
        )
    version = lake.open(TABLE).version()
    wanted = found if partition is None else {partition: found[partition]}
    return Scored(int(version), wanted)


def scored_then(lake: Lake, partition: str) -> Scored:
    """Find the predictions of a partition that were made then, whatever replaced them since.

    Raises:
        TableError: If nothing of the partition was scored, or not at its time.
    """
    scored(lake, partition)
    then = made_then(lake, partition)
    if then is None:
        raise TableError(
            f"pipeline {lake.pipeline}: partition {partition} must have been scored by its own "
            "run, got predictions that were made later, to judge it. Show those without "
            "--made-then."
        )
    return Scored(then.version, {partition: then.rows})


def read(lake: Lake, held: Scored, partition: str) -> pa.Table:
    """Read the predictions of a partition: keys, predictions, ``model_version`` and others."""
    return lake.read(TABLE, partitions=[partition], version=held.version)


def export(lake: Lake, held: Scored, file: Path) -> int:
    """Write every row of some partitions to a file, a partition at a time.

    Parquet keeps all types. In CSV, lists (``probabilities``) are written as JSON, times as ISO
    8601 and numbers with all their digits; a missing value is an empty cell, an empty text is
    ``""``. The file is there when it is whole, and then replaces one of its name.

    Args:
        lake: The pipeline's tables.
        held: The partitions to write.
        file: Where to; ends in ``.csv`` or ``.parquet``.

    Returns:
        Number of rows written.

    Raises:
        SourceError: If the ending is another one, or the file cannot be written.
    """
    check_target(file)
    rows = 0
    part = file.with_name(f".{file.name}.part")
    try:
        with _writer(part, file.suffix.lower()) as write:
            for name in held.rows:
                table = read(lake, held, name)
                write(table)
                rows += table.num_rows
        part.replace(file)
    except OSError as error:
        raise SourceError(
            f"file {file}: must be writable, got {error.strerror or error}. Name another one."
        ) from error
    finally:
        with suppress(OSError):  # such as a name that is too long, which is told above
            part.unlink(missing_ok=True)
    return rows


def check_target(file: Path) -> None:
    """Refuse a file that could not be written, before anything is read.

    Raises:
        SourceError: If it has another ending, or its folder does not exist.
    """
    if file.suffix.lower() not in ENDINGS:
        raise SourceError(
            f"file {file}: must end in {' or '.join(ENDINGS)}, got "
            f"{file.suffix or 'no ending'!r}. Rename it."
        )
    if not file.parent.is_dir():
        raise SourceError(
            f"file {file}: its folder must exist, got none. Make {file.parent}, or name another."
        )


@contextmanager
def _writer(path: Path, ending: str) -> Iterator[Callable[[pa.Table], None]]:
    """Open a file that takes its columns from the first table."""
    opened: list[pq.ParquetWriter | pa.csv.CSVWriter] = []

    def write(table: pa.Table) -> None:
        table = table if ending == ".parquet" else _flat(table)
        if not opened:
            kind = pq.ParquetWriter if ending == ".parquet" else pa.csv.CSVWriter
            opened.append(kind(str(path), table.schema))
        opened[0].write_table(table)

    try:
        yield write
    finally:
        for writer in opened:
            writer.close()


def _flat(table: pa.Table) -> pa.Table:
    """Write lists as JSON, which a CSV cell can hold."""
    for at, field in enumerate(table.schema):
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            texts = [None if item is None else json.dumps(item) for item in table[at].to_pylist()]
            table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    return table


def _told(found: dict[str, int]) -> str:
    names = list(found)
    return names[0] if len(names) == 1 else f"{len(names)}, {names[0]} to {names[-1]}"


def _near(partition: str, found: dict[str, int]) -> str:
    suggestion = nearest(partition, list(found))
    return suggestion if "did you mean" in suggestion else ". Name one of them, or score it first."
