"""`./relevo mutate`: what the tests do not notice is told, and nothing of the checkout changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from stack.commands import mutate as mutate_command
from stack.embedded.layout import REPOSITORY
from stack.mutants import find_mutants

MODULE = """
LIMIT = 3


def is_many(count: int | None = None) -> bool:
    return count is not None and count > LIMIT


def total(values: list[int]) -> int:
    result = 0
    for value in values:
        result += value
    return result
"""
TESTS = """
import pytest

from include.training.association import is_many, total


@pytest.mark.parametrize(("count", "many"), [(None, False), (3, False), (4, True), (5, True)])
def test_more_than_three_are_many(count, many):
    assert is_many(count) == many


def test_total():
    assert total([]) == 0
    assert total([2, 5]) == 7
"""
SLOW_TEST = """

def test_slow():
    import pathlib, tempfile, time

    pathlib.Path(tempfile.gettempdir(), "started").touch()
    time.sleep(300)
"""
# The command line, on a project that holds one of the modules and its tests.
PROGRAM = """
import signal
import sys
from pathlib import Path

import typer

from stack.commands import mutate

# Of a test run in the background, children ignore an interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
mutate.REPOSITORY = Path(sys.argv.pop(1))
typer.run(mutate.mutate)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
        "plugins/__init__.py": "",
        "include/__init__.py": "",
        "include/training/__init__.py": "",
        "include/training/association.py": MODULE,
        "tests/__init__.py": "",
        "tests/library/__init__.py": "",
        "tests/library/training/__init__.py": "",
        "tests/library/training/test_association.py": TESTS,
    }
    for name, text in files.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"


def contents(project: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    folder = project.parent / "tmp"
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(project), *arguments],
        env={"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def mutate(project: Path, *arguments: str) -> tuple[int, str]:
    """Run to the end; nothing of the project may change or stay behind."""
    before = contents(project)
    with start(project, *arguments) as process:
        output, _ = process.communicate(timeout=120)
    assert contents(project) == before
    assert list((project.parent / "tmp").iterdir()) == []
    return process.returncode, output


def test_good_tests_notice_every_change(project: Path) -> None:
    status, output = mutate(project, "association", "--sample", "5")
    assert (status, "100.0%" in output) == (0, True), output


def test_a_change_that_nobody_notices_is_told_with_its_place(project: Path) -> None:
    path = project / "tests/library/training/test_association.py"
    path.write_text(TESTS.replace("(3, False), (4, True), ", ""), encoding="utf-8")
    status, output = mutate(project, "association", "--sample", "0")
    assert status == 1, output
    told = [line for line in output.splitlines() if "->" in line]
    assert told == [
        "include/training/association.py:2: LIMIT = 3  ->  LIMIT = 4",
        "include/training/association.py:2: LIMIT = 3  ->  LIMIT = 2",
        "include/training/association.py:6: return count is not None and count > LIMIT  ->  "
        "return count is not None and count >= LIMIT",
    ]


def test_a_change_that_never_ends_is_noticed(project: Path) -> None:
    path = project / "include/training/association.py"
    path.write_text("def down(n):\n    while n > 0:\n        n -= 1\n    return n\n")
    path = project / "tests/library/training/test_association.py"
    path.write_text(
        "from include.training.association import down\n\n\n"
        "def test_down():\n    assert [down(n) for n in (0, 1, 3)] == [0, 0, 0]\n"
    )
    status, output = mutate(project, "association", "--sample", "1", "--seed", "2")
    assert (status, "100.0%" in output) == (0, True), output


def test_tests_that_fail_unchanged_prove_nothing(project: Path) -> None:
    path = project / "include/training/association.py"
    path.write_text(MODULE.replace(">", ">="), encoding="utf-8")
    status, output = mutate(project, "association")
    assert status == 1
    assert "test_association.py: must pass unchanged" in output


def test_a_module_without_tests_is_told(project: Path) -> None:
    (project / "tests/library/training/test_association.py").unlink()
    status, output = mutate(project, "association")
    assert status == 1
    assert "test_association.py: must exist to notice a change" in output


def test_what_is_read_only_is_changed_in_the_copy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "include/training/association.py"
    path.chmod(0o444)
    monkeypatch.setattr(mutate_command, "REPOSITORY", project)
    monkeypatch.setattr(tempfile, "tempdir", str(project.parent))
    monkeypatch.setenv("TMPDIR", str(project.parent))
    with mutate_command._copy() as copy:
        assert (copy / "include/training/association.py").stat().st_mode & 0o200


def test_an_unknown_module_is_refused(project: Path) -> None:
    status, output = mutate(project, "associations")
    assert status == 1
    assert "Module associations: must be one of moments, partitions" in output


@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGINT, "*/pyproject.toml"), (signal.SIGTERM, "*/tmp/started")]
)
def test_an_interrupted_run_leaves_nothing_behind(project: Path, number: int, moment: str) -> None:
    path = project / "tests/library/training/test_association.py"
    path.write_text(TESTS + SLOW_TEST, encoding="utf-8")
    before = contents(project)
    with start(project, "association") as process:
        deadline = time.monotonic() + 120
        while not list((project.parent / "tmp").glob(moment)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
    assert (process.returncode, "interrupted" in output) == (130, True), output
    assert contents(project) == before
    assert list((project.parent / "tmp").iterdir()) == []


def test_what_decides_nothing_is_left_alone() -> None:
    source = (
        "@dataclass(frozen=True)\n"
        "class A:\n"
        "    b: int | None\n"
        "def f(a: int | str, *, c: float | None = None) -> int | None:\n"
        "    return [*zip(a, c, strict=True)]\n"
    )
    assert list(find_mutants(source)) == []
