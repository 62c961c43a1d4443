"""Overview: one row a partition, told by the pipeline's own metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from include.calendar import partitions
from include.ingestion.landed_digests import LandedDigest, to_details
from include.monitoring.gaps import Gap
from include.monitoring.performance import PerformanceRecord
from include.registry.champions import PROFILES
from include.reports import decisions_page
from include.reports.decisions_page import HEADS, Row, decisions, render_decisions
from include.reports.page_views import View
from include.specification.pipeline import Pipeline
from include.steps import monitoring
from include.storage import ledger
from include.storage.lake_tables import Lake, with_partition
from include.storage.ledger import Kind
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore

RECORD = PerformanceRecord(
    partition="1994",
    model_version=1,
    metric="balanced_accuracy",
    rows=500,
    positives=None,
    value=0.51234,
    lower=0.5,
    upper=0.52,
    held_out=None,
    observed_over_predicted=None,
    calibration_error=0.1,
    verdict="cannot tell",
    reason="",
    back_scored=False,
)


def cells(*records: PerformanceRecord) -> dict[str, str]:
    row = Row("1995", 1234, 2, 1, "drift", records, "yes", "new_class", "promoted", "better")
    return dict(zip(HEADS, row.cells(), strict=True))


def test_performance_names_its_metric_and_unknown_classes() -> None:
    assert cells(RECORD)["performance"] == "balanced_accuracy 0.5123, cannot tell"
    one = dataclasses.replace(RECORD, unseen={"PX": 3}, verdict="no drop")
    two = dataclasses.replace(
        RECORD, unseen={"PX": 3, "SF": 1}, value=None, held_out=0.6, reason="3 rows"
    )
    found = cells(one, two)
    assert found["performance"] == (
        "balanced_accuracy 0.5123, 1 unknown class\nnot measured: 3 rows, 2 unknown classes"
    )
    assert found["held out"] == "\n0.6000"
    assert found["matured"] == "1994 (made then)\n1994 (made then)"


def test_a_partition_without_matured_labels() -> None:
    found = cells()
    assert found["performance"] == "not measured"
    assert (found["rows"], found["champion"]) == ("1,234", "v1")
    assert found["reason"] == "new_class; better"


def test_decisions_name_the_champion_before_and_after(lake: Lake) -> None:
    def decide(kind: Kind, partition: str, decision: str, run: str, **evidence: object) -> None:
        origin = Origin("p_train", run, "task")
        ledger.record(
            lake, kind, partition, decision, f"why {run}", origin=origin, evidence=evidence
        )

    def train(
        partition: str, outcome: str, run: str, champion: int | None, challenger: int
    ) -> None:
        decide("promotion", partition, outcome, run, champion=champion, challenger=challenger)
        decide("training", partition, outcome, run)

    ledger.record(lake, "training", "2005-Q4", "started", "x", origin=Origin("d", "a", "t"))
    train("2005-Q4", "promoted", "a", None, 1)
    drift = pa.table({"partition": ["2006-Q1"], "model_version": [1], "verdict": ["drift"]})
    lake.write(monitoring.DRIFT, drift, partitions=["2006-Q1"], origin=Origin("d", "s", "t"))
    decide("retraining", "2006-Q2", "no", "c")
    decide("retraining", "2006-Q1", "yes", "b")
    train("2006-Q1", "promoted", "d", 1, 2)
    train("2006-Q2", "refused", "e", 2, 3)
    decide("training", "2006-Q3", "started", "f")
    found = [(d.partition, d.about, d.decision, d.champion, d.reason) for d in decisions(lake)]
    assert found == [
        ("2005-Q4", "training", "promoted", "none -> v1", "why a"),
        ("2006-Q1", "retraining", "yes", "v1", "why b"),
        ("2006-Q1", "training", "promoted", "v1 -> v2", "why d"),
        ("2006-Q2", "retraining", "no", "none", "why c"),
        ("2006-Q2", "training", "refused", "v2", "why e"),
        ("2006-Q3", "training", "started", "none", "why f"),
    ]


def test_the_page_shows_gaps_and_what_to_do(
    lake: Lake, make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(schedule={"end": "2005-11-30"})
    monkeypatch.setattr(decisions_page, "load", lambda name: pipeline)

    def score(*names: str) -> None:
        origin = Origin("d", "s", "t")
        profiles = pa.table({"partition": list(names), "model_version": [1] * len(names)})
        lake.write(PROFILES, profiles, partitions=names, origin=origin)
        drift = pa.table({"partition": names, "verdict": ["drift"] * len(names)})
        drift = drift.append_column("model_version", pa.array([1] * len(names)))
        lake.write(monitoring.DRIFT, drift, partitions=names, origin=origin)
        for name in names:
            ledger.record(lake, "retraining", name, "no", "why", origin=origin)

    assert "gaps" not in render_decisions(lake)
    score("2005-Q1", "2005-Q3")
    page = render_decisions(lake)
    assert "<h2>Gaps</h2>" in page
    assert '<td class="short">2005-Q2</td><td class="short no">scores, labels</td>' in page
    assert "--from-date 2005-07-05T06:00:00 --to-date 2005-07-05T06:00:00 " in page
    score("2005-Q2")
    assert "No gaps were found" in render_decisions(lake)


def test_the_page_shows_what_is_stale(
    lake: Lake, make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline()
    monkeypatch.setattr(decisions_page, "load", lambda name: pipeline)
    rows = with_partition(pa.table({"id": ["a"]}), "2005-Q1")
    details = to_details({"2005-Q1": LandedDigest(files={"a.parquet": "1-x"})})
    origin = Origin("p_score", "run_1", "validate_loans")
    lake.write("raw_loans", rows, partitions=["2005-Q1"], origin=origin, details=details)
    profiles = pa.table({"partition": ["2005-Q1"], "model_version": [1]})
    lake.write(PROFILES, profiles, partitions=["2005-Q1"], origin=origin)
    verdict = pa.table({"partition": ["2005-Q1"], "verdict": ["drift"], "model_version": [1]})
    lake.write(monitoring.DRIFT, verdict, partitions=["2005-Q1"], origin=origin)

    landed = f"s3://landing/{lake.pipeline}/loans/2005-Q1/b.parquet"
    ObjectStore(lake.settings).write(landed, b"b")

    page = render_decisions(lake)

    assert "<h2>Stale</h2>" in page
    assert "source loans: b.parquet came later, a.parquet taken away" in page
    assert 'run">p_score run_1</td><td>raw_loans, quarantine_loans</td>' in page
    assert '2005-Q1 <span class="badge">stale</span></td>' in page


def test_an_answer_that_counts_no_more_is_struck_out_and_listed_nowhere_else(lake: Lake) -> None:
    origin = Origin("p_score", "run_1", "task")
    for decision in ("no", "yes"):
        ledger.record(lake, "retraining", "2005-Q1", decision, f"why {decision}", origin=origin)
    assert [item.decision for item in decisions(lake)] == ["yes"]
    lines = [line for line in render_decisions(lake).splitlines() if "why" in line]
    assert ["superseded" in line for line in lines] == [False, True]
    assert 'class="yes">yes<' in lines[0]
    assert '<tr class="superseded">' in lines[1]
    assert "why no (superseded)" in lines[1]
    assert 'class="no"' not in lines[1]


def test_a_long_history_comes_in_pages(
    lake: Lake, make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, names = make_pipeline(), [f"{year}-Q1" for year in range(1900, 2007)]
    monkeypatch.setattr(decisions_page, "load", lambda name: pipeline)
    monkeypatch.setattr(decisions_page, "find_gaps", lambda *_, **__: [])
    monkeypatch.setattr(decisions_page, "find_stale", lambda *_, **__: None)
    row = Row("", 1, 0, 1, "no drift", (), "no", "", "", "")
    scored = [dataclasses.replace(row, partition=name) for name in names]
    monkeypatch.setattr(decisions_page, "rows", lambda *_: scored)

    def shown(**view: Any) -> list[str]:
        page = render_decisions(lake, View(**view))
        return [name for name in names if f">{name}</td>" in page]

    assert shown() == names[-50:]
    assert shown(page=2) == names[-100:-50]
    assert shown(page=3) == shown(page=9) == names[:7]
    assert shown(partition="195") == names[50:60]
    first, last = (render_decisions(lake, View(page=page, kind="rollback")) for page in (1, 3))
    assert (
        '<a href="?page=2&amp;kind=rollback">earlier</a> page 1 of 3, 107 partitions</p>' in first
    )
    assert 'page 3 of 3, 107 partitions <a href="?page=2&amp;kind=rollback">later</a>' in last


def test_badges_and_the_kinds_of_the_ledger(
    lake: Lake, make_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline()
    monkeypatch.setattr(decisions_page, "load", lambda name: pipeline)
    at = partitions.parse("2005-Q2", pipeline.partition)
    gaps = [Gap(at, at, ("performance",), "why", ""), Gap(at.shift(-1), at, ("scores",), "why", "")]
    monkeypatch.setattr(decisions_page, "find_gaps", lambda *_, **__: gaps)
    monkeypatch.setattr(decisions_page, "find_stale", lambda *_, **__: None)
    row = Row("", 1, 0, 1, "drift", (), "no", "", "", "")
    names = ("2005-Q1", "2005-Q2", "2005-Q3")
    scored = [dataclasses.replace(row, partition=name) for name in names]
    monkeypatch.setattr(decisions_page, "rows", lambda *_: scored)
    origin = Origin("p_score", "run_1", "task")
    blocked = {"blocked_by": "budget"}
    ledger.record(lake, "retraining", names[0], "no", "spent", origin=origin, evidence=blocked)
    ledger.record(lake, "retraining", names[1], "yes", "drift", origin=origin)
    trains = Origin("p_train", "run_2", "task")
    monkeypatch.setattr(decisions_page.succession, "effective", lambda *_: 6)
    ledger.record(lake, "training", names[2], "started", "begun", origin=trains)
    judged = {"challenger": 7}
    ledger.record(lake, "promotion", names[2], "refused", "x", origin=trains, evidence=judged)
    ledger.record(lake, "approval", names[2], "asked", "May it?", origin=trains)

    page = render_decisions(lake)

    badge = ' <span class="badge">{}</span>'.format
    assert "In use for what is scored next: version 6." in page
    assert f"2005-Q1{badge('blocked by budget')}</td>" in page
    assert f"2005-Q2{badge('unmeasured')}{badge('training')}</td>" in page
    assert f"2005-Q3{badge('approval waits')}{badge('training')}</td>" in page
    assert f'<a href="../reports/{lake.pipeline}/evidence/version-7/index.html">refused</a>' in page
    assert "<option>approval</option><option>promotion</option>" in page
    assert "By hand" not in page
    assert "<option>training</option><option>unmeasured</option>" in page
    unmeasured = render_decisions(lake, View(badge="unmeasured"))
    assert "<option selected>unmeasured</option>" in unmeasured
    assert [name for name in names if f"{name} <span" in unmeasured] == ["2005-Q2"]
    only = render_decisions(lake, View(kind="approval"), may_act=True)
    assert ("May it?" in only, "spent" in only) == (True, False)
    assert "<option selected>approval</option>" in only
    assert '<a href="../../dags/platform_freeze">' in only
    assert f'<code>./relevo freeze {lake.pipeline} --reason "..."</code>' in only

    ledger.record(lake, "training", names[2], "failed", "Somebody marked it.", origin=trains)
    assert "approval waits" not in render_decisions(lake)
