"""Land a local file where a source of a pipeline looks for it: split by time, or as a snapshot.

Landing twice changes nothing. Cells of text files are copied as they stand there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar import partitions
from include.calendar.moments import check_years, to_moments
from include.calendar.partitions import Frequency, containing
from include.errors import SourceError
from include.ingestion import csv_files, json_lines_files
from include.ingestion.arrow_types import rounding_warnings
from include.ingestion.cell_types import mask_missing, read_as
from include.ingestion.landed_objects import ENDINGS, data_files, endings_of, list_folders
from include.ingestion.parquet_files import read_parquet
from include.ingestion.readable import readable
from include.ingestion.storable_columns import check_names
from include.ingestion.verbatim_csv import decompress, write_cells
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import PLACEHOLDER, Source
from include.storage.object_store import THREADS, ObjectStore, content_type, join
from include.storage.parquet import parquet_bytes
from include.wording import as_sentence, nearest, some


@dataclass(frozen=True)
class Landed:
    """What was landed.

    Args:
        rows: Rows by partition, in the order of the partitions.
        written: Addresses written, sorted.
        skipped: Addresses that held the same content already, sorted.
        warnings: What a person should know although nothing is wrong.
    """

    rows: Mapping[str, int]
    written: tuple[str, ...]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """One object to be: where, what, and how many rows."""

    partition: str
    uri: str
    data: bytes
    rows: int


def land(
    store: ObjectStore,
    pipeline: Pipeline,
    file: Path,
    *,
    source: str | None = None,
    snapshot: int | None = None,
    replace: bool = False,
) -> Landed:
    """Copy the rows of a file into the source's folders.

    With a time, every row goes to the partition of its time: the source's ``time``; else, for
    labels of another source, ``known_at``; else the pipeline's ``event_time``. Without one the
    file becomes a snapshot as it is.

    Args:
        store: Where to.
        pipeline: The pipeline file.
        file: The local file, of the source's format.
        source: Name of the source; the first if None.
        snapshot: Number of the snapshot, for data without a time; if None the next free one, or
            the latest if it holds the same file.
        replace: Whether to overwrite what is there with other content.

    Raises:
        SourceError: If the file does not fit the source, a row has no time or one that lies in no
            partition, or a partition already holds other content.
    """
    name = source or pipeline.primary_source
    definition = _definition(pipeline, name)
    subject = f"file {file.name}"
    _check_file(file, definition, subject)
    warnings: list[str] = []
    if pipeline.has_time:
        if snapshot is not None:
            raise SourceError(
                f"{subject}: --snapshot is for `partition: none`, got partition "
                f"{pipeline.partition}. Leave it out: the rows' times decide."
            )
        time = _time(pipeline, name)
        parts = list(_split(file, definition, name, time, pipeline.partition, subject, warnings))
        if not parts:
            raise SourceError(f"{subject}: must hold at least one row, got none. Make it again.")
    else:
        parts = [_whole(store, file, definition, name, snapshot, warnings)]
    return dataclasses.replace(
        _write(store, definition, parts, replace=replace), warnings=tuple(warnings)
    )


def _definition(pipeline: Pipeline, name: str) -> Source:
    if name not in pipeline.sources:
        raise SourceError(
            f"source {name}: must be one of pipeline {pipeline.name}"
            f"{nearest(name, tuple(pipeline.sources))}"
        )
    definition = pipeline.sources[name]
    if not definition.is_partitioned:
        kind = "a query" if definition.query is not None else f"uri {definition.uri}"
        raise SourceError(
            f"source {name}: must have {PLACEHOLDER} in its uri for files to be landed, got "
            f"{kind}. Land the data where it points yourself, or change the uri."
        )
    return definition


def _check_file(file: Path, source: Source, subject: str) -> None:
    if not file.is_file():
        raise SourceError(
            f"{subject}: {file} must be an existing file, got none. Correct the path."
        )
    name = file.name.lower()
    plain = name if source.format == "parquet" else name.removesuffix(".gz")
    if not plain.endswith(ENDINGS[source.format]):
        raise SourceError(
            f"{subject}: must end in {', '.join(ENDINGS[source.format])}, as the source's format "
            f"is {source.format}, got another ending. Convert the file, or correct the format."
        )


def _time(pipeline: Pipeline, name: str) -> str:
    definition = pipeline.sources[name]
    known_at = pipeline.labels.known_at if name == pipeline.label_source else None
    if definition.time is not None:
        return definition.time
    if name != pipeline.primary_source and known_at is not None:
        return known_at
    return str(pipeline.event_time)


def _split(
    file: Path,
    source: Source,
    name: str,
    time: str,
    frequency: Frequency,
    subject: str,
    warnings: list[str],
) -> Iterator[_Part]:
    match source.format:
        case "parquet":
            table = _read_parquet(file, subject, warnings)
            check_names(subject, table.schema.names)
            for partition, rows in _by_partition(table, time, frequency, subject).items():
                part = table.take(rows)
                yield _part(source, name, partition, ".parquet", parquet_bytes(part), part.num_rows)
        case "csv":
            cells = _read_cells(file, source, subject)
            header = cells.column_names
            times = _times(cells.rename_columns([name.strip() for name in header]), source, time)
            for partition, rows in _by_partition(times, time, frequency, subject).items():
                columns = [column.to_pylist() for column in cells.take(rows).columns]
                data = write_cells([header, *zip(*columns, strict=True)], source.csv)
                yield _part(source, name, partition, ".csv", data, len(rows))
        case "json_lines":
            objects = _read_lines(file, subject)
            times = _times(_values(objects, time, subject), source, time)
            for partition, rows in _by_partition(times, time, frequency, subject).items():
                data = "".join(f"{objects[row][1]}\n" for row in rows.to_pylist()).encode()
                yield _part(source, name, partition, ".jsonl", data, len(rows))


def _part(source: Source, name: str, partition: str, ending: str, data: bytes, rows: int) -> _Part:
    return _Part(partition, join(source.location(partition), f"{name}{ending}"), data, rows)


def _by_partition(
    table: pa.Table, time: str, frequency: Frequency, subject: str
) -> dict[str, pa.Array]:
    """Find the rows of each partition, in the file's order; partitions in time order."""
    if time not in table.column_names:
        raise SourceError(
            f"{subject}: must have the column {time}, by which rows are landed"
            f"{as_sentence(nearest(time, table.column_names))} Or name another one as the source's "
            "`time`."
        )
    moments = to_moments(table[time], f"{subject}: column {time}")
    check_years(moments, f"{subject}: column {time}")
    hours = pc.floor_temporal(moments, unit="hour")
    names = {hour: containing(hour, frequency) for hour in pc.unique(hours).to_pylist()}
    ordered = sorted(set(names.values()))
    position = {partition: index for index, partition in enumerate(ordered)}
    found = pa.array([position[names[hour]] for hour in hours.to_pylist()], pa.int32())
    return {
        str(partition): pc.indices_nonzero(pc.equal(found, index))
        for index, partition in enumerate(ordered)
    }


def _whole(
    store: ObjectStore,
    file: Path,
    source: Source,
    name: str,
    number: int | None,
    warnings: list[str],
) -> _Part:
    data = file.read_bytes()
    is_packed = file.suffix.lower() == ".gz"
    ending = "".join(file.suffixes[-2:]) if is_packed else file.suffix
    if number is None:
        number = _free(store, source, f"{name}{ending.lower()}", data, warnings)
    partition = str(partitions.snapshot(number))
    rows = _count(file, source, warnings)
    return _part(source, name, partition, ending.lower(), data, rows)


def _check_alone(store: ObjectStore, source: Source, part: _Part) -> None:
    """Refuse to land beside another file: both would be read, and what is in both counts twice."""
    folder = part.uri.rpartition("/")[0]
    found = [
        item.uri
        for item in data_files(store.list(folder), folder, "landing").files
        if item.uri != part.uri and item.name.lower().endswith(endings_of(source.format))
    ]
    if found:
        raise SourceError(
            f"landing: {part.partition} must not hold the rows of two files, got {some(found)} "
            f"beside {part.uri.rpartition('/')[2]}. Have what it replaces deleted by whoever may; "
            "files that are to be read side by side are landed by another client of the store."
        )


def _free(store: ObjectStore, source: Source, file: str, data: bytes, warnings: list[str]) -> int:
    """Number the next snapshot; the latest again if it holds the same file."""
    held = list_folders(store, str(source.uri), Frequency.NONE, "landing")
    warnings += held.warnings
    if not held.partitions:
        return 1
    latest = held.partitions[-1]
    number = int(str(latest).rpartition("-")[2])
    uri = join(source.location(str(latest)), file)
    is_same = store.exists(uri) and store.read(uri) == data
    return number if is_same else number + 1


def _write(store: ObjectStore, source: Source, parts: Sequence[_Part], *, replace: bool) -> Landed:
    """Write all parts or, if one would replace other content, none."""
    store.connect()

    def compare(part: _Part) -> bool | None:
        is_same = store.read(part.uri) == part.data if store.exists(part.uri) else None
        if not is_same:
            _check_alone(store, source, part)
        return is_same

    def write(part: _Part) -> None:
        store.write(part.uri, part.data, content_type(part.uri))

    with ThreadPoolExecutor(THREADS) as pool:
        same = list(pool.map(compare, parts))
        other = [part.uri for part, answer in zip(parts, same, strict=True) if answer is False]
        if other and not replace:
            raise SourceError(
                f"landing: must not change what has landed, got other content in "
                f"{some(other)}. Add --replace to overwrite it; partitions "
                "already ingested keep the old rows until they run again."
            )
        wanted = [part for part, answer in zip(parts, same, strict=True) if not answer]
        list(
            pool.map(lambda part: store.write(part.uri, part.data, content_type(part.uri)), wanted)
        )
    written = {part.uri for part in wanted}
    return Landed(
        rows={part.partition: part.rows for part in parts},
        written=tuple(sorted(written)),
        skipped=tuple(sorted(part.uri for part in parts if part.uri not in written)),
    )


def _read_parquet(file: Path, subject: str, warnings: list[str]) -> pa.Table:
    decoded = read_parquet(file, subject)
    warnings += rounding_warnings(subject, decoded.rounded)
    return decoded.rows


def _opened(file: Path) -> Callable[[], Any]:
    data = decompress(file.name, file.read_bytes())
    return lambda: pa.BufferReader(data)


def _read_cells(file: Path, source: Source, subject: str) -> pa.Table:
    with readable(subject, source.format):
        return pa.concat_tables(csv_files.read_verbatim(_opened(file), subject, source.csv))


def _read_lines(file: Path, subject: str) -> list[tuple[int, str]]:
    with readable(subject, "json_lines"):
        return list(json_lines_files.lines(_opened(file), subject))


def _values(objects: Sequence[tuple[int, str]], time: str, subject: str) -> pa.Table:
    rows = [json_lines_files.parsed(subject, *line) for line in objects]
    check_names(subject, list(dict.fromkeys(key for row in rows for key in row)))
    found = [row.get(time) for row in rows]
    if not any(value is not None for value in found):
        return pa.table({})
    return pa.table({time: pa.array([None if v is None else str(v) for v in found], pa.string())})


def _times(cells: pa.Table, source: Source, time: str) -> pa.Table:
    """Hold times as text, or as years if all are whole numbers."""
    if time not in cells.column_names:
        return cells
    texts = pc.utf8_trim_whitespace(cells[time].combine_chunks())
    texts = mask_missing(texts, ["", *source.missing_words(time)])
    years = read_as(texts, "integer", source.csv)
    column = years if years.null_count == texts.null_count < len(texts) else texts
    return pa.table({time: pa.chunked_array([column])})


def _count(file: Path, source: Source, warnings: list[str]) -> int:
    subject = f"file {file.name}"
    match source.format:
        case "parquet":
            table = _read_parquet(file, subject, warnings)
            check_names(subject, table.schema.names)
            return int(table.num_rows)
        case "csv":
            return int(_read_cells(file, source, subject).num_rows)
        case "json_lines":
            return len(_read_lines(file, subject))
