"""Finding the processes of a stack while they come and go."""

from __future__ import annotations

import subprocess

import psutil
import pytest

from stack.embedded import processes
from stack.embedded.environment import PART_VARIABLE
from stack.embedded.layout import STATE_VARIABLE, Layout


def test_what_ends_while_others_are_looked_at_is_not_found(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    child = subprocess.Popen(
        ["sleep", "60"], env={STATE_VARIABLE: str(layout.state), PART_VARIABLE: "store"}
    )
    listed = psutil.process_iter
    try:
        assert [found.pid for found in processes.find_processes(layout)] == [child.pid]

        def ending():
            yield from listed()
            child.kill()
            child.wait()

        monkeypatch.setattr(psutil, "process_iter", ending)
        assert processes.find_processes(layout) == []
    finally:
        child.kill()
        child.wait()
