"""A seed names its faults, and the report tells of what happened and of nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stack.torture.faults import KINDS, plan
from stack.torture.gate import Hit
from stack.torture.harness import Round
from stack.torture.report import Report

PIPELINES = ["torture_0001", "torture_0002"]
PARTITIONS = ["2020-05", "2020-06"]


def test_a_seed_names_its_faults() -> None:
    assert plan(7, 1, PIPELINES, PARTITIONS, 50) == plan(7, 1, PIPELINES, PARTITIONS, 50)
    assert plan(7, 1, PIPELINES, PARTITIONS, 50) != plan(8, 1, PIPELINES, PARTITIONS, 50)
    assert plan(7, 1, PIPELINES, PARTITIONS, 50) != plan(7, 2, PIPELINES, PARTITIONS, 50)


def test_every_kind_comes_in_its_turn() -> None:
    weights = {kind: weight for kind, (weight, _) in KINDS.items()}
    found = Counter(f.kind for f in plan(7, 1, PIPELINES, PARTITIONS, sum(weights.values())))
    assert found == weights


def test_a_rule_of_every_kind_can_be_made() -> None:
    gates = Counter(
        rule[0] for fault in plan(7, 1, PIPELINES, PARTITIONS, 200) if (rule := fault.rule())
    )
    assert set(gates) == {"store", "mlflow"}


@pytest.fixture
def report() -> Report:
    planned = plan(7, 1, PIPELINES, PARTITIONS, 4)
    hits = [Hit(fault.number, 0.0, "SIGKILL", "task 1") for fault in planned[:3]]
    return Report(
        "./relevo torture", 7, "abc", 60.0, [Round(1, PIPELINES, planned, hits)], Counter()
    )


def test_a_fault_that_never_happened_is_not_counted(report: Report) -> None:
    assert (report.planned.total(), report.hit.total()) == (4, 3)
    assert report.holds


def test_a_violation_ends_it(report: Report, tmp_path: Path) -> None:
    violation = {"pipeline": "torture_0001", "invariant": "each row once", "found": "table x"}
    report.rounds[0].violations.append(violation)
    assert not report.holds
    report.write(tmp_path)
    assert "each row once: table x" in (tmp_path / "report.md").read_text()
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["violations"] == [{"round": 1, **violation}]


def test_without_faults_nothing_is_shown(report: Report) -> None:
    report.rounds[0].hits.clear()
    assert not report.holds
