"""`./relevo test`: which tests are handed to pytest, and how."""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stack.cli import app
from stack.commands import test as test_command
from stack.embedded.layout import REPOSITORY


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects a word whenever the browser would be installed."""
    installed: list[str] = []
    monkeypatch.setattr(test_command, "_ensure_chromium", lambda: installed.append("chromium"))
    return installed


def handed_over(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    """What pytest is told by the command."""
    commands: list[list[str]] = []
    here = os.getcwd()
    monkeypatch.setattr(os, "execv", lambda program, words: commands.append(words))
    answer = CliRunner().invoke(app, ["test", *arguments])
    assert (answer.exit_code, os.getcwd()) == (0, str(REPOSITORY)), answer.output
    os.chdir(here)
    ((program, *words),) = commands
    assert program == sys.executable
    return words


ALL = ["-m", "pytest", *test_command.EVERYTHING, *test_command.WORKERS]
QUICK = ["-m", "pytest", *test_command.QUICK, *test_command.WORKERS]
ROOM = "tests/library/monitoring"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-x", "-k", "drift"],
        # A folder, but no choice of tests.
        ["-k", "stack"],
        ["-k", "tests"],
        ["-m", "tests"],
        ["-p", "include"],
        ["--deselect", f"{ROOM}/test_drift.py::test_it"],
        ["--ignore", ROOM],
        ["--junitxml", "README.md"],
        ["-k", "a" * 5000],
        ["absent.py"],
        [""],
    ],
)
def test_everything_runs_unless_tests_are_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch, installed: list[str]
) -> None:
    assert handed_over(monkeypatch, *words) == [*ALL, *words]
    assert installed == ["chromium"]
    assert handed_over(monkeypatch, "--quick", *words) == [*QUICK, *words]
    assert installed == ["chromium"]


@pytest.mark.parametrize(
    "words",
    [[ROOM], [f"{ROOM}/test_drift.py::test_it", "-x"], [ROOM, "tests/operators"]],
)
def test_named_tests_run_alone(
    words: list[str], monkeypatch: pytest.MonkeyPatch, installed: list[str]
) -> None:
    assert handed_over(monkeypatch, *words) == ["-m", "pytest", *words]
    assert installed == []  # no browser is needed for them


def test_named_tests_can_be_the_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert handed_over(monkeypatch, ROOM, "--quick") == ["-m", "pytest", "-m", "not slow", ROOM]


def test_proofs_run_alone_on_one_worker_and_without_a_browser(
    monkeypatch: pytest.MonkeyPatch, installed: list[str]
) -> None:
    told = ["-m", "proof", "-x"]
    words = handed_over(monkeypatch, "--proofs", "-x")
    assert words == ["-m", "pytest", *test_command.EVERYTHING, *told]
    assert handed_over(monkeypatch, ROOM, "--proofs", "-x") == [
        "-m",
        "pytest",
        *told[:2],
        ROOM,
        "-x",
    ]
    assert installed == []


def test_proofs_are_left_out_of_everything_else() -> None:
    project = tomllib.loads(Path(REPOSITORY, "pyproject.toml").read_text(encoding="utf-8"))
    options = shlex.split(project["tool"]["pytest"]["ini_options"]["addopts"])
    assert options[options.index("-m") + 1] == "not proof"


@pytest.mark.parametrize("words", [["--quick", "--proofs"], ["--proofs", "--compose"]])
def test_only_one_kind_of_tests_runs(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(program))
    answer = CliRunner().invoke(app, ["test", *words])
    assert answer.exit_code != 0
    assert "must be one at most" in " ".join(answer.output.split())
    assert started == []


@pytest.mark.parametrize("path", ["tests", "tests/system", "tests/system/test_browser.py"])
def test_the_browser_is_installed_for_its_tests(
    path: str, monkeypatch: pytest.MonkeyPatch, installed: list[str]
) -> None:
    handed_over(monkeypatch, path)
    assert installed == ["chromium"]


def test_tests_are_named_from_where_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY / "tests" / "library")
    words = handed_over(monkeypatch, "monitoring/test_drift.py::test_it", ROOM)
    assert words == ["-m", "pytest", f"{ROOM}/test_drift.py::test_it", ROOM]


def test_the_engine_gets_the_words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert handed_over(monkeypatch, "--compose", "-x") == ["-m", "tests.compose.engine", "-x"]


@pytest.mark.parametrize("words", [test_command.EVERYTHING[:1], test_command.QUICK[:-2]])
def test_what_runs_is_there(words: tuple[str, ...]) -> None:
    assert [word for word in words if not Path(REPOSITORY, word).exists()] == []
