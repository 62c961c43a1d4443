"""A short torture on a real stack: real faults, and nothing that must hold is violated."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from stack.embedded.layout import REPOSITORY


@pytest.mark.system
@pytest.mark.timeout(1200)
def test_a_short_torture(tmp_path: Path) -> None:
    command = (
        *(str(REPOSITORY / "relevo"), "torture", "--minutes", "2", "--seed", "7"),
        *("--folder", str(tmp_path / "torture")),
    )
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    report = json.loads((tmp_path / "torture" / "report.json").read_text())
    assert report["violations"] == []
    assert sum(fault["hit"] for fault in report["faults"].values()) >= 5
