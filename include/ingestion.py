"""From landed Parquet files to one checked Arrow table.

What is accepted has plain column types and the columns of the table so far. Differences that lose
nothing are taken away silently; any other is an error that names file, column and rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import SourceError
from include.partitions import Partition
from include.settings import StoreSettings
from include.specification import Source
from include.store import ObjectStore, StoredObject

FILE = "_file"
ROW = "_row"
_LISTED = 5


@dataclass(frozen=True)
class LandedBatch:
    """What was landed for one partition.

    Args:
        table: Landed columns, then ``_file`` (string: path below the partition's folder) and
            ``_row`` (int64: position within the file, from 0). Types are those of the expected
            schema, else the plain form of the first file's.
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
) -> LandedBatch:
    """Read every Parquet file of one partition of a source.

    Files whose name begins with ``_`` or ``.`` (``_SUCCESS``) are left aside, as Spark does.

    Args:
        store_settings: Where the store is.
        source_name: The source's name in the pipeline file, for messages.
        source: Where its folders are.
        partition: Which folder.
        expected_schema: Columns of the table so far, None before the first write. Its columns
            ``partition`` and ``_*`` are the platform's own and are not looked for.

    Returns:
        The batch. Columns that the expected schema does not have are left out and warned of.

    Raises:
        SourceError: If there is no file; a file is empty, unreadable or no Parquet; there are no
            rows; a column is missing, reserved, nested or of a type that cannot be stored or cast
            without loss; or files differ in their columns.
    """
    folder = source.location(str(partition))
    subject = f"source {source_name} {partition}"
    objects = _data_files(store_settings, folder, subject)
    filesystem = store_settings.filesystem()
    tables = []
    for item in objects:
        name = _name(item, folder)
        path = item.uri.removeprefix("s3://")
        with _readable(subject, name), pq.ParquetFile(path, filesystem=filesystem) as file:
            _check_columns(subject, name, file.schema_arrow)
            tables.append((name, file.read()))
    rows = sum(table.num_rows for _, table in tables)
    if rows == 0:
        raise SourceError(
            f"{subject}: must hold at least one row, got an empty batch of {len(tables)} file(s) "
            f"in {folder}. Land the rows and clear this task."
        )
    expected = _own_columns(expected_schema) if expected_schema is not None else None
    _check_same_columns(subject, tables)
    if expected is not None:
        _check_missing(subject, tables, expected)
    target = expected if expected is not None else _plain_schema(subject, tables)
    whose = "the table" if expected is not None else f"file {tables[0][0]}"
    parts = [
        _identified(_cast(subject, name, table, target, whose), name) for name, table in tables
    ]
    return LandedBatch(pa.concat_tables(parts), objects, _extra_columns(subject, tables, target))


def _data_files(settings: StoreSettings, folder: str, subject: str) -> tuple[StoredObject, ...]:
    listed = [
        item for item in ObjectStore(settings).list(folder) if not item.name.startswith(("_", "."))
    ]
    if not listed:
        raise SourceError(
            f"{subject}: must have at least one Parquet file in {folder}, got none. "
            "Land the file and clear this task, or correct the source's uri."
        )
    foreign = [_name(item, folder) for item in listed if not item.name.endswith(".parquet")]
    if foreign:
        raise SourceError(
            f"{subject}: files must be Parquet and end in .parquet, got {_some(foreign)}. "
            "Convert them, or move them out of the folder."
        )
    hollow = [_name(item, folder) for item in listed if item.size == 0]
    if hollow:
        raise SourceError(
            f"{subject}: files must not be empty, got 0 bytes in {_some(hollow)}. "
            "Land them again: the upload was cut off."
        )
    return tuple(listed)


@contextmanager
def _readable(subject: str, name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise SourceError(
            f"{subject}: file {name} must be readable as Parquet, got {reason.rstrip('.')}. "
            "Land it again."
        ) from error


def _check_columns(subject: str, name: str, schema: pa.Schema) -> None:
    """Refuse what can never be stored, before any row is read."""
    twice = {column for column in schema.names if schema.names.count(column) > 1}
    if twice:
        raise SourceError(
            f"{subject}: file {name} must hold each column once, got {_some(sorted(twice))} more "
            "than once. Rename one of them."
        )
    reserved = [column for column in schema.names if _is_own(column)]
    if reserved:
        raise SourceError(
            f"{subject}: file {name} must not use 'partition' or names that begin with '_', which "
            f"Relevo adds itself, got {_some(reserved)}. Rename the column."
        )
    for field in schema:
        if _plain(field.type) is None:
            raise SourceError(
                f"{subject}: file {name}: column {field.name} must be a number, string, boolean, "
                f"date or timestamp, got {field.type}. Flatten or convert it before landing."
            )


def _check_same_columns(subject: str, tables: list[tuple[str, pa.Table]]) -> None:
    first, reference = tables[0]
    for name, table in tables[1:]:
        missing = [column for column in reference.column_names if column not in table.column_names]
        extra = [column for column in table.column_names if column not in reference.column_names]
        if missing or extra:
            raise SourceError(
                f"{subject}: all files must have the same columns, got file {name} without "
                f"{_some(missing)} and with {_some(extra)} next to file {first}. "
                "Land the files with one layout."
            )


def _check_missing(subject: str, tables: list[tuple[str, pa.Table]], expected: pa.Schema) -> None:
    name, table = tables[0]
    missing = [column for column in expected.names if column not in table.column_names]
    if missing:
        raise SourceError(
            f"{subject}: file {name} must have every column of the table so far, got "
            f"{len(missing)} missing: {_some(missing)}. Land it with them; a column without "
            "values may be all null."
        )


def _extra_columns(
    subject: str, tables: list[tuple[str, pa.Table]], target: pa.Schema
) -> tuple[str, ...]:
    name, table = tables[0]
    return tuple(
        f"{subject}: file {name}: column {field.name} ({field.type}) is not in the table and is "
        "left out. It stays in the landed file."
        for field in table.schema
        if field.name not in target.names
    )


def _plain_schema(subject: str, tables: list[tuple[str, pa.Table]]) -> pa.Schema:
    """Choose the first file's columns in their plain types.

    A column that is all null in one file takes its type from the next that has values.
    """
    fields = []
    for column in tables[0][1].column_names:
        types = [table.schema.field(column).type for _, table in tables]
        known = next((kind for kind in types if not pa.types.is_null(kind)), None)
        if known is None:
            raise SourceError(
                f"{subject}: file {tables[0][0]}: column {column} must have a type the first time "
                "it lands, got only nulls. Land it with its type, or without the column."
            )
        fields.append(pa.field(column, _plain(known)))
    return pa.schema(fields)


def _cast(subject: str, name: str, table: pa.Table, target: pa.Schema, whose: str) -> pa.Table:
    columns = []
    for field in target:
        column = table[field.name]
        try:
            if not _may_cast(column.type, field.type):
                raise pa.ArrowInvalid("not a lossless cast")
            columns.append(_decoded(column).cast(field.type, safe=True))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            lossy = _may_cast(column.type, field.type)
            values = f" with values that {field.type} cannot hold" if lossy else ""
            raise SourceError(
                f"{subject}: file {name}: column {field.name} must be {field.type} as in {whose}, "
                f"got {column.type}{values}. Land it with that type."
            ) from error
    return pa.table(columns, names=target.names)


def _identified(table: pa.Table, name: str) -> pa.Table:
    rows = table.num_rows
    return table.append_column(FILE, pa.repeat(pa.scalar(name, pa.string()), rows)).append_column(
        ROW, pa.array(range(rows), pa.int64())
    )


def _plain(kind: pa.DataType) -> pa.DataType | None:
    """Name the type that a table stores for a landed one; None if it must not be stored."""
    types = pa.types
    if types.is_dictionary(kind):
        return _plain(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_timestamp(kind):
        return pa.timestamp("us")
    if types.is_date(kind):
        return pa.date32()
    if types.is_unsigned_integer(kind):  # Delta has no unsigned integers: take the next wider one
        return {8: pa.int16(), 16: pa.int32()}.get(kind.bit_width, pa.int64())
    if types.is_float16(kind):
        return pa.float32()
    if (
        types.is_boolean(kind)
        or types.is_signed_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal128(kind)
        or types.is_null(kind)
    ):
        return kind
    return None


def _may_cast(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether a cast can be without loss; whether it is depends on the values.

    Numbers pass if every value does, because pandas turns whole numbers with a null into floats.
    """
    types = pa.types
    plain, target = _plain(found), _plain(wanted)
    if plain is None or target is None:
        return False
    if types.is_null(plain) or plain == target:
        return True
    if types.is_integer(plain):
        return bool(types.is_integer(target) or types.is_floating(target))
    if types.is_floating(plain):
        return bool(types.is_integer(target) or target == pa.float64())
    if types.is_date(plain):
        return bool(types.is_timestamp(target))
    return bool(types.is_decimal(plain) and types.is_decimal(target))


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take dictionary codes and time zones off a column (naive times are UTC)."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) and column.type.tz:
        return pc.cast(column, pa.timestamp(column.type.unit, "UTC")).cast(
            pa.timestamp(column.type.unit)
        )
    return column


def _own_columns(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if not _is_own(field.name)])


def _is_own(column: str) -> bool:
    return column == "partition" or column.startswith("_")


def _name(item: StoredObject, folder: str) -> str:
    return item.uri.removeprefix(folder.rstrip("/") + "/")


def _some(names: list[str]) -> str:
    listed = ", ".join(names[:_LISTED]) or "none"
    more = len(names) - _LISTED
    return f"{listed} and {more} more" if more > 0 else listed
