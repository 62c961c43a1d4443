"""How commands end."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from stack.terminal import shown_errors


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
