"""The metadata's server: its files are made whole, and nothing that is left behind stops it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from stack.embedded import postgres
from stack.embedded.databases import MLFLOW
from stack.embedded.layout import Layout
from stack.embedded.processes import end_orphans
from stack.errors import ConfigurationError, PartError


@contextmanager
def running(layout: Layout) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server as the part does."""
    postgres.remove_stale_lock(layout)
    server = subprocess.Popen(postgres.command(layout), cwd=layout.run)
    try:
        deadline = time.monotonic() + 60
        while trouble := postgres.check(layout):
            assert server.poll() is None, server.returncode
            assert time.monotonic() < deadline, trouble
            time.sleep(0.05)
        yield server
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)


def databases(layout: Layout) -> set[str]:
    """Ask the server what it keeps."""
    engine = sa.create_engine(postgres.address(layout, postgres.AIRFLOW_DATABASE))
    with engine.connect() as connection:
        names = connection.scalars(sa.text("select datname from pg_database")).all()
    engine.dispose()
    return set(names)


def test_databases_are_made_once(layout: Layout) -> None:
    postgres.initialise(layout)
    assert MLFLOW.migrated_to(layout) == MLFLOW.installed()
    with running(layout):
        assert databases(layout) >= {*postgres.DATABASES}
        made = (layout.postgres / "PG_VERSION").stat().st_mtime_ns
        postgres.initialise(layout)
        assert (layout.postgres / "PG_VERSION").stat().st_mtime_ns == made
    assert postgres.check(layout) is not None


def test_an_initialisation_that_was_killed_is_begun_anew(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "DATABASES", ("airflow", "no such, name"))
    with pytest.raises(PartError, match=r"`postgres` must succeed, .* syntax error"):
        postgres.initialise(layout)
    assert not layout.postgres.exists()
    monkeypatch.undo()
    postgres.initialise(layout)
    with running(layout):
        assert databases(layout) >= {*postgres.DATABASES}


def test_a_server_that_was_killed_starts_again(layout: Layout) -> None:
    postgres.initialise(layout)
    with running(layout) as server:
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    lock = layout.postgres / "postmaster.pid"
    assert lock.exists()
    with running(layout):
        assert databases(layout)
    # Its number may be somebody else's by then: PostgreSQL alone would not start.
    lines = [str(os.getppid()), str(layout.postgres), "0", "5432", str(layout.sockets), "", ""]
    lock.write_text("\n".join(lines))
    with running(layout):
        assert databases(layout)


def test_the_lock_of_a_server_that_runs_stays(layout: Layout) -> None:
    postgres.initialise(layout)
    with running(layout):
        postgres.remove_stale_lock(layout)
        assert (layout.postgres / "postmaster.pid").exists()
        second = subprocess.run(postgres.command(layout), capture_output=True, text=True)
    assert second.returncode != 0
    assert "already exists" in second.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="others run the programs as themselves")
def test_root_keeps_the_project_where_nobody_else_may_look(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = Path(postgres.program("postgres")).parents[2]
    for folder in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, closed / folder.relative_to(package.parent))
    monkeypatch.setattr(
        postgres, "program", lambda name: str(closed / package.name / postgres.PROGRAMS / name)
    )
    postgres.initialise(layout)
    with running(layout):
        assert databases(layout) >= {*postgres.DATABASES}


def test_it_listens_in_a_private_directory_only(layout: Layout) -> None:
    deep = replace(layout, state=layout.state / ("d" * 60) / ("e" * 60))
    deep.create()
    postgres.initialise(deep)
    with running(deep) as server:
        process = psutil.Process(server.pid)
        assert process.uids().effective != 0
        assert not [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        socket = deep.sockets / ".s.PGSQL.5432"
        assert socket.is_socket()
        assert deep.sockets.stat().st_mode & 0o077 == 0
        assert deep.postgres.stat().st_mode & 0o077 == 0
        assert databases(deep)
    end_orphans(deep)


@pytest.mark.parametrize("name", ["airflow/airflow.db", "mlflow/mlflow.db"])
def test_metadata_in_sqlite_is_refused_and_kept(layout: Layout, name: str) -> None:
    old = layout.state / name
    old.write_text("precious")
    with pytest.raises(ConfigurationError, match=re.escape(str(old)) + ".*check out the release"):
        postgres.initialise(layout)
    assert old.read_text() == "precious"
    assert not layout.postgres.exists()


def test_files_of_another_release_are_refused(layout: Layout) -> None:
    postgres.initialise(layout)
    (layout.postgres / "PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigurationError, match=r"must be of PostgreSQL 18, got 17\. Restore"):
        postgres.initialise(layout)


def test_root_without_setpriv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PartError, match="needs the program setpriv"):
        postgres.server_program("postgres")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert Path(postgres.server_program("postgres")[0]).name == "postgres"
