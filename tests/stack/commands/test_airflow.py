"""`./relevo airflow backfill create` beside a busy scheduler."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stack.commands.airflow import create_backfill
from stack.errors import StackError

# Fails as Airflow does on SQLite until it was asked so many times.
PROGRAM = """
import sys
from pathlib import Path

asked = Path(sys.argv[1])
count = len(asked.read_text()) + 1 if asked.exists() else 1
asked.write_text("x" * count)
if count < int(sys.argv[2]):
    sys.exit("sqlite3.OperationalError: " + sys.argv[3])
sys.stderr.write("a warning")
"""


def create(folder: Path, until: int, message: str = "database is locked") -> tuple[int, int]:
    """Return the exit code and how many times Airflow was asked."""
    asked = folder / "asked"
    command = [sys.executable, "-c", PROGRAM, str(asked), str(until), message]
    return create_backfill(command, os.environ), len(asked.read_text())


def test_a_locked_database_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(tmp_path, until=3) == (0, 3)
    assert capsys.readouterr().err.splitlines() == [
        "Airflow's database was locked (1 of 5)",
        "Airflow's database was locked (2 of 5)",
        "a warning",
    ]


def test_another_error_is_shown_and_not_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(tmp_path, until=3, message="no such table") == (1, 1)
    assert "no such table" in capsys.readouterr().err


def test_a_database_that_stays_locked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="got 5 refusals; nothing was made"):
        create(tmp_path, until=99)
    assert (tmp_path / "asked").read_text() == "xxxxx"
