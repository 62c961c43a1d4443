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
from include.ingestion.arrow_types import rounding_warnings
from include.ingestion.cell_types import ARROW_TYPES, Inference, kind_of
from include.ingestion.landed_objects import name_of
from include.ingestion.parquet_files import read_row_groups
from include.ingestion.readable import readable
from include.ingestion.text_pieces import TextPiece
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import Source
from include.storage.object_store import StoredObject
from include.storage.settings import StoreSettings
from include.wording import renamed, some

QUERY = "query"
_FETCHED_BYTES = 1024 * 1024


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
        try:
            bounds = pa.chunked_array([pa.array([known.min, known.max])])
            first, last = to_moments(bounds, self.column).to_pylist()
        except (OverflowError, ValueError):
            return True  # times that no Python has: reading them says which
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
        warnings: What a person should know about them.
    """

    name: str
    rows: pa.Table
    positions: pa.ChunkedArray
    unparsed: pa.ChunkedArray | None = None
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What messages call it."""
        return "the query" if self.name == QUERY else f"file {self.name}"


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
    return tuple(
        _read_text(text, name, kinds, source, wanted, subject, has_table=expected is not None)
        for name, text in texts
    )


# First position, rows, what could not be read of them, and columns whose times were cut off.
_Piece = tuple[int, pa.Table, pa.Array | None, frozenset[str]]
_Texts = Callable[[], Iterator[TextPiece]]


def _select(name: str, pieces: Iterable[_Piece], wanted: Slice | None, what: str) -> LandedRows:
    """Join the pieces of a file, each without the rows that are not wanted."""
    rows, positions, unparsed, rounded = [], [], [], frozenset[str]()
    for start, piece, faults, finer in pieces:
        rounded |= finer
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
        rounding_warnings(what, rounded),
    )


def _read_parquet(
    filesystem: Any, path: str, name: str, wanted: Slice | None, subject: str
) -> LandedRows:
    what = f"{subject}: file {name}"
    time, may_hold = (None, None) if wanted is None else (wanted.column, wanted.may_hold)
    groups = read_row_groups(path, filesystem, what, time, may_hold)
    pieces = ((start, decoded.rows, None, decoded.rounded) for start, decoded in groups)
    return _select(name, pieces, wanted, what)


def _pieces(filesystem: Any, path: str, source: Source, what: str) -> Iterator[TextPiece]:
    def open_file() -> Any:
        # Without a buffer the store is asked for each of the 8 kB that Python reads at a time.
        return filesystem.open_input_stream(
            path,
            compression="gzip" if path.lower().endswith(".gz") else None,
            buffer_size=_FETCHED_BYTES,
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
    *,
    has_table: bool,
) -> LandedRows:
    def pieces() -> Iterator[_Piece]:
        start = 0
        for piece in text():
            typed = text_files.typed(piece.cells, kinds, source.csv)
            yield start, typed.rows, typed.unparsed, typed.rounded
            start += typed.rows.num_rows

    what = f"{subject}: file {name}"
    with readable(what, source.format):
        landed = _select(name, pieces(), wanted, what)
    absent = [column for column in source.types if column not in landed.rows.column_names]
    if not absent:
        return landed
    if source.format == "json_lines" and landed.rows.num_columns:
        # A key that no line has is null, as one that some lines do not have.
        rows = landed.rows
        for column in absent:
            nulls = pa.nulls(rows.num_rows, ARROW_TYPES[source.types[column]])
            rows = rows.append_column(column, nulls)
        warning = (
            f"{what}: no line has a key {some(absent)}, which types names: it is null in every "
            "row. Correct types in the pipeline file, if it is misspelt."
        )
        return replace(landed, rows=rows, warnings=(*landed.warnings, warning))
    advice = "Land it with the old names, or correct types in the pipeline file."
    if has_table:
        advice = "Land it with the old names, which the table has (--replace, if it is there)."
    raise SourceError(
        f"{what} must have every column that types names, got none called "
        f"{some(renamed(absent, [*set(landed.rows.column_names) - source.types.keys()]))} "
        f"among {some(landed.rows.column_names)}. {advice}"
    )
