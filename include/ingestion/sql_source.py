"""Rows of a query, read in one snapshot of a database that nothing can be written to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import pyarrow as pa

from include.calendar.partitions import Partition
from include.errors import SourceError, UnavailableError
from include.ingestion.arrow_types import check_types, decode
from include.ingestion.landed_files import QUERY, LandedRows, Slice
from include.ingestion.storable_columns import check_names, to_decimal

_ROWS = 50_000
_CONNECT_SECONDS = 10
_TEXT = 400
# What makes a transaction one snapshot that cannot write, where a database has it.
_SNAPSHOT: Mapping[str, Mapping[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    "mysql": {"isolation_level": "REPEATABLE READ"},
    "mariadb": {"isolation_level": "REPEATABLE READ"},
}
# :start and :end are naive UTC. Compared with a time that has a zone they are read in the zone of
# the session, which the server, the database or the role may have set to any other.
_UTC: Mapping[str, str] = {
    "postgresql": "set time zone 'UTC'",
    "mysql": "set time_zone = '+00:00'",
    "mariadb": "set time_zone = '+00:00'",
}


def read_query(
    url: str,
    connection: str,
    query: str,
    partition: Partition,
    wanted: Slice | None,
    subject: str,
) -> LandedRows:
    """Run a query and read all its rows.

    Args:
        url: SQLAlchemy's address of the database.
        connection: Its connection id, for messages.
        query: One ``select``; ``:start`` and ``:end`` stand for the partition's first moment and
            the first moment after it (naive UTC, as is the session), ``:partition`` for its name.
        partition: What the rows are about.
        wanted: Rows to keep; all if None.
        subject: Source and partition, for messages.

    Returns:
        The rows as the database sends them: decimals of a declared scale and whole ones as
        decimal128(38, scale), decimals of no scale (an average) as float64, times with a zone in
        UTC, UUIDs as strings.

    Raises:
        SourceError: If the database cannot be reached, refuses the query, or sends columns that
            cannot be stored. No message and no cause holds the password.
    """
    import sqlalchemy as sa

    what = f"{subject}: the query"
    known = {"start": partition.start, "end": partition.end, "partition": str(partition)}
    with _result(url, connection, sa.text(query), known, subject) as result:
        check_names(what, list(result.keys()))
        table = _table(result, result.partitions(_ROWS), what)
    positions = pa.array(range(table.num_rows), pa.int64())
    if wanted is not None and table.num_rows:
        mask = wanted.keep(what, table).combine_chunks()
        table, positions = table.filter(mask), positions.filter(mask)
    return LandedRows(QUERY, table, pa.chunked_array([positions]))


def read_time_range(
    url: str, connection: str, query: str, time: str, until: Partition, subject: str
) -> tuple[Any, Any]:
    """Ask for the first and the last time that a query knows before a partition has closed.

    Args:
        url: SQLAlchemy's address of the database.
        connection: Its connection id, for messages.
        query: One ``select``; ``:start`` stands for the beginning of time.
        time: Column of the query.
        until: Latest partition.
        subject: Source, for messages.

    Returns:
        Both as the database sends them; None without rows.

    Raises:
        SourceError: If the database cannot be reached or refuses the query.
    """
    import sqlalchemy as sa

    landed = sa.text(query).columns(sa.column(time)).subquery("landed")
    statement = sa.select(sa.func.min(landed.c[time]), sa.func.max(landed.c[time]))
    known = {"start": datetime(1, 1, 1), "end": until.end, "partition": str(until)}
    with _result(url, connection, statement, known, subject) as result:
        first, last = result.one()
    return _value(first), _value(last)


def read_first_rows(url: str, query: str, limit: int, subject: str) -> pa.Table:
    """Read the first rows of a query over all of time.

    Args:
        url: SQLAlchemy's address of the database.
        query: One ``select``; ``:start`` and ``:end`` stand for the ends of time.
        limit: Most rows to read.
        subject: What asks, for messages.

    Returns:
        The rows, in the types of :func:`read_query`.

    Raises:
        SourceError: If the database cannot be reached or refuses the query, or sends columns that
            cannot be stored.
    """
    import sqlalchemy as sa

    known = {"start": datetime(1, 1, 1), "end": datetime(9999, 12, 31), "partition": ""}
    with _result(url, "behind it", sa.text(query), known, subject) as result:
        return _table(result, islice(result.partitions(limit), 1), f"{subject}: the query")


@contextmanager
def _result(
    url: str, connection: str, statement: Any, known: Mapping[str, Any], subject: str
) -> Iterator[Any]:
    """Execute a statement in one snapshot that cannot write."""
    what = f"{subject}: the query"
    with _explained(url, f"{subject}: connection {connection}"):
        engine = _engine(url)
    binds = _binds(statement, known, engine.dialect.name, what)
    options = _SNAPSHOT.get(engine.dialect.name, {})
    with _explained(url, f"{subject}: connection {connection}"):
        database = engine.connect().execution_options(**options)
    with database, _explained(url, what, query=True):
        if engine.dialect.name in _UTC:
            database.exec_driver_sql(_UTC[engine.dialect.name])
        with database.execution_options(yield_per=_ROWS).execute(statement, binds) as result:
            yield result


def _engine(url: str) -> Any:
    import sqlalchemy as sa

    address = sa.make_url(url)
    arguments: dict[str, Any] = {}
    if address.get_backend_name() == "postgresql" and "connect_timeout" not in address.query:
        arguments["connect_timeout"] = _CONNECT_SECONDS
    if address.get_backend_name() == "sqlite" and address.database:
        # A file that is not there would be made, and any file could be written to.
        address = address.set(database=f"file:{address.database}").update_query_dict(
            {"mode": "ro", "uri": "true"}
        )
    return sa.create_engine(address, poolclass=sa.NullPool, connect_args=arguments)


def _binds(statement: Any, known: Mapping[str, Any], dialect: str, what: str) -> dict[str, Any]:
    """Bind the names that the query uses."""
    if dialect == "sqlite":
        known = {**known, **{name: _sqlite_moment(known[name]) for name in ("start", "end")}}
    used = statement.compile().params
    unknown = sorted(set(used) - set(known))
    if unknown:
        raise SourceError(
            f"{what} may use :start, :end and :partition, got :{', :'.join(unknown)}. Write the "
            "value itself, or '\\:' for a colon."
        )
    return {name: known[name] for name in used}


def _sqlite_moment(moment: datetime) -> str:
    """Spell a moment for SQLite, which has no times and compares texts.

    Midnight is the date alone, because that sorts before '2005-07-01 06:30' and is no later than
    '2005-07-01'; with a time it would leave the dates of the first day out.
    """
    return moment.date().isoformat() if moment.time().isoformat() == "00:00:00" else str(moment)


def _table(result: Any, parts: Iterable[Sequence[Sequence[Any]]], what: str) -> pa.Table:
    """Bring parts of a result into one table of types that every batch will have again."""
    names = list(result.keys())
    # Name, type, two sizes, precision, scale, whether null; gone when the last row is fetched.
    declared = [item[5] for item in result.cursor.description]
    chunks = [_to_arrow(names, rows, what) for rows in parts]
    try:
        table = pa.concat_tables(
            chunks or [_to_arrow(names, (), what)], promote_options="permissive"
        )
        columns = [
            _with_scale(column, scale) if pa.types.is_decimal(column.type) else column
            for column, scale in zip(table.columns, declared, strict=True)
        ]
    except pa.ArrowException as error:
        raise SourceError(
            f"{what} must give each column one type, got {error}. Cast the column in the query."
        ) from error
    table = pa.table(columns, names=names)
    check_types(what, table.schema)
    return decode(what, table).rows


def _with_scale(column: pa.ChunkedArray, declared: int | None) -> pa.ChunkedArray:
    """Take decimals to a type that does not hang on the values of this batch."""
    digits = column.type.scale
    if digits <= 0 or (declared is not None and digits <= declared):
        return to_decimal(column, pa.decimal128(38, max(declared or 0, 0)))
    values = [None if value is None else float(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.float64())])


def _to_arrow(names: Sequence[str], rows: Sequence[Sequence[Any]], what: str) -> pa.Table:
    columns = []
    for position, name in enumerate(names):
        values = [_value(row[position]) for row in rows]
        try:
            columns.append(pa.array(values))
        except (pa.ArrowException, OverflowError) as error:
            raise SourceError(
                f"{what}: column {name} must be of one type that can be stored, got {error}. Cast "
                "it in the query."
            ) from error
    return pa.table(columns, names=list(names))


def _value(value: Any) -> Any:
    if isinstance(value, Decimal) and not value.is_finite():
        return None if value.is_nan() else float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


@contextmanager
def _explained(url: str, what: str, *, query: bool = False) -> Iterator[None]:
    from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ImportError) as error:
        kind: type[SourceError] = SourceError
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if isinstance(error, ArgumentError | ImportError):
            rule, advice = "must name a database and its driver", "Correct the connection's type."
        elif query and not lost:
            rule, advice = "must run on the database", "Correct it, or the rights of the user."
        else:
            kind = UnavailableError
            rule, advice = "must be reachable", "Check that the database runs and the connection."
        # Without its cause: drivers may spell the connection out in theirs.
        words = _words(url, error).rstrip(".")
        raise kind(f"{what} {rule}, got {words}. {advice}") from None


def _words(url: str, error: Exception) -> str:
    """Repeat what a database said, without the password."""
    import sqlalchemy as sa

    # PostgreSQL goes on with the statement that our cursor made of the query.
    words = str(getattr(error, "orig", None) or error).partition("\nLINE ")[0]
    words = " ".join(words.split())
    try:
        password = sa.make_url(url).password
    except sa.exc.ArgumentError:
        return type(error).__name__
    return (words.replace(str(password), "***") if password else words)[:_TEXT]
