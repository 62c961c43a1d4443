"""A bounded look at data: a local file, objects on the store, or a query."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.json

from include.errors import SourceError
from include.ingestion.arrow_types import check_types, rounding_warnings, widest
from include.ingestion.landed_objects import ENDINGS, data_files, folder_values, name_of
from include.ingestion.parquet_files import read_parquet
from include.ingestion.sql_source import read_first_rows
from include.ingestion.storable_columns import cast, check_names
from include.ingestion.verbatim_csv import decompress, read_cells
from include.specification.sections.sources import CsvDialect
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from include.wording import some

LIMIT = 200_000
SQL = "sql://"
S3 = "s3://"
Format = Literal["parquet", "csv", "json_lines"]
_FORMATS: dict[str, Format] = {
    ending: form for form in get_args(Format) for ending in ENDINGS[form]
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
        differing: Columns whose type is not the same in all files.
        warnings: What a person should know although nothing is wrong.
    """

    table: pa.Table
    rows: int
    format: Format | None
    dialect: CsvDialect | None = None
    differing: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


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
    found = data_files(store.list(uri), uri, "data")
    items = found.files
    if not items:
        raise SourceError(f"{uri}: must hold at least one object, got none. Correct the address.")
    # Evenly spread over the names, which are often in the order of time.
    size = sum(item.size for item in items)
    chosen = items[:: max(1, -(-size // _MOST_BYTES))]
    sample = _read([(item.name, store.read(item.uri)) for item in chosen])
    read = sum(item.size for item in chosen)
    columns = {name_of(item, uri): sample.table.column_names for item in chosen}
    return replace(
        sample,
        rows=round(sample.rows * size / read),
        warnings=(*found.warnings, *folder_values(columns, "data"), *sample.warnings),
    )


def read_query(url: str, query: str) -> Sample:
    """Sample the first rows of a query; ``:start`` and ``:end`` stand for all of time.

    Args:
        url: SQLAlchemy URL. Secret.
        query: One ``select``.

    Raises:
        SourceError: If the database cannot answer.
    """
    table = read_first_rows(url, query, LIMIT, "query")
    return Sample(table, table.num_rows, None)


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
    if form == "parquet":
        return _read_parquet(files)
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


def _read_parquet(files: Sequence[tuple[str, bytes]]) -> Sample:
    """Read Parquet files, whose columns may differ in what holds the same values."""
    decoded = [read_parquet(io.BytesIO(data), f"file {name}") for name, data in files]
    tables = [item.rows for item in decoded]
    names = tables[0].column_names
    if any(set(table.column_names) != set(names) for table in tables):
        raise SourceError("files: must have the same columns, got several layouts.")
    kinds = {name: [table.schema.field(name).type for table in tables] for name in names}
    fields = []
    for name in names:
        kind = widest(kinds[name])
        if kind is None:
            found = some(dict.fromkeys(map(str, kinds[name])))
            raise SourceError(
                f"files: column {name} must have one type in all of them, got {found}. Write them "
                "with one layout."
            )
        fields.append(pa.field(name, kind))
    whole = pa.concat_tables(
        [
            cast(f"file {file}", table, pa.schema(fields), "the files")
            for (file, _), table in zip(files, tables, strict=True)
        ]
    )
    differing = {name for name in names if set(kinds[name]) != {kinds[name][0]}}
    differing |= {name for name in names if pa.types.is_null(kinds[name][0])}
    warnings = rounding_warnings("data", frozenset().union(*(item.rounded for item in decoded)))
    return Sample(
        _thin(whole),
        whole.num_rows,
        "parquet",
        differing=frozenset(differing),
        warnings=warnings,
    )


def _table(name: str, data: bytes, form: Format, dialect: CsvDialect | None) -> pa.Table:
    try:
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
