"""Take the rows of some entities out of landed files; the other rows stay as they stand there."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.partitions import Frequency, parse
from include.errors import PartitionError, SourceError
from include.ingestion import csv_files, json_lines_files
from include.ingestion.cell_types import read_as
from include.ingestion.entity_ids import EntityIds
from include.ingestion.landed_objects import endings_of, is_leftover
from include.ingestion.readable import readable
from include.ingestion.text_encoding import HEAD_BYTES, marked_encoding
from include.ingestion.verbatim_csv import decompress, write_cells
from include.specification.pipeline import Pipeline
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import PLACEHOLDER
from include.storage.object_store import ObjectStore, content_type
from include.storage.parquet import open_parquet, parquet_bytes

_NUMBERS: tuple[ColumnType, ...] = ("integer", "number")


class LandedRemoval:
    """Finds and removes the rows of some entities in the files of a source.

    Args:
        store: Where they are.
        pipeline: The pipeline file.
        name: Name of the source; of a query there are no files.
        ids: Which ones.
    """

    def __init__(self, store: ObjectStore, pipeline: Pipeline, name: str, ids: EntityIds) -> None:
        self.store, self.source, self.subject = store, pipeline.sources[name], f"source {name}"
        self.entity, self.frequency, self.ids = pipeline.entity, pipeline.partition, ids
        # Leftovers of writers and editors that nobody can read.
        self.unread: list[str] = []

    def find(self) -> dict[str, int]:
        """Count the rows to remove, by address of the file, without files that have none.

        Raises:
            SourceError: If a file cannot be read, so that nobody knows what it holds.
        """
        found, self.unread = {}, []
        for uri in self._files():
            try:
                rows, _ = self._split(self.store.read(uri), uri)
            except SourceError:
                if not is_leftover(uri.rpartition("/")[2]):
                    raise
                self.unread.append(uri)
            else:
                found[uri] = rows
        return {uri: rows for uri, rows in found.items() if rows}

    def digest_rest(self, uri: str) -> str | None:
        """Digest what :meth:`remove` leaves of a file, SHA-256; None if that is nothing."""
        _, rest = self._split(self.store.read(uri), uri)
        return None if rest is None else hashlib.sha256(rest).hexdigest()

    def remove(self, uri: str) -> None:
        """Remove the rows from a file; one that has no others is deleted, as is one that is gone.

        Raises:
            SourceError: If it cannot be read.
        """
        if not self.store.exists(uri):
            return
        gone, rest = self._split(self.store.read(uri), uri)
        if rest is None:
            self.store.delete(uri)
        elif gone:
            self.store.write(uri, rest, content_type(uri))

    def _files(self) -> Iterator[str]:
        if self.source.uri is None:
            return
        endings = endings_of(self.source.format)
        before, placeholder, after = str(self.source.uri).rstrip("/").partition(PLACEHOLDER)
        # Folders of others may lie below the same one.
        name = "([^/]+)" if placeholder else "()"
        own = re.compile(f"{re.escape(before)}{name}{re.escape(after)}(?:/.*)?", re.DOTALL)
        for item in self.store.list(before.rpartition("/")[0]):
            match = own.fullmatch(item.uri)
            if match is None or not item.name.lower().endswith(endings):
                continue
            if not placeholder or _is_partition(match[1], self.frequency):
                yield item.uri

    def _split(self, data: bytes, uri: str) -> tuple[int, bytes | None]:
        """Return how many rows are to go, and the file without them; None if no row is left."""
        what = f"{self.subject}: file {uri}"
        with readable(what, self.source.format):
            match self.source.format:
                case "parquet":
                    return self._parquet(data)
                case "csv":
                    return self._csv(data, uri, what)
                case "json_lines":
                    return self._json_lines(data, uri, what)

    def _mask(self, cells: pa.ChunkedArray) -> pa.Array:
        """Tell which cells are among the ids, read as ingestion reads them."""
        if not self.ids.are_numbers:
            return self.ids.mask(cells)
        texts = cells.combine_chunks()
        masks, unread = [], pa.array([True] * len(texts))
        for kind in _NUMBERS:
            numbers = read_as(texts, kind, self.source.csv)
            masks.append(self.ids.mask(pa.chunked_array([numbers])))
            unread = pc.and_(unread, pc.is_null(numbers))
        # What is no number there, such as 007, may be one for whoever wrote it.
        masks.append(pc.and_(unread, self.ids.mask(cells)))
        return pc.or_(pc.or_(masks[0], masks[1]), masks[2])

    def _parquet(self, data: bytes) -> tuple[int, bytes | None]:
        file = open_parquet(pa.BufferReader(data))
        if self.entity not in file.schema_arrow.names:
            return 0, data
        mask = self.ids.mask(file.read(columns=[self.entity])[self.entity])
        gone = _count(mask)
        if not gone:
            return 0, data
        rest = file.read().filter(pc.invert(mask))
        return gone, parquet_bytes(rest) if rest.num_rows else None

    def _csv(self, data: bytes, uri: str, what: str) -> tuple[int, bytes | None]:
        plain = decompress(uri, data)
        cells = pa.concat_tables(
            csv_files.read_verbatim(lambda: pa.BufferReader(plain), what, self.source.csv)
        )
        names = [name.strip() for name in cells.column_names]
        if self.entity not in names:
            return 0, data
        mask = self._mask(cells.column(names.index(self.entity)))
        gone = _count(mask)
        if not gone:
            return 0, data
        rest = cells.filter(pc.invert(mask))
        columns = [column.to_pylist() for column in rest.columns]
        made = write_cells([cells.column_names, *zip(*columns, strict=True)], self.source.csv)
        return gone, _packed(uri, made) if rest.num_rows else None

    def _json_lines(self, data: bytes, uri: str, what: str) -> tuple[int, bytes | None]:
        plain = decompress(uri, data)
        lines = list(json_lines_files.lines(lambda: pa.BufferReader(plain), what))
        keys = [json_lines_files.parsed(what, *line).get(self.entity) for line in lines]
        texts = pa.array([None if key is None else str(key) for key in keys], pa.string())
        mask = self._mask(pa.chunked_array([texts])).to_pylist()
        rest = [line for (_, line), goes in zip(lines, mask, strict=True) if not goes]
        if len(rest) == len(lines):
            return 0, data
        encoding = marked_encoding(plain[:HEAD_BYTES]) or "utf-8"
        made = "".join(f"{line}\n" for line in rest).encode(encoding)
        return len(lines) - len(rest), _packed(uri, made) if rest else None


def _is_partition(name: str, frequency: Frequency) -> bool:
    try:
        parse(name, frequency)
    except PartitionError:
        return False
    return True


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _packed(uri: str, data: bytes) -> bytes:
    return gzip.compress(data, mtime=0) if uri.lower().endswith(".gz") else data
