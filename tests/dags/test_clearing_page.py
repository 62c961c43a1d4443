"""docs/clearing.md tells of each task of both DAGs, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.sdk import DAG

from relevo import dags

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clearing.md"


@pytest.fixture(scope="module")
def declared() -> tuple[DAG, DAG]:
    """The DAGs of a pipeline that a person must approve, and whose labels have a source."""
    score, _ = dags.declare("loan_default")
    _, train = dags.declare("telco_churn")
    return score, train


def told(heading: str) -> set[str]:
    """Name the tasks in the first column of a section's table."""
    section = PAGE.read_text(encoding="utf-8").split(f"## `{heading}`")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert all(line.count(" | ") == 3 for line in rows)
    return {name for row in rows for name in re.findall(r"`([a-z_<>]+)`", row.split(" | ")[0])}


def test_each_task_is_told_of(declared: tuple[DAG, DAG]) -> None:
    score, train = declared
    named = {name.replace("_loans", "_<source>") for name in score.task_dict}
    assert told("<pipeline>_score") == named
    assert told("<pipeline>_train") == set(train.task_dict)
