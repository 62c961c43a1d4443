"""Landed objects of every format as typed rows, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.calendar.moments import to_moments
from include.calendar.partitions import Partition
from include.errors import SourceError
from include.ingestion import text_files
from include.ingestion.cell_types import ARROW_TYPES, Inference, kind_of
from include.ingestion.readable import FORMATS, readable
from include.ingestion.storable_columns import check_names, check_types
from include.ingestion.text_pieces import TextPiece
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import Source
from include.storage.object_store import ObjectStore, StoredObject
from include.storage.settings import StoreSettings
from include.wording import some

QUERY = "query"
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "parquet": (".parquet",),
    "csv": (".csv", ".tsv", ".txt"),
    "json_lines": (".jsonl", ".ndjson", ".json"),
}


@dataclass(frozen=True)
class Slice:
    """Rows to keep of a source that holds every partition in one place.

    Args:
        column: Column with the time of the row.
        partition: The slice of time.
    """

    column: str
    partition: Partition

    def keep(self, what: str, rows: pa.Table) -> pa.ChunkedArray:
        """Tell which rows lie in the slice.

        Raises:
            SourceError: If the column is missing, or does not hold times.
        """
        if self.column not in rows.column_names:
            raise SourceError(
                f"{what} must have the time column {self.column}, got {some(rows.column_names)}. "
                "Land it, or correct the source's time."
            )
        moments = to_moments(rows[self.column], f"{what}: column {self.column}")
        after = pc.greater_equal(moments, pa.scalar(self.partition.start, moments.type))
        return pc.and_(after, pc.less(moments, pa.scalar(self.partition.end, moments.type)))

    def may_hold(self, group: pq.RowGroupMetaData, column: int) -> bool:
        """Tell by its statistics whether a Parquet row group may have rows of the slice."""
        known = group.column(column).statistics
        if known is None or not known.has_min_max or known.null_count != 0:
            return True
        bounds = pa.chunked_array([pa.array([known.min, known.max])])
        first, last = to_moments(bounds, self.column).to_pylist()
        return bool(last >= self.partition.start and first < self.partition.end)


@dataclass(frozen=True)
class LandedRows:
    """Rows of one file, or of one query.

    Args:
        name: The file's path below the source's folder, or ``query``.
        rows: Its columns as they landed.
        positions: int64, one per row: where it stands in the file, from 0.
        unparsed: string, one per row: JSON object of the cells that could not be read as their
            column's type, null if there was none; None for formats that bring their own types.
        absent: Columns of the pipeline file's types that no line of JSON has: they are null.
    """

    name: str
    rows: pa.Table
    positions: pa.ChunkedArray
    unparsed: pa.ChunkedArray | None = None
    absent: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What messages call it."""
        return "the query" if self.name == QUERY else f"file {self.name}"


def list_files(
    settings: StoreSettings, uri: str, file_format: str, subject: str
) -> tuple[StoredObject, ...]:
    """List the data files of a folder, or the one object that is at the address itself.

    Files whose name begins with ``_`` or ``.`` (``_SUCCESS``) are left aside, as Spark does.

    Raises:
        SourceError: If there is none, one is empty, or one is of another format.
    """
    store = ObjectStore(settings)
    listed = [item for item in store.list(uri) if not item.name.startswith(("_", "."))]
    if not listed and not uri.endswith("/"):
        folder = uri.rpartition("/")[0]
        listed = [item for item in store.list(folder) if item.uri == uri]
    words = FORMATS[file_format]
    if not listed:
        raise SourceError(
            f"{subject}: must have at least one {words} file in {uri}, got none. "
            "Land the file and clear this task, or correct the source's uri."
        )
    endings = ENDINGS[file_format]
    if file_format != "parquet":
        endings += tuple(f"{ending}.gz" for ending in endings)
    foreign = [name_of(item, uri) for item in listed if not item.name.endswith(endings)]
    if foreign:
        raise SourceError(
            f"{subject}: files must be {words} and end in {', '.join(endings)}, got "
            f"{some(foreign)}. Convert them, move them out of the folder, or correct the source's "
            "format."
        )
    hollow = [name_of(item, uri) for item in listed if item.size == 0]
    if hollow:
        raise SourceError(
            f"{subject}: files must not be empty, got 0 bytes in {some(hollow)}. "
            "Land them again: the upload was cut off."
        )
    return tuple(listed)


def name_of(item: StoredObject, uri: str) -> str:
    """Name a file by its path below the source's folder."""
    return item.name if item.uri == uri else item.uri.removeprefix(uri.rstrip("/") + "/")


def read_files(
    settings: StoreSettings,
    source: Source,
    uri: str,
    objects: Sequence[StoredObject],
    expected: pa.Schema | None,
    wanted: Slice | None,
    subject: str,
) -> tuple[LandedRows, ...]:
    """Read the files of a source one after the other.

    Args:
        settings: Where the store is.
        source: Format and types.
        uri: The source's folder or object.
        objects: Its files.
        expected: Columns of the table so far, whose types text is read as; None before the
            first write: a first pass over text files then finds the types out.
        wanted: Rows to keep; all if None.
        subject: Source and partition, for messages.

    Raises:
        SourceError: If a file cannot be read, or has a column that is refused.
    """
    filesystem = settings.filesystem()
    files = [(name_of(item, uri), settings.path(item.uri)) for item in objects]
    if source.format == "parquet":
        return tuple(_read_parquet(filesystem, path, name, wanted, subject) for name, path in files)
    texts = [
        (name, partial(_pieces, filesystem, path, source, f"{subject}: file {name}"))
        for name, path in files
    ]
    kinds: dict[str, ColumnType | None]
    if expected is None:
        kinds = _inferred(source, texts, subject)
    else:
        kinds = {
            field.name: source.types.get(field.name, kind_of(field.type)) for field in expected
        }
    return tuple(_read_text(text, name, kinds, source, wanted, subject) for name, text in texts)


# First position, rows, and what could not be read of them.
_Piece = tuple[int, pa.Table, pa.Array | None]
_Texts = Callable[[], Iterator[TextPiece]]


def _select(name: str, pieces: Iterable[_Piece], wanted: Slice | None, what: str) -> LandedRows:
    """Join the pieces of a file, each without the rows that are not wanted."""
    rows, positions, unparsed = [], [], []
    for start, piece, faults in pieces:
        column = pa.array(range(start, start + piece.num_rows), pa.int64())
        if wanted is not None and piece.num_rows:
            mask = wanted.keep(what, piece).combine_chunks()
            piece, column = piece.filter(mask), column.filter(mask)
            faults = None if faults is None else faults.filter(mask)
        rows.append(piece)
        positions.append(column)
        if faults is not None:
            unparsed.append(faults)
    return LandedRows(
        name,
        pa.concat_tables(rows, promote_options="default"),
        pa.chunked_array(positions, pa.int64()),
        pa.chunked_array(unparsed, pa.string()) if unparsed else None,
    )


def _read_parquet(
    filesystem: Any, path: str, name: str, wanted: Slice | None, subject: str
) -> LandedRows:
    what = f"{subject}: file {name}"
    with readable(what, "parquet"), pq.ParquetFile(path, filesystem=filesystem) as file:
        check_names(what, file.schema_arrow.names)
        check_types(what, file.schema_arrow)
        if wanted is None:
            return _select(name, [(0, file.read(), None)], None, what)
        return _select(name, _row_groups(file, wanted), wanted, what)


def _row_groups(file: pq.ParquetFile, wanted: Slice) -> Iterator[_Piece]:
    """Read the row groups that may hold a wanted row, by their statistics."""
    schema = file.schema_arrow
    yield 0, schema.empty_table(), None
    column, start = schema.get_field_index(wanted.column), 0
    kind = schema.field(column).type if column >= 0 else pa.null()
    is_moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    for index in range(file.num_row_groups):
        group = file.metadata.row_group(index)
        if not is_moment or wanted.may_hold(group, column):
            yield start, file.read_row_group(index), None
        start += group.num_rows


def _pieces(filesystem: Any, path: str, source: Source, what: str) -> Iterator[TextPiece]:
    def open_file() -> Any:
        return filesystem.open_input_stream(
            path, compression="gzip" if path.lower().endswith(".gz") else None
        )

    for piece in text_files.read_pieces(open_file, what, source.format, source.csv):
        yield text_files.without_missing(piece, source.missing_words)


def _inferred(
    source: Source, texts: Sequence[tuple[str, _Texts]], subject: str
) -> dict[str, ColumnType | None]:
    """Find out the types that the source's file does not name; None for columns without cells."""
    seen: dict[str, Inference] = {}
    for name, text in texts:
        with readable(f"{subject}: file {name}", source.format):
            for piece in text():
                for column in piece.cells.column_names:
                    if column in source.types:
                        continue
                    inference = seen.setdefault(column, Inference(source.csv))
                    cells = piece.cells[column].combine_chunks()
                    inference.see(cells, piece.quoted.get(column))
    return {column: inference.kind for column, inference in seen.items()} | dict(source.types)


def _read_text(
    text: _Texts,
    name: str,
    kinds: Mapping[str, ColumnType | None],
    source: Source,
    wanted: Slice | None,
    subject: str,
) -> LandedRows:
    def typed() -> Iterator[_Piece]:
        start = 0
        for piece in text():
            rows, unparsed = text_files.typed(piece.cells, kinds, source.csv)
            yield start, rows, unparsed
            start += rows.num_rows

    what = f"{subject}: file {name}"
    with readable(what, source.format):
        landed = _select(name, typed(), wanted, what)
    absent = [column for column in source.types if column not in landed.rows.column_names]
    if not absent:
        return landed
    if source.format == "json_lines" and landed.rows.num_columns:
        # A key that no line has is null, as one that some lines do not have.
        rows = landed.rows
        for column in absent:
            nulls = pa.nulls(rows.num_rows, ARROW_TYPES[source.types[column]])
            rows = rows.append_column(column, nulls)
        return replace(landed, rows=rows, absent=tuple(absent))
    raise SourceError(
        f"{what} must have every column that types names, got none called {some(absent)} "
        f"among {some(landed.rows.column_names)}. Correct types in the pipeline file."
    )
