"""From what was landed to one checked Arrow table.

What is accepted has plain column types and the columns of the table so far. Differences that lose
nothing are taken away silently; any other is an error that names file, column and rule. Cells of
text files that cannot be read as their column's type become null and are told beside the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.partitions import Partition
from include.errors import SourceError
from include.ingestion.arrow_types import by_file, stored_as, widest
from include.ingestion.cell_types import ARROW_TYPES
from include.ingestion.landed_files import QUERY, LandedRows, Slice, read_files
from include.ingestion.landed_objects import copies, folder_values, list_files, name_of
from include.ingestion.sql_source import read_query
from include.ingestion.storable_columns import cast, check_names
from include.specification.own_columns import is_reserved
from include.specification.sections.sources import ROW_ID, Source
from include.storage.connections import Connections, from_environment
from include.storage.object_store import StoredObject
from include.storage.settings import StoreSettings
from include.wording import renamed, some

FILE = "_file"
ROW = "_row"
UNPARSED = "_unparsed"


@dataclass(frozen=True)
class LandedBatch:
    """What was landed for one partition.

    Args:
        table: Landed columns, perhaps ``row_id`` (string), then ``_file`` (string: path below the
            source's folder, or ``query``) and ``_row`` (int64: position within the file, from 0),
            and for text formats ``_unparsed`` (string: JSON object of the cells that could not be
            read as their column's type; null if there was none). Types are those of the expected
            schema, else those that hold the columns of all files.
        files: The files read, sorted by address.
        warnings: What a person should know although nothing is wrong.
    """

    table: pa.Table
    files: tuple[StoredObject, ...]
    warnings: tuple[str, ...]


def read_landed(
    store_settings: StoreSettings,
    source_name: str,
    source: Source,
    partition: Partition,
    expected_schema: pa.Schema | None = None,
    *,
    connections: Connections = from_environment,
    row_id: bool = False,
) -> LandedBatch:
    """Read one partition of a source: its files, its rows of files with many, or its query.

    What writers and editors leave behind is left aside (see ``landed_objects``).

    Args:
        store_settings: Where the store is.
        source_name: The source's name in the pipeline file, for messages.
        source: Where its rows are.
        partition: Which of them.
        expected_schema: Columns of the table so far, None before the first write. Its columns
            ``partition`` and ``_*`` are the platform's own and are not looked for.
        connections: Gives the address of the database of a SQL source.
        row_id: Whether to number the rows in a column ``row_id``,
            ``<partition>/<file>#<position>``, unless they bring one.

    Returns:
        The batch. Columns that the expected schema does not have are left out and warned of.

    Raises:
        SourceError: If there is no file; a file is empty, unreadable or of another format; the
            database cannot be reached or refuses the query; there are no rows and the source does
            not allow that; a column is missing, reserved, nested or of a type that cannot be
            stored or cast without loss; or files differ in their columns.
        SettingsError: If the connection of a SQL source is missing or wrong.
    """
    subject = f"source {source_name} {partition}"
    expected = _own_columns(expected_schema) if expected_schema is not None else None
    wanted = _slice(source, partition)
    objects: tuple[StoredObject, ...] = ()
    warnings: tuple[str, ...] = ()
    if source.query is not None and source.connection is not None:
        url = connections(source.connection)
        landed: tuple[LandedRows, ...] = (
            read_query(url, source.connection, source.query, partition, wanted, subject),
        )
        where = f"the query over connection {source.connection}"
    else:
        where = source.location(str(partition))
        found = list_files(store_settings, where, source.format, subject)
        objects, warnings = found.files, found.warnings
        landed = read_files(store_settings, source, where, objects, expected, wanted, subject)
        holding = {item.name for item in landed if item.rows.num_rows}
        held = [item for item in objects if name_of(item, where) in holding]
        warnings += copies(held, where, subject)
    landed = tuple(item for item in landed if item.rows.num_columns)  # JSON lines without a line
    numbered = row_id and not any(ROW_ID in item.rows.column_names for item in landed)
    if numbered and landed:
        check_names(f"{subject}, with {ROW_ID},", [*landed[0].rows.column_names, ROW_ID])
    if numbered and expected is not None:
        expected = pa.schema([field for field in expected if field.name != ROW_ID])
    if not any(item.rows.num_rows for item in landed):
        target = _schema_of_empty(subject, source, expected, where, wanted)
        landed = (LandedRows(QUERY, target.empty_table(), pa.chunked_array([], pa.int64())),)
    elif expected is not None:
        target = expected
        _check_same_columns(subject, landed)
        _check_missing(subject, landed, target)
    else:
        _check_same_columns(subject, landed)
        target = _plain_schema(subject, source, landed)
    first = "the other files" if len(landed) > 1 else "the pipeline file"
    whose = "the table" if expected is not None else first
    tables = [
        _identified(
            cast(f"{subject}: {item.label}", item.rows, target, whose),
            item,
            str(partition) if numbered else None,
            is_text=source.query is None and source.format != "parquet",
        )
        for item in landed
    ]
    warnings += tuple(warning for item in landed for warning in item.warnings)
    names = {item.name: item.rows.column_names for item in landed}
    warnings += folder_values(names, subject) + _extra_columns(subject, landed, target)
    return LandedBatch(pa.concat_tables(tables), objects, warnings)


def is_picked(source: Source) -> bool:
    """Tell whether a partition is picked from a place or by a query that knows many."""
    parameters = (":start", ":end", ":partition")
    return source.time is not None or any(name in (source.query or "") for name in parameters)


def _slice(source: Source, partition: Partition) -> Slice | None:
    """Tell which rows to pick of a source whose address or query does not pick them itself."""
    query = source.query or ""
    if source.time is None or source.is_partitioned or ":start" in query or ":end" in query:
        return None
    return Slice(source.time, partition)


def _schema_of_empty(
    subject: str, source: Source, expected: pa.Schema | None, where: str, wanted: Slice | None
) -> pa.Schema:
    """Give the columns of a batch without rows, if it may be one."""
    if not source.allow_empty:
        of = f" with {wanted.column} in {wanted.partition}" if wanted else ""
        raise SourceError(
            f"{subject}: must hold at least one row{of}, got an empty batch in {where}. Land the "
            "rows and clear this task with downstream, or set allow_empty if that may happen."
        )
    if expected is None:
        raise SourceError(
            f"{subject}: the first batch must have rows, because its columns become those of the "
            f"table, got an empty batch in {where}. Begin with a partition that has rows."
        )
    return expected


def _check_same_columns(subject: str, landed: Sequence[LandedRows]) -> None:
    first, *others = landed
    for item in others:
        names, wanted = item.rows.column_names, first.rows.column_names
        missing, extra = _without(wanted, names), _without(names, wanted)
        if missing or extra:
            raise SourceError(
                f"{subject}: all files must have the same columns, got {item.label} without "
                f"{some(missing)} and with {some(extra)} next to {first.label}. "
                "Land the files with one layout."
            )


def _check_missing(subject: str, landed: Sequence[LandedRows], expected: pa.Schema) -> None:
    first = landed[0]
    names, wanted = first.rows.column_names, expected.names
    missing = _without(wanted, names)
    if missing:
        new = _without(names, wanted)
        raise SourceError(
            f"{subject}: {first.label} must have every column of the table so far, got "
            f"{len(missing)} missing: {some(renamed(missing, new))}; it holds {some(names, 20)}. "
            "Land it with them; a column without values may be all null."
        )


def _extra_columns(
    subject: str, landed: Sequence[LandedRows], target: pa.Schema
) -> tuple[str, ...]:
    first = landed[0]
    extra = set(_without(first.rows.column_names, target.names))
    return tuple(
        f"{subject}: {first.label}: column {field.name} ({field.type}) is not in the table and is "
        "left out. It stays where it landed."
        for field in first.rows.schema
        if field.name in extra
    )


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Name those that are not among others, in their order; files may have thousands."""
    held = set(others)
    return [name for name in names if name not in held]


def _plain_schema(subject: str, source: Source, landed: Sequence[LandedRows]) -> pa.Schema:
    """Choose the first file's columns, each in the type that the pipeline file names, else in one
    that holds the values of all files.
    """
    columns = landed[0].rows.column_names
    unknown = _without(list(source.types), columns)
    if unknown:
        raise SourceError(
            f"{subject}: {landed[0].label} must have every column that types names, got none "
            f"called {some(unknown)} among {some(columns)}. Correct types in the pipeline file."
        )
    fields = []
    for column in columns:
        types = {item.label: item.rows.schema.field(column).type for item in landed}
        named = source.types.get(column)
        known = widest(list(types.values())) if named is None else ARROW_TYPES[named]
        if known is None:
            raise SourceError(
                f"{subject}: column {column} must have one type in all files, got "
                f"{by_file(types)}. Land the files with one layout."
            )
        if pa.types.is_null(known):
            advice = "Name its type under types in the pipeline file, or land it without it."
            if source.query is not None:
                advice = "Name its type under types in the pipeline file, or cast it in the query."
            raise SourceError(
                f"{subject}: {landed[0].label}: column {column} must have a type the first time "
                f"it lands, got only nulls. {advice}"
            )
        fields.append(pa.field(column, known))
    return pa.schema(fields)


def _identified(
    table: pa.Table, landed: LandedRows, partition: str | None, *, is_text: bool
) -> pa.Table:
    """Add which row it is: a number of its own if a partition is given, file and position."""
    rows = table.num_rows
    files = pa.repeat(pa.scalar(landed.name, pa.string()), rows)
    if partition is not None:
        numbers = pc.binary_join_element_wise(
            pa.repeat(pa.scalar(f"{partition}/{landed.name}"), rows),
            landed.positions.cast(pa.string()),
            "#",
        )
        table = table.append_column(ROW_ID, numbers)
    table = table.append_column(FILE, files).append_column(ROW, landed.positions)
    if not is_text:
        return table
    unparsed = pa.nulls(rows, pa.string()) if landed.unparsed is None else landed.unparsed
    return table.append_column(UNPARSED, unparsed)


def _own_columns(schema: pa.Schema) -> pa.Schema:
    own = [field for field in schema if not is_reserved(field.name)]
    return pa.schema([pa.field(field.name, stored_as(field.type)) for field in own])
