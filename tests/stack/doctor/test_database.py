"""The doctor on a real PostgreSQL that Airflow was never migrated to, and on SQLite."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
import pytest
from pydantic import SecretStr

from stack.doctor import database
from stack.doctor.checkup import Verdict, examine
from tests.postgres import running_postgres


@pytest.fixture(scope="module")
def server():
    """Address of a real PostgreSQL, without the name of a database."""
    with running_postgres() as (server, folder):
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("create database airflow")
            connection.execute("alter database airflow set timezone to 'UTC'")
            connection.execute(
                "create database latin encoding 'LATIN1' locale 'C' template template0"
            )
            connection.execute("alter database latin set timezone to 'Europe/Berlin'")
        yield f"postgresql+psycopg2://postgres@/{{}}?host={quote(str(folder))}"


def visit(url, *wanted):
    found = database.visit(SecretStr(url))
    checks = tuple(c for c in found.checks if not wanted or c.name in wanted)
    return {f.check: f for f in examine(type(found)(found.part, checks, found.close), ())}


def test_a_good_server_whose_tables_are_missing(server):
    found = visit(server.format("airflow"))
    assert {f.check for f in found.values() if f.verdict is not Verdict.OK} == {"migrations"}
    assert found["reachable"].found.startswith("PostgreSQL 1")
    assert found["migrations"].verdict is Verdict.FAILED
    assert "airflow db migrate" in found["migrations"].remedy
    assert found["connections"].found.endswith("4 processes may open 60")


def test_another_encoding_and_time_zone(server):
    found = visit(server.format("latin"), "encoding", "time zone")
    assert (found["encoding"].verdict, found["encoding"].found) == (Verdict.FAILED, "LATIN1")
    assert found["time zone"].verdict is Verdict.WARNING


def test_more_connections_than_the_server_allows(server, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__WORKERS", "8")
    found = visit(server.format("airflow"), "connections")["connections"]
    assert found.verdict is Verdict.WARNING
    assert found.found.endswith("11 processes may open 165")


def test_a_slow_network(server, monkeypatch):
    monkeypatch.setattr(database, "SLOW_MILLISECONDS", 0.0)
    found = visit(server.format("airflow"), "latency")["latency"]
    assert found.verdict is Verdict.WARNING
    assert found.found.endswith("ms, median of 20 round trips")


def test_a_server_that_is_down():
    found = visit("postgresql+psycopg2://u:hidden@127.0.0.1:9/airflow")
    assert list(found) == ["reachable", "the rest"]
    assert "Connection refused" in found["reachable"].found
    assert "hidden" not in str(found)


def test_sqlite_is_for_one_machine(tmp_path):
    file = tmp_path / "airflow.db"
    assert visit(f"sqlite:///{file}", "reachable")["reachable"].verdict is Verdict.FAILED
    file.touch()
    found = visit(f"sqlite:///{file}", "reachable")["reachable"]
    assert (found.verdict, found.found) == (Verdict.WARNING, "SQLite")
