"""`./relevo maintain` and `./relevo clean`, as they are typed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from stack.cli import app
from stack.commands import clean

PIPELINE = "loan_default"


def relevo(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture
def lake(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A partition that was replaced half a year ago."""
    lake = Lake(store.settings, PIPELINE)
    for number in (1, 2):
        rows = pa.table({"x": [number], "partition": ["2005-Q1"]})
        lake.write("features", rows, partitions=["2005-Q1"], origin=Origin("d", "r", "t"))

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=180)

    monkeypatch.setattr("stack.commands.maintain.datetime", Clock)
    yield lake
    store.delete_below(f"s3://lake/{PIPELINE}/")


def test_what_would_be_removed_is_told_and_stays(lake: Lake) -> None:
    done = relevo("maintain", PIPELINE)
    assert done.exit_code == 0, done.output
    assert f"{PIPELINE}: what was replaced before" in done.stdout
    assert "data file" in done.stdout
    assert lake.read("features", version=1)["x"].to_pylist() == [1]
    assert relevo("maintain", PIPELINE, "--days", "400").stdout == f"{PIPELINE}: nothing to do\n"


def test_a_retention_that_is_too_short(lake: Lake) -> None:
    done = relevo("maintain", PIPELINE, "--days", "3")
    assert (done.exit_code, "from 14 to" in done.stderr) == (1, True)


def test_cleaning_needs_a_stack(shell: Path) -> None:
    done = relevo("clean")
    assert done.exit_code == 1
    assert "must be running, got down" in done.stderr


def test_cleaning_in_docker_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(clean, "docker_compose", lambda *words: asked.append(words))
    assert relevo("clean", "--compose", "--days", "30", "--remove").exit_code == 0
    assert [" ".join(words) for words in asked] == [
        "exec scheduler python -m stack.airflow_cleaning --days 30 --remove"
    ]
    assert relevo("clean", "--compose", "--days", "3").exit_code == 2


def test_cleaning_replaces_this_process(monkeypatch: pytest.MonkeyPatch, shell: Path) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(clean, "airflow_command_environment", lambda layout: {"A": "1"})
    monkeypatch.setattr(os, "execve", lambda *words: ran.append(words))
    assert relevo("clean").exit_code == 0
    ((_, words, environment),) = ran
    assert words == ["python", "-m", "stack.airflow_cleaning", "--days", "365"]
    assert environment == {"A": "1"}
