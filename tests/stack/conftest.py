"""Fixtures of the stack's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.embedded.configuration import Configuration, prepare
from stack.embedded.layout import STATE_VARIABLE, Layout
from stack.embedded.processes import end_orphans


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """A stack of its own below a temporary directory; nothing of it survives the test."""
    state = tmp_path / "state with space"
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    layout = Layout.from_environment()
    layout.create()
    yield layout
    end_orphans(layout)


@pytest.fixture
def configuration(layout: Layout) -> Configuration:
    """The configuration of a first start."""
    return prepare(layout, {})
