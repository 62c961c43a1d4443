"""`./relevo run` says what it needs; what it does is tested beside `include.development`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stack.cli import app
from stack.embedded.layout import STATE_VARIABLE


def test_without_a_stack_it_names_the_two_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    answer = CliRunner().invoke(app, ["run", "telco_churn"])
    assert answer.exit_code == 1
    assert f"Stack {tmp_path}: must be running, got down." in answer.output
    assert "`./relevo up`, or add --local" in answer.output


def test_a_pipeline_that_is_not_there_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    answer = CliRunner().invoke(app, ["run", "telco_chrun", "--local"])
    assert answer.exit_code == 1
    assert "did you mean 'telco_churn'?" in answer.output
    assert list(tmp_path.iterdir()) == []
