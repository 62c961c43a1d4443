"""A bounded look at data: a local file, objects on the store, or a query."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.development.scaffold.text_columns import TextColumns, choose
from include.errors import SourceError
from include.ingestion.arrow_types import by_file, rounding_warnings, widest
from include.ingestion.cell_types import kind_of
from include.ingestion.landed_objects import ENDINGS, data_files, folder_values, name_of
from include.ingestion.parquet_files import read_parquet
from include.ingestion.readable import readable
from include.ingestion.sql_source import read_first_rows
from include.ingestion.storable_columns import cast
from include.ingestion.text_encoding import (
    decoder,
    guessed_encoding,
    lines_beyond_ascii,
    marked_encoding,
)
from include.ingestion.text_files import joined, read_pieces
from include.ingestion.verbatim_csv import decompress
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import NULL_VALUES, CsvDialect
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

LIMIT = 200_000
# A column of so few different whole numbers may hold codes.
MOST_CODES = 12
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
        table: Sampled rows in their order and in the types in which they will be ingested.
        rows: Rows in all, of which the table may be a part.
        format: Of the files; None for a query.
        types: Types that the pipeline file must state, by column.
        text: How text files are read; None for other formats.
        warnings: What a person should know although nothing is wrong.
    """

    table: pa.Table
    rows: int
    format: Format | None
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    text: TextColumns | None = None
    warnings: tuple[str, ...] = ()


def read_file(path: Path, missing: Collection[str] = ()) -> Sample:
    """Sample a local file.

    Args:
        path: The file.
        missing: Words in text files that a person said mean "missing".

    Raises:
        SourceError: If there is no such file, or it is not one of the formats.
    """
    if not path.is_file():
        raise SourceError(f"file {path}: must be an existing file, got none. Correct the path.")
    return _read([(path.name, path.read_bytes())], missing)


def read_objects(settings: StoreSettings, uri: str, missing: Collection[str] = ()) -> Sample:
    """Sample one object, or all those below a folder.

    Args:
        settings: Where the store is.
        uri: Address of the object or the folder.
        missing: Words in text files that a person said mean "missing".

    Raises:
        SourceError: If there is none, they are of several formats, or the store does not answer.
    """
    store = ObjectStore(settings)
    if store.exists(uri):
        return _read([(uri.rpartition("/")[2], store.read(uri))], missing)
    found = data_files(store.list(uri), uri, "data")
    items = found.files
    if not items:
        raise SourceError(f"{uri}: must hold at least one object, got none. Correct the address.")
    # Evenly spread over the names, which are often in the order of time.
    size = sum(item.size for item in items)
    chosen = items[:: max(1, -(-size // _MOST_BYTES))]
    sample = _read([(name_of(item, uri), store.read(item.uri)) for item in chosen], missing)
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
    return Sample(table, table.num_rows, None, _kinds(table.schema, table.column_names))


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
    """Guess how a CSV file is written; the marks of numbers are decided by its cells.

    Args:
        data: The decompressed file, or its first part.
    """
    encoding = marked_encoding(data) or guessed_encoding(data)
    head = data[:_SNIFFED].decode(decoder(encoding), errors="ignore")
    whole, _, cut = head.rpartition("\n")
    try:
        delimiter = csv.Sniffer().sniff(whole or cut, delimiters=",;\t|").delimiter
    except csv.Error:
        delimiter = ","
    return CsvDialect(delimiter=delimiter, encoding=encoding)


def _read(files: Sequence[tuple[str, bytes]], missing: Collection[str]) -> Sample:
    formats = {format_of(name) for name, _ in files}
    if len(formats) > 1:
        raise SourceError(
            f"files: must be of one format, got {', '.join(sorted(formats))}. Name a folder with "
            "one data set."
        )
    form = formats.pop()
    if form == "parquet":
        return _read_parquet(files)
    texts = [(name, decompress(name, data)) for name, data in files]
    dialect = sniff(texts[0][1]) if form == "csv" else CsvDialect()
    pieces = []
    for name, data in texts:
        what = f"file {name}"
        with readable(what, form):
            pieces.append(joined(read_pieces(partial(pa.BufferReader, data), what, form, dialect)))
    if form == "csv":
        _check_same_columns([piece.cells for piece in pieces])
    text = choose(joined(pieces), dialect, NULL_VALUES if form == "csv" else (), missing)
    drawn = _drawn(text.table.num_rows)
    rows = text.table.num_rows
    if drawn is not None:
        text = replace(text, table=text.table.take(drawn), unparsed=text.unparsed.take(drawn))
    warnings = _encoding_warnings(texts[0][1], dialect.encoding)
    return Sample(text.table, rows, form, text.types, text, warnings)


def _encoding_warnings(data: bytes, encoding: str) -> tuple[str, ...]:
    """Show what a guessed encoding makes of a word: only a person sees whether it is one."""
    if encoding == "utf-8" or marked_encoding(data) is not None:
        return ()
    line = next(lines_beyond_ascii(data)).decode(encoding)
    word = next(word for word in re.split(r'[ ,;|\t\r\n"]+', line) if not word.isascii())
    return (
        f"data: is not UTF-8 and was read as {encoding}, with words such as {word!r}. Correct "
        "csv.encoding in the pipeline file if that is no word.",
    )


def _check_same_columns(tables: Sequence[pa.Table]) -> None:
    columns = set(tables[0].column_names)
    if any(set(table.column_names) != columns for table in tables):
        raise SourceError("files: must have the same columns, got several layouts.")


def _read_parquet(files: Sequence[tuple[str, bytes]]) -> Sample:
    """Read Parquet files, whose columns may differ in what holds the same values."""
    decoded = [read_parquet(io.BytesIO(data), f"file {name}") for name, data in files]
    tables = [item.rows for item in decoded]
    _check_same_columns(tables)
    names = tables[0].column_names
    kinds = {name: [table.schema.field(name).type for table in tables] for name in names}
    fields = []
    for name in names:
        kind = widest(kinds[name])
        if kind is None:
            labels = [f"file {file}" for file, _ in files]
            found = by_file(dict(zip(labels, kinds[name], strict=True)))
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
    for name in filter(lambda name: _is_whole(whole[name]), names):
        whole = whole.set_column(names.index(name), name, whole[name].cast(pa.int64()))
    # Whichever file lands first would decide where files differ or one holds only nulls, and where
    # a later one holds numbers: of "1" and 1.0 no function of Spark makes an error.
    stated = [
        name
        for name in names
        if set(kinds[name]) != {whole.schema.field(name).type}
        or pa.types.is_null(kinds[name][0])
        or pa.types.is_string(kinds[name][0])
        or pa.types.is_boolean(kinds[name][0])
    ]
    drawn = _drawn(whole.num_rows)
    return Sample(
        whole if drawn is None else whole.take(drawn),
        whole.num_rows,
        "parquet",
        _kinds(whole.schema, stated),
        warnings=rounding_warnings("data", frozenset().union(*(item.rounded for item in decoded))),
    )


def _is_whole(column: pa.ChunkedArray) -> bool:
    """Tell codes and counts that pandas made floats, because one of them is missing."""
    if not pa.types.is_floating(column.type) or not 0 < column.null_count < len(column):
        return False
    levels = pc.unique(column).drop_null()
    return len(levels) <= MOST_CODES and bool(
        pc.all(pc.and_(pc.is_finite(levels), pc.equal(levels, pc.round(levels)))).as_py()
    )


def _kinds(schema: pa.Schema, names: Collection[str]) -> dict[str, ColumnType]:
    """Name the types of columns; no type of the pipeline file is a decimal."""
    held = {name: schema.field(name).type for name in names}
    return {name: kind_of(kind) for name, kind in held.items() if not pa.types.is_decimal(kind)}


def _drawn(rows: int) -> pa.Array | None:
    """Draw at most LIMIT rows at random, in their order; None if there are no more."""
    if rows <= LIMIT:
        return None
    return pa.array(np.sort(np.random.default_rng(_SEED).choice(rows, LIMIT, replace=False)))
