"""A bounded look at data: a local file, objects on the store, or a query."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from include.errors import SourceError
from include.ingestion.landed_files import ENDINGS
from include.ingestion.sql_source import read_first_rows
from include.ingestion.storable_columns import check_names, check_types
from include.ingestion.verbatim_csv import decompress, read_cells
from include.specification.sections.sources import CsvDialect
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

LIMIT = 200_000
SQL = "sql://"
S3 = "s3://"
Format = Literal["parquet", "csv", "json_lines"]
_FORMATS: dict[str, Format] = {
    ending: cast(Format, form) for form, endings in ENDINGS.items() for ending in endings
}
_SNIFFED = 64 * 1024
_MOST_BYTES = 256 * 1024**2
_SEED = 7


@dataclass(frozen=True)
class Sample:
    """What was looked at.

    Args:
        table: Sampled rows in their order; cells of CSV files are strings as they stand there,
            stripped.
        rows: Rows in all, of which the table may be a part.
        format: Of the files; None for a query.
        dialect: How CSV files are written; None for other formats.
    """

    table: pa.Table
    rows: int
    format: Format | None
    dialect: CsvDialect | None = None


def read_file(path: Path) -> Sample:
    """Sample a local file.

    Raises:
        SourceError: If there is no such file, or it is not one of the formats.
    """
    if not path.is_file():
        raise SourceError(f"file {path}: must be an existing file, got none. Correct the path.")
    return _read([(path.name, path.read_bytes())])


def read_objects(settings: StoreSettings, uri: str) -> Sample:
    """Sample one object, or all those below a folder.

    Raises:
        SourceError: If there is none, they are of several formats, or the store does not answer.
    """
    store = ObjectStore(settings)
    if store.exists(uri):
        return _read([(uri.rpartition("/")[2], store.read(uri))])
    items = [item for item in store.list(uri) if not item.name.startswith(("_", "."))]
    if not items:
        raise SourceError(f"{uri}: must hold at least one object, got none. Correct the address.")
    # Evenly spread over the names, which are often in the order of time.
    size = sum(item.size for item in items)
    chosen = items[:: max(1, -(-size // _MOST_BYTES))]
    sample = _read([(item.name, store.read(item.uri)) for item in chosen])
    read = sum(item.size for item in chosen)
    return replace(sample, rows=round(sample.rows * size / read))


def read_query(url: str, query: str) -> Sample:
    """Sample the first rows of a query; ``:start`` and ``:end`` stand for all of time.

    Args:
        url: SQLAlchemy URL. Secret.
        query: One ``select``.

    Raises:
        SourceError: If the database cannot answer.
    """
    names, rows = read_first_rows(url, query, LIMIT, "query")
    check_names("query", names)
    frame = pd.DataFrame.from_records(
        [tuple(row) for row in rows], columns=names, coerce_float=True
    )
    for name in names:
        if any(isinstance(value, UUID) for value in frame[name].head()):
            frame[name] = frame[name].map(str, na_action="ignore")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    check_types("query", table.schema)
    return Sample(table, len(rows), None)


def format_of(name: str) -> Format:
    """Tell the format by the name of a file, with or without ``.gz``.

    Raises:
        SourceError: If the ending is none that can be read.
    """
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if ending not in _FORMATS or (ending == ".parquet" and name.lower().endswith(".gz")):
        raise SourceError(
            f"file {name}: must end in {', '.join(_FORMATS)} (text also with .gz), got "
            f"{ending or 'no ending'!r}. Convert or rename it."
        )
    return _FORMATS[ending]


def sniff(data: bytes) -> CsvDialect:
    """Guess how a CSV file is written; the decimal comma is decided by its cells.

    Args:
        data: The decompressed file, or its first part.
    """
    encoding = "utf-8" if _is_utf8(data) else "cp1252" if _fits(data, "cp1252") else "latin-1"
    lines = data[:_SNIFFED].decode(encoding, errors="replace").splitlines()
    head = "\n".join(lines[:-1] or lines)
    try:
        delimiter = csv.Sniffer().sniff(head, delimiters=",;\t|").delimiter
    except csv.Error:
        delimiter = ","
    cells = [
        cell.strip() for row in csv.reader(head.splitlines(), delimiter=delimiter) for cell in row
    ]
    commas = sum(_is_number(cell.replace(",", ".", 1)) for cell in cells if "," in cell)
    points = sum(_is_number(cell) for cell in cells if "." in cell)
    return CsvDialect(
        delimiter=delimiter,
        encoding=encoding,
        decimal="," if delimiter != "," and commas > points else ".",
    )


def _read(files: Sequence[tuple[str, bytes]]) -> Sample:
    formats = {format_of(name) for name, _ in files}
    if len(formats) > 1:
        raise SourceError(
            f"files: must be of one format, got {', '.join(sorted(formats))}. Name a folder with "
            "one data set."
        )
    form, dialect = formats.pop(), None
    if form == "csv":
        dialect = sniff(decompress(*files[0]))
    tables = [_table(name, data, form, dialect) for name, data in files]
    for (name, _), table in zip(files, tables, strict=True):
        check_names(f"file {name}", table.column_names)
        check_types(f"file {name}", table.schema)
    columns = set(tables[0].column_names)
    if any(set(table.column_names) != columns for table in tables):
        raise SourceError("files: must have the same columns, got several layouts.")
    rows = sum(table.num_rows for table in tables)
    whole = pa.concat_tables(tables, promote_options="permissive")
    return Sample(_thin(whole), rows, form, dialect)


def _table(name: str, data: bytes, form: Format, dialect: CsvDialect | None) -> pa.Table:
    try:
        if form == "parquet":
            return pq.read_table(io.BytesIO(data))
        if dialect is not None:
            header, rows = read_cells(name, decompress(name, data), dialect)
            cells = zip(*rows, strict=True) if rows else ([] for _ in header)
            columns = [pa.array([cell.strip() for cell in column], pa.string()) for column in cells]
            return pa.table(columns, names=[column.strip() for column in header])
        return pa.json.read_json(io.BytesIO(decompress(name, data)))
    except (pa.ArrowException, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(f"file {name}: must be readable as {form}, got {reason}.") from error


def _thin(table: pa.Table) -> pa.Table:
    """Draw at most LIMIT rows at random, in their order."""
    if table.num_rows <= LIMIT:
        return table
    drawn = np.random.default_rng(_SEED).choice(table.num_rows, LIMIT, replace=False)
    return table.take(pa.array(np.sort(drawn)))


def _is_utf8(data: bytes) -> bool:
    return _fits(data, "utf-8")


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
