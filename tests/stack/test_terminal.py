"""How commands end."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer
from rich.table import Table

from stack.terminal import Terminal, shown_errors


@pytest.mark.parametrize("name", ["x" * 300, "gone/file", "."])
def test_a_file_that_cannot_be_used_is_told(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, shown_errors():
        (tmp_path / name).write_text("")
    assert ended.value.exit_code == 1
    assert f"{tmp_path}" in capsys.readouterr().err.replace("\n", "")


def test_other_errors_of_the_system_are_ours_to_mend() -> None:
    with pytest.raises(ConnectionRefusedError), shown_errors():
        raise ConnectionRefusedError(111, "refused")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_others_wrote_does_not_steer_the_terminal(is_terminal: bool) -> None:
    """What is on record since an earlier release, or was answered by Airflow."""
    told = "ok\x1b[2K\x1b[1A\x1b]0;owned\x07\x9b2K\r \u202edone\nmore"
    table = Table("why", show_header=False, box=None)
    table.add_row(told)
    shown = io.StringIO()
    terminal = Terminal(file=shown, force_terminal=is_terminal, color_system=None, width=80)
    terminal.print(told, markup=False)
    terminal.print(table)
    assert [line.strip() for line in shown.getvalue().splitlines()] == [
        *("ok [2K [1A ]0;owned  2K   done", "more") * 2
    ]
