"""`./relevo lint`: what runs, what is shown, and that commits and CI run the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stack.cli import app
from stack.commands import lint as lint_command
from stack.embedded.layout import REPOSITORY

PROGRAMS = ("ruff", "mypy", "lint-imports")
# Says how it was called and what it found; fails if a file of its name with .fails lies beside it.
FAKE = """#!/bin/sh
cd -- "$(dirname -- "$0")"
name=$(basename -- "$0")
echo "$name $*" >> calls
echo "MYPYPATH=$MYPYPATH PYTHONPATH=$PYTHONPATH" >> environment
echo "$name found [something]"
test ! -e "$name.fails"
"""
runner = CliRunner()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with fakes of the programs, used in place of the environment's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text(FAKE, encoding="utf-8")
        (folder / name).chmod(0o700)
    monkeypatch.setattr(lint_command, "PROGRAMS", folder)
    return folder


def lint(*arguments: str) -> Any:
    return runner.invoke(app, ["lint", *arguments])


def calls(programs: Path) -> list[str]:
    file = programs / "calls"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_everything_is_looked_at_by_all_of_them(programs: Path) -> None:
    answer = lint()
    assert answer.exit_code == 0, answer.output
    assert calls(programs) == [
        f"ruff check --force-exclude {REPOSITORY}",
        f"ruff format --check --force-exclude {REPOSITORY}",
        "mypy -p include -p relevo -p stack",
        "lint-imports --no-logo",
    ]
    seen = (programs / "environment").read_text(encoding="utf-8").splitlines()
    assert set(seen) == {"MYPYPATH=.:plugins PYTHONPATH=.:plugins"}


def test_what_passed_is_one_line(programs: Path) -> None:
    lines = lint().output.splitlines()
    assert [line.split()[:-2] for line in lines] == [
        ["ruff", "check", "ok"],
        ["ruff", "format", "ok"],
        ["mypy", "ok"],
        ["lint-imports", "ok"],
    ]


@pytest.mark.parametrize("broken", PROGRAMS)
def test_one_failure_fails_and_hides_no_other(programs: Path, broken: str) -> None:
    (programs / f"{broken}.fails").touch()
    answer = lint()
    assert answer.exit_code == 1
    assert len(calls(programs)) == 4
    failures = 2 if broken == "ruff" else 1
    assert answer.output.count("FAILED") == failures
    # What it said is shown as it was said, and nothing of those that passed.
    assert answer.output.count(f"{broken} found [something]") == failures
    assert answer.output.count("found") == failures


def test_ruff_mends_and_formats_if_asked_to(programs: Path) -> None:
    assert lint("--fix").exit_code == 0
    assert calls(programs)[:2] == [
        f"ruff check --fix --force-exclude {REPOSITORY}",
        f"ruff format --force-exclude {REPOSITORY}",
    ]


def test_only_ruff_is_confined_to_the_files(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("page.md", "pipeline.yaml", "drift.py", "pyproject.toml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)  # files are named from where one stands
    assert lint("page.md", "drift.py", "pipeline.yaml", "pyproject.toml").exit_code == 0
    chosen = f"{tmp_path / 'drift.py'} {tmp_path / 'pyproject.toml'}"
    assert calls(programs) == [
        f"ruff check --force-exclude {chosen}",
        f"ruff format --check --force-exclude {chosen}",
        "mypy -p include -p relevo -p stack",
        "lint-imports --no-logo",
    ]


def test_files_that_are_not_python_need_none_of_them(programs: Path) -> None:
    answer = lint(str(REPOSITORY / "README.md"))
    assert answer.exit_code == 0
    assert calls(programs) == []
    assert answer.output.count("skipped: no Python and no pyproject.toml among the files") == 4


def test_the_launcher_is_python_without_an_ending(programs: Path) -> None:
    assert lint(str(REPOSITORY / "relevo")).exit_code == 0
    assert calls(programs)[0] == f"ruff check --force-exclude {REPOSITORY / 'relevo'}"
    shown = subprocess.run(
        [str(Path(sys.executable).parent / "ruff"), "check", "--show-files", "."],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(REPOSITORY / "relevo") in shown.stdout.splitlines()


def test_a_folder_is_looked_at(programs: Path) -> None:
    assert lint(str(REPOSITORY / "stack")).exit_code == 0
    assert calls(programs)[0] == f"ruff check --force-exclude {REPOSITORY / 'stack'}"


def test_a_file_that_is_not_there_is_told_before_anything_runs(programs: Path) -> None:
    answer = lint("absent.py", str(REPOSITORY / "README.md"))
    assert answer.exit_code == 1
    assert "File absent.py: must exist to be looked at, got nothing there." in answer.output
    assert "name no file to look at everything" in answer.output
    assert calls(programs) == []


def test_a_name_too_long_for_a_file_is_absent(programs: Path) -> None:
    answer = lint("a" * 5000)
    assert answer.exit_code == 1
    assert "must exist to be looked at" in answer.output


def test_a_long_list_of_absent_files_is_cut(programs: Path) -> None:
    answer = lint(*(f"absent_{number}.py" for number in range(9)))
    assert "absent_4.py and 4 more: must exist" in answer.output
    assert "absent_5.py" not in answer.output


def test_a_program_that_is_not_installed_is_told(programs: Path) -> None:
    (programs / "mypy").unlink()
    answer = lint()
    assert answer.exit_code == 1
    assert "Program mypy: must be installed beside Python, got nothing in" in answer.output
    assert calls(programs) == []


def test_the_real_programs_mend_and_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("include", "plugins/relevo", "stack"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_packages = ["include", "stack"]\n'
        '[[tool.importlinter.contracts]]\nname = "the door"\ntype = "forbidden"\n'
        'source_modules = ["include"]\nforbidden_modules = ["stack"]\n',
        encoding="utf-8",
    )
    module = tmp_path / "include" / "drift.py"
    module.write_text("import os\nimport stack\nlimit:int = stack.__name__\n", encoding="utf-8")
    monkeypatch.setattr(lint_command, "REPOSITORY", tmp_path)
    answer = lint("--fix")
    assert answer.exit_code == 1
    assert module.read_text(encoding="utf-8") == "import stack\n\nlimit: int = stack.__name__\n"
    assert [line.split("  ")[0] for line in answer.output.splitlines() if "FAILED" in line] == [
        "mypy",
        "lint-imports",
    ]
    assert 'variable has type "int"' in answer.output
    assert "the door BROKEN" in answer.output


def test_the_environment_has_the_programs() -> None:
    assert Path(sys.executable).parent == lint_command.PROGRAMS
    assert [name for name in PROGRAMS if not (lint_command.PROGRAMS / name).exists()] == []


def test_a_commit_is_preceded_by_the_same_and_downloads_nothing() -> None:
    text = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (repository,) = yaml.safe_load(text)["repos"]
    assert repository["repo"] == "local"
    (pattern,) = (hook["files"] for hook in repository["hooks"])
    for path in ("relevo", "pyproject.toml", "include/monitoring/drift.py"):
        assert re.search(pattern, path), path
    assert not re.search(pattern, "README.md")
    assert [(hook["entry"], hook["language"]) for hook in repository["hooks"]] == [
        ("./relevo lint", "system")
    ]


def test_ci_runs_the_same_and_the_hosted_one_runs_only_that() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "./relevo lint" in script
    assert [line for line in script if any(f"{name} " in line for name in PROGRAMS)] == []
    text = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
