"""Queries on a real PostgreSQL and SQLite: what is read, in which types, and what is refused."""

from __future__ import annotations

import json
import secrets
import sqlite3
import traceback
from datetime import date, datetime
from decimal import Decimal
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from include.calendar.partitions import Frequency, parse
from include.errors import SettingsError, SourceError
from include.ingestion.landed_batch import read_landed
from include.ingestion.sql_source import read_time_range
from include.specification.sections.sources import Source
from include.storage.connections import from_environment, sql_url
from tests.postgres import running_postgres

PARTITION = parse("2005-Q3", Frequency.QUARTERLY)
PASSWORD = f"p@ss/word:{secrets.token_hex(8)}"
SETUP = """
create table loans (
    id bigint primary key, amount numeric(12, 2), share real, small smallint, approved date,
    at timestamp, seen timestamptz, ok boolean, name varchar(20), code uuid
);
insert into loans values
    (1, 10.50, 0.5, 1, '2005-06-30', '2005-06-30 23:59:59', '2005-07-01 01:00+02', true, 'a',
        '00000000-0000-0000-0000-000000000001'),
    (2, 20.00, 0.25, null, '2005-07-01', '2005-07-01', '2005-07-01 06:30+02', false, 'b', null),
    (3, null, null, 3, '2005-09-30', '2005-09-30 23:59:59', '2005-09-30 12:00Z', null, null, null),
    (4, 5.00, 0.75, 4, '2005-10-01', '2005-10-01', '2005-10-01 00:00Z', true, 'd', null);
"""


class Database:
    """A PostgreSQL in which a user with a password may read and write."""

    def __init__(self, server) -> None:
        self.folder = server.get_postmaster_info().socket_dir
        self.admin = f"host={self.folder} user=postgres dbname=postgres"

    def url(self, password: str = PASSWORD, database: str = "postgres") -> str:
        return sql_url(
            "warehouse",
            conn_type="postgres",
            login="reader",
            password=password,
            schema=database,
            extra={"host": str(self.folder)},
        )

    def run(self, statements: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statements)


@pytest.fixture(scope="session")
def postgres():
    with running_postgres() as (server, folder):
        database = Database(server)
        access = folder / "pg_hba.conf"
        access.write_text("local all reader scram-sha-256\nlocal all postgres trust\n")
        database.run("select pg_reload_conf()")
        database.run(f"create role reader login password '{PASSWORD}'")
        database.run(SETUP)
        database.run("grant all on all tables in schema public to reader")
        yield database


@pytest.fixture
def sqlite_file(tmp_path):
    path = tmp_path / "loans.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table loans (id integer, at text, x)")
        connection.executemany(
            "insert into loans values (?, ?, ?)",
            [
                (1, "2005-06-30 23:59:59", 1),
                (2, "2005-07-01", 1.5),
                (3, "2005-07-01 00:00:00", None),
                (4, "2005-09-30T23:59:59Z", 2),
                (5, "2005-10-01", 3),
            ],
        )
    connection.close()
    return path


def read(store_settings, url, query, expected=None, **source):
    described = Source(connection="warehouse", query=query, suite="loans", **source)
    return read_landed(
        store_settings, "loans", described, PARTITION, expected, connections=lambda name: url
    )


def test_all_types_of_postgresql(store_settings, postgres):
    batch = read(store_settings, postgres.url(), "select * from loans order by id")
    assert {field.name: field.type for field in batch.table.schema} == {
        "id": pa.int64(),
        "amount": pa.decimal128(38, 2),
        "share": pa.float64(),
        "small": pa.int64(),
        "approved": pa.date32(),
        "at": pa.timestamp("us"),
        "seen": pa.timestamp("us"),
        "ok": pa.bool_(),
        "name": pa.string(),
        "code": pa.string(),
        "_file": pa.string(),
        "_row": pa.int64(),
    }
    assert batch.table.slice(0, 1).to_pylist() == [
        {
            "id": 1,
            "amount": Decimal("10.50"),
            "share": 0.5,
            "small": 1,
            "approved": date(2005, 6, 30),
            "at": datetime(2005, 6, 30, 23, 59, 59),
            "seen": datetime(2005, 6, 30, 23, 0),
            "ok": True,
            "name": "a",
            "code": "00000000-0000-0000-0000-000000000001",
            "_file": "query",
            "_row": 0,
        }
    ]
    assert batch.table["_row"].to_pylist() == [0, 1, 2, 3]
    assert batch.files == ()


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("approved >= :start and approved < :end", [2, 3]),
        ("at >= :start and at < :end", [2, 3]),
        ("at::date >= :start and at::date < :end", [2, 3]),
        ("name = :partition or id = 4", [4]),
        ("true", [1, 2, 3, 4]),
    ],
)
def test_a_query_is_bound_to_the_partition(store_settings, postgres, where, ids):
    query = f"select id from loans where {where} order by id"
    assert read(store_settings, postgres.url(), query).table["id"].to_pylist() == ids


def test_a_time_picks_the_rows_of_a_query_that_does_not(store_settings, postgres):
    query = "select id, at from loans order by id"
    table = read(store_settings, postgres.url(), query, time="at").table
    assert table["id"].to_pylist() == [2, 3]
    assert table["_row"].to_pylist() == [1, 2]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
@pytest.mark.parametrize("column", ["seen", "at"])
def test_the_zone_of_the_session_moves_no_row_to_another_partition(
    store_settings, postgres, zone, column
):
    """Seen at 23:00 and 04:30 about the first moment, and at the moment after the last."""
    query = f"select id, seen from loans where {column} >= :start and {column} < :end order by id"
    postgres.run(f"alter role reader set timezone to '{zone}'")
    try:
        table = read(store_settings, postgres.url(), query).table
        first, last = read_time_range(
            postgres.url(), "warehouse", "select seen from loans", "seen", PARTITION, "source loans"
        )
    finally:
        postgres.run("alter role reader reset timezone")
    assert table["id"].to_pylist() == [2, 3]
    assert table["seen"].to_pylist()[0] == datetime(2005, 7, 1, 4, 30)
    assert (first, last) == (datetime(2005, 6, 30, 23), datetime(2005, 10, 1))


def test_chunks_join_into_one_type(store_settings, postgres, monkeypatch):
    monkeypatch.setattr("include.ingestion.sql_source._ROWS", 2)
    query = "select i as id, case when i > 5 then i end as late from generate_series(1, 7) i"
    table = read(store_settings, postgres.url(), query).table
    assert table["id"].to_pylist() == [1, 2, 3, 4, 5, 6, 7]
    assert table["late"].to_pylist() == [None] * 5 + [6, 7]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("with x as (delete from loans returning id) select * from x", "data-modifying statements"),
        ("select lo_create(0) as made", "in a read-only transaction"),
    ],
)
def test_a_query_cannot_write(store_settings, postgres, query, words):
    with pytest.raises(SourceError, match=words):
        read(store_settings, postgres.url(), query)
    assert read(store_settings, postgres.url(), "select id from loans").table.num_rows == 4


def test_the_transaction_is_one_snapshot_that_cannot_write(store_settings, postgres):
    query = (
        "select current_setting('transaction_isolation') as isolation, "
        "current_setting('transaction_read_only') as read_only"
    )
    row = read(store_settings, postgres.url(), query).table.to_pylist()[0]
    assert (row["isolation"], row["read_only"]) == ("repeatable read", "on")


def test_the_next_batch_is_cast_to_the_table(store_settings, postgres):
    first = read(store_settings, postgres.url(), "select id, share from loans").table.schema
    query = "select id::numeric as id, 1 as share, 'x' as extra from loans"
    batch = read(store_settings, postgres.url(), query, first)
    assert batch.table.schema == first
    assert "the query: column extra (string) is not in the table" in batch.warnings[0]
    with pytest.raises(SourceError, match=r"the query must have every column .* missing: share"):
        read(store_settings, postgres.url(), "select id from loans", first)


def test_decimals_are_exact_and_of_one_type_in_every_batch(store_settings, postgres):
    columns = (
        "{0}::numeric(10, 2) as price, {1}::numeric as key, {1}::numeric(18, 0) as code, "
        "avg(share) as mean, sum(id) as total"
    )
    expected = None
    for price, key in (("1", 10**17 + 1), ("0.5", 10**17 + 3)):
        query = f"select {columns.format(price, key)} from loans"
        table = read(store_settings, postgres.url(), query, expected).table
        expected = expected or table.schema
        assert table.schema == expected
        assert table.select(["price", "key", "code"]).to_pylist() == [
            {"price": Decimal(price), "key": Decimal(key), "code": Decimal(key)}
        ]
    assert [expected.field(name).type for name in ("price", "key", "code", "mean")] == [
        pa.decimal128(38, 2),
        pa.decimal128(38, 0),
        pa.decimal128(38, 0),
        pa.float64(),
    ]


def test_a_table_from_when_decimals_were_floats_goes_on(store_settings, postgres):
    expected = pa.schema([("amount", pa.float64())])
    query = "select amount from loans order by id"
    table = read(store_settings, postgres.url(), query, expected).table
    assert table["amount"].to_pylist() == [10.5, 20.0, None, 5.0]
    long = "select 100000000000000001::numeric as amount"
    with pytest.raises(SourceError, match="column amount must be double as in the table"):
        read(store_settings, postgres.url(), long, expected)


def test_no_rows(store_settings, postgres):
    query = "select id from loans where at >= :end and at < :start"
    with pytest.raises(SourceError, match="got an empty batch in the query over connection"):
        read(store_settings, postgres.url(), query)
    expected = pa.schema([("id", pa.int64())])
    empty = read(store_settings, postgres.url(), query, expected, allow_empty=True).table
    assert (empty.num_rows, empty.column_names) == (0, ["id", "_file", "_row"])
    with pytest.raises(SourceError, match="the first batch must have rows"):
        read(store_settings, postgres.url(), query, allow_empty=True)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from lones", 'the query must run on the database, got relation "lones" does'),
        ("select id frm loans", "syntax error"),
        ("select id from loans where at > :begin", "may use :start, :end and :partition, got :beg"),
        ("select id, id from loans", "must hold each column once, got 'id' more than once"),
        ("select id as _row from loans", "got '_row'. Rename"),
        ("select array[id] as ids from loans", "column ids must be a number, string, boolean"),
        ("select name::bytea as raw from loans", "column raw must be a number, string, boolean"),
        ("select null as nothing from loans", "got only nulls. Name its type under types"),
        ("select 1/0 as x", "division by zero"),
    ],
)
def test_a_wrong_query_is_told_in_the_words_of_the_database(store_settings, postgres, query, words):
    with pytest.raises(SourceError, match=r"^source loans 2005-Q3: the query") as caught:
        read(store_settings, postgres.url(), query)
    assert words in str(caught.value)


class TestSecrets:
    """No message and no traceback holds the password, whatever goes wrong."""

    QUERY = "select id from loans"

    def told(self, store_settings, url, query=QUERY, kind=SourceError):
        with pytest.raises(kind) as caught:
            read(store_settings, url, query)
        everything = "".join(traceback.format_exception(caught.value))
        for secret in (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe="")):
            assert secret not in everything
        return str(caught.value)

    def test_a_wrong_password(self, store_settings, postgres):
        wrong = postgres.url(password=f"{PASSWORD}!")
        assert "password authentication failed" in self.told(store_settings, wrong)

    def test_a_database_that_does_not_run(self, store_settings, postgres):
        url = sa.make_url(postgres.url()).update_query_dict({"host": "/nowhere"})
        told = self.told(store_settings, url.render_as_string(False))
        assert told.startswith("source loans 2005-Q3: connection warehouse must be reachable, got ")

    def test_a_database_that_is_not_there(self, store_settings, postgres):
        assert '"lost" does not exist' in self.told(store_settings, postgres.url(database="lost"))

    def test_a_query_that_fails(self, store_settings, postgres):
        assert "does not exist" in self.told(
            store_settings, postgres.url(), "select 1 from nothing"
        )

    def test_a_query_that_says_it(self, store_settings, postgres):
        query = f"select '{PASSWORD.replace(':', chr(92) + ':')}'::integer as x"
        assert "***" in self.told(store_settings, postgres.url(), query)

    @pytest.mark.parametrize("scheme", ["oracle", "nonsense", "postgresql+none"])
    def test_a_driver_that_is_not_there(self, store_settings, scheme):
        url = f"{scheme}://reader:{quote(PASSWORD, safe='')}@host/db"
        assert "must name a database and its driver" in self.told(store_settings, url)

    @pytest.mark.parametrize(
        "password",
        [PASSWORD, quote(PASSWORD, safe=""), "1#secret", "1?secret"],
        ids=["plain", "quoted", "a fragment", "a query"],
    )
    def test_an_address_that_cannot_be_read(self, monkeypatch, password):
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://reader:{password}@host:x/db")
        with pytest.raises(SettingsError) as caught:
            from_environment("warehouse")
        assert password not in "".join(traceback.format_exception(caught.value))


class TestSqlite:
    def test_moments_are_compared_as_texts(self, store_settings, sqlite_file):
        url = sql_url("warehouse", conn_type="sqlite", schema=str(sqlite_file))
        query = "select * from loans where at >= :start and at < :end order by id"
        table = read(store_settings, url, query).table
        assert table["id"].to_pylist() == [2, 3, 4]
        assert table["x"].to_pylist() == [1.5, None, 2.0]

    def test_a_time_column_of_texts(self, store_settings, sqlite_file):
        url = sql_url("warehouse", conn_type="sqlite", host=str(sqlite_file))
        table = read(store_settings, url, "select * from loans", time="at").table
        assert table["id"].to_pylist() == [2, 3, 4]

    def test_a_file_that_is_not_there_is_not_made(self, store_settings, tmp_path):
        path = tmp_path / "lost.db"
        with pytest.raises(SourceError, match="must be reachable, got unable to open database"):
            read(store_settings, f"sqlite:///{path}", "select 1 as x")
        assert not path.exists()

    def test_it_cannot_be_written_to(self, sqlite_file):
        from include.ingestion.sql_source import _engine

        with (
            _engine(f"sqlite:///{sqlite_file}").connect() as connection,
            pytest.raises(sa.exc.OperationalError, match="readonly"),
        ):
            connection.execute(sa.text("delete from loans"))

    def test_a_column_of_two_types(self, store_settings, sqlite_file):
        query = "select 1 as x union all select 'a'"
        with pytest.raises(SourceError, match="column x must be of one type"):
            read(store_settings, f"sqlite:///{sqlite_file}", query)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (
            "postgres://u:p%40ss@Db.Example:5433/risk?sslmode=require",
            "postgresql+psycopg://u:p%40ss@Db.Example:5433/risk?sslmode=require",
        ),
        ("postgresql://h/db", "postgresql+psycopg://h/db"),
        ("postgres://u@[::1]:5432/db", "postgresql+psycopg://u@[::1]:5432/db"),
        ("sqlite:////data/Loans.db", "sqlite:////data/Loans.db"),
        ("sqlite://%2Fdata%2FLoans.db", "sqlite:////data/Loans.db"),
        ("sqlite:///loans.db", "sqlite:///loans.db"),
        (
            "mysql+pymysql://u:p@h:3306/db?charset=utf8mb4",
            "mysql+pymysql://u:p@h:3306/db?charset=utf8mb4",
        ),
        (
            "postgres://h/db?__extra__=%7B%22sslmode%22%3A+%22require%22%2C+%22x%22%3A+%7B%7D%7D",
            "postgresql+psycopg://h/db?sslmode=require",
        ),
        (
            json.dumps(
                {
                    "conn_type": "postgres",
                    "host": "h",
                    "port": "5432",
                    "login": "u",
                    "password": "p@ss",
                    "schema": "db",
                    "extra": {"sslmode": "require"},
                }
            ),
            "postgresql+psycopg://u:p%40ss@h:5432/db?sslmode=require",
        ),
        (
            json.dumps({"conn_type": "sqlite", "host": "/data/l.db", "extra": "{}"}),
            "sqlite:////data/l.db",
        ),
    ],
)
def test_both_forms_of_an_airflow_connection(monkeypatch, text, url):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", text)
    assert from_environment("warehouse") == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "AIRFLOW_CONN_WAREHOUSE must be set, got nothing"),
        ("{", "must be an address such as postgres://user:password@host:5432/database or JSON"),
        ("secret", "must be an address such as"),
        ('{"conn_type": "postgres", "extra": "[1]"}', "must be an address such as"),
        ('{"host": "secret"}', "its type must be set, got nothing"),
        ("sqlite://", "must name the file of the database"),
    ],
)
def test_a_connection_that_cannot_be_read(monkeypatch, text, words):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", text)
    with pytest.raises(SettingsError, match=r"^connection warehouse: ") as caught:
        from_environment("warehouse")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
