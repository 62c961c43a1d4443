"""The rows in quarantine, as people list them, and as a file that they correct."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceError
from include.features.feature_function import TABLE as FEATURES
from include.ingestion.landed_batch import FILE, ROW
from include.quality.row_texts import text_of_cell
from include.specification.own_columns import is_reserved
from include.specification.pipeline import Pipeline
from include.storage.data_files import PARTITION
from include.storage.lake_tables import Lake
from include.storage.parquet import open_parquet, parquet_bytes
from include.wording import as_sentence, nearest, some

# What a file of them has beside the columns of the source, whose names never begin so.
ID, OF, REASONS = "_id", "_partition", "_reasons"
Cells = Mapping[str, str | None]


@dataclass(frozen=True)
class QuarantinedRow:
    """One row in quarantine.

    Args:
        partition: Name of its partition.
        file: Where it landed; None of a computed row.
        position: Its place there, from 0.
        reasons: Why it is there.
        row: What it holds, a JSON object.
    """

    partition: str
    file: str | None
    position: int
    reasons: str
    row: str

    @cached_property
    def id(self) -> str:
        """Name it; the name stays as long as the row stays where it landed."""
        place = json.dumps([self.partition, self.file, self.position, self.row])
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """Its cells; of one that could not be read, the text."""
        found: Mapping[str, Any] = json.loads(self.row)
        return found


def quarantined_rows(
    lake: Lake, table: str, partition: str | None = None, version: int | None = None
) -> list[QuarantinedRow]:
    """List the rows of a data set that are in quarantine, sorted by where they landed.

    Args:
        lake: The pipeline's tables.
        table: Name of the table of quarantine.
        partition: Of this partition only; of all if None.
        version: As the table was at a version; the latest if None.
    """
    if version is None:
        where = None if partition is None else pc.field(PARTITION) == partition
        rows = lake.read_held(table, where)
    else:
        rows = lake.read(
            table, partitions=None if partition is None else [partition], version=version
        )
    found = [from_table(row) for row in rows.to_pylist()]
    return sorted(found, key=lambda row: (row.partition, row.file or "", row.position, row.row))


def from_table(row: Mapping[str, Any]) -> QuarantinedRow:
    """Read a row of the table."""
    return QuarantinedRow(row[PARTITION], row[FILE], row[ROW], row["reasons"], row["row"])


def demand_dataset(pipeline: Pipeline, dataset: str) -> None:
    """Refuse what is no data set of a pipeline.

    Raises:
        SourceError: If it is none.
    """
    known = (*pipeline.sources, FEATURES)
    if dataset not in known:
        rule = f"pipeline {pipeline.name}: a data set in quarantine must be one of its own"
        near = as_sentence(nearest(dataset, known))
        raise SourceError(f"{rule}, got {dataset!r}{near} Correct the name.")


def as_file(rows: Sequence[QuarantinedRow], suffix: str) -> bytes:
    """Write rows as a file that a person corrects: texts, as Parquet or CSV.

    Args:
        rows: Of one data set.
        suffix: ``.csv`` or ``.parquet``.

    Raises:
        SourceError: If it is another one.
    """
    _demand_format(suffix, "file to write")
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    told = [
        {
            ID: row.id,
            OF: row.partition,
            REASONS: row.reasons,
            **{name: text_of_cell(row.values.get(name)) for name in columns},
        }
        for row in rows
    ]
    names = [ID, OF, REASONS, *columns]
    if suffix == ".parquet":
        schema = pa.schema([(name, pa.string()) for name in names])
        return parquet_bytes(pa.Table.from_pylist(told, schema=schema))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(told)
    return text.getvalue().encode()


def corrected(data: bytes, name: str, rows: Iterable[QuarantinedRow]) -> dict[str, Cells]:
    """Read a file that :func:`as_file` wrote and a person corrected.

    Args:
        data: The file.
        name: Its name.
        rows: The rows in quarantine.

    Returns:
        By id of each row of the file the cells that are not any more what they were; an empty cell
        of CSV is missing.

    Raises:
        SourceError: If it cannot be read, names no rows, or one twice.
    """
    suffix = f".{name.rpartition('.')[2]}"
    _demand_format(suffix, f"file {name}")
    told = _read_parquet(data, name) if suffix == ".parquet" else _read_csv(data, name)
    held = {row.id: row for row in rows}
    found: dict[str, Cells] = {}
    for number, cells in enumerate(told, 1):
        row_id = cells.get(ID) or ""
        if not row_id or row_id in found:
            raise SourceError(
                f"file {name}: row {number} must name one row of quarantine in column {ID}, got "
                f"{repr(row_id) + ' again' if row_id else 'nothing'}. Correct the file that "
                "`./relevo quarantine --export` wrote."
            )
        own = {column: cell for column, cell in cells.items() if not is_reserved(column)}
        values = held[row_id].values if row_id in held else {}
        found[row_id] = {
            column: cell
            for column, cell in own.items()
            if column not in values or not _is_same(cell, values[column], suffix)
        }
    if not found:
        raise SourceError(f"file {name}: must hold at least one row, got none. Keep the rows.")
    return found


def _is_same(cell: str | None, value: Any, suffix: str) -> bool:
    text = text_of_cell(value)
    return cell == text or (suffix == ".csv" and cell is None and text == "")


def _demand_format(suffix: str, what: str) -> None:
    if suffix not in (".csv", ".parquet"):
        raise SourceError(f"{what}: must end in .csv or .parquet, got {suffix!r}. Rename it.")


def _read_csv(data: bytes, name: str) -> list[dict[str, str | None]]:
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"file {name}: must be CSV in UTF-8 with commas, got {error}. Save it so."
        ) from error
    heads, *lines = [row for row in rows if row] or [[]]
    _demand_columns(heads, name)
    for number, line in enumerate(lines, 1):
        if len(line) != len(heads):
            raise SourceError(
                f"file {name}: row {number} must have {len(heads)} cells, got {len(line)}. "
                "Put cells with commas into quotes."
            )
    return [{head: cell or None for head, cell in zip(heads, line, strict=True)} for line in lines]


def _read_parquet(data: bytes, name: str) -> list[dict[str, str | None]]:
    try:
        rows = open_parquet(io.BytesIO(data)).read().to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"file {name}: must be Parquet, got {error}. Write it again.") from error
    _demand_columns(list(rows[0]) if rows else [ID], name)
    return [{column: text_of_cell(value) for column, value in row.items()} for row in rows]


def _demand_columns(heads: Sequence[str], name: str) -> None:
    if ID not in heads or len(set(heads)) != len(heads):
        raise SourceError(
            f"file {name}: must have column {ID} and each column once, got {some(heads)}. Correct "
            "the file that `./relevo quarantine --export` wrote."
        )
