"""The ledger: each decision once, in order, and what is still to be done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa
import pytest

from include.storage import event_tables, ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin


@pytest.fixture
def record(lake: Lake, origin: Origin) -> Any:
    """Record as a task of run ``run``."""

    def write(
        kind: Any,
        partition: str,
        decision: str,
        *,
        run: str = "run_1",
        reason: str = "because",
        **more: Any,
    ) -> bool:
        writer = replace(origin, dag_run_id=run)
        return ledger.record(lake, kind, partition, decision, reason, origin=writer, **more)

    return write


def test_nothing_is_on_record_at_first(lake: Lake) -> None:
    assert ledger.entries(lake) == []
    assert ledger.pending_trainings(lake) == ()
    assert ledger.training_states(lake) == {}


def test_an_entry_comes_back_as_it_was_recorded(lake: Lake, record: Any) -> None:
    assert record("retraining", "2005-Q1", "no", evidence={"b": [1, None], "a": 0.25})
    (entry,) = ledger.entries(lake)
    assert (entry.kind, entry.partition, entry.decision) == ("retraining", "2005-Q1", "no")
    assert (entry.reason, entry.dag_run_id) == ("because", "run_1")
    assert entry.evidence == {"a": 0.25, "b": [1, None]}


def test_the_same_answer_of_a_run_is_recorded_once(lake: Lake, record: Any) -> None:
    assert record("retraining", "2005-Q1", "yes")
    assert not record("retraining", "2005-Q1", "yes")
    assert record("retraining", "2005-Q2", "no")
    assert record("promotion", "2005-Q1", "refused")
    assert record("retraining", "2005-Q1", "yes", run="run_2")
    assert record("training", "2005-Q1", "started")
    assert record("training", "2005-Q1", "failed")
    assert not record("training", "2005-Q1", "failed")
    assert len(ledger.entries(lake)) == 6
    assert not any(entry.superseded for entry in ledger.entries(lake))


def test_another_answer_of_a_run_supersedes_the_one_before(lake: Lake, record: Any) -> None:
    # Cleared after the data was corrected, and cleared again: an answer that was given before
    # counts again.
    for answer in ("no", "yes", "yes", "no"):
        record("retraining", "2005-Q1", answer)
    record("retraining", "2005-Q1", "no", run="run_2")
    found = ledger.entries(lake)
    assert [(item.decision, item.superseded) for item in found] == [
        ("no", True),
        ("yes", True),
        ("no", False),
        ("no", False),
    ]
    assert [item.key for item in found] == [
        "retraining/2005-Q1/run_1/",
        "retraining/2005-Q1/run_1/#2",
        "retraining/2005-Q1/run_1/#3",
        "retraining/2005-Q1/run_2/",
    ]
    current = ledger.latest(lake, "retraining", "2005-Q1", "run_1")
    assert current == found[2]
    assert ledger.latest(lake, "promotion", "2005-Q1", "run_1") is None


@pytest.mark.parametrize("changed", [{"reason": "else"}, {"evidence": {"a": 2}}])
def test_an_answer_with_another_reason_or_evidence_is_another(
    lake: Lake, origin: Origin, changed: Any
) -> None:
    said = {"reason": "because", "evidence": {"a": 1}}
    for more in (said, said, {**said, **changed}):
        ledger.record(
            lake, "promotion", "2005-Q1", "refused", more["reason"],
            origin=origin, evidence=more["evidence"],
        )  # fmt: skip
    assert [item.superseded for item in ledger.entries(lake)] == [True, False]


def test_what_ends_a_training_does_not_supersede_its_start(lake: Lake, record: Any) -> None:
    for outcome in ("started", "failed", "started", "promoted", "failed"):
        record("training", "2005-Q1", outcome, run="train_1")
    found = ledger.entries(lake)
    assert [item.key.removeprefix("training/2005-Q1/train_1/") for item in found] == [
        "started",
        "failed",
        "started#2",
        "promoted",
        "failed#2",
    ]
    assert [item.decision for item in found if not item.superseded] == ["started", "failed"]
    assert not found[2].superseded
    assert ledger.training_states(lake) == {"2005-Q1": "failed"}


def test_tasks_that_answer_at_once_leave_every_answer_in_one_order(
    lake: Lake, origin: Origin
) -> None:
    def answer(number: int) -> bool:
        return ledger.record(
            lake, "retraining", "2005-Q1", "no", f"reason {number % 2}", origin=origin
        )

    with ThreadPoolExecutor(6) as pool:
        written = list(pool.map(answer, range(6)))
    found = ledger.entries(lake)
    assert len(found) == sum(written)
    assert len({item.key for item in found}) == len(found)
    # No answer is the same as the one before it.
    assert all(one.reason != other.reason for one, other in pairwise(found))
    assert [item.superseded for item in found] == [True] * (len(found) - 1) + [False]


def test_a_clock_that_is_wrong_changes_no_order(
    lake: Lake, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC)])
    clock = create_autospec(datetime)
    clock.now.side_effect = lambda zone: next(clocks)
    monkeypatch.setattr(event_tables, "datetime", clock)
    record("retraining", "2005-Q1", "yes")
    record("training", "2005-Q1", "started")
    monkeypatch.undo()
    assert [item.decision for item in ledger.entries(lake)] == ["yes", "started"]
    assert ledger.training_states(lake) == {"2005-Q1": "started"}


def test_rows_of_an_earlier_release_come_first(lake: Lake, record: Any, origin: Origin) -> None:
    columns = [item for item in ledger._COLUMNS] + [("recorded_at", pa.timestamp("us"))]
    old = {name: "x" for name, _ in ledger._COLUMNS} | {"evidence": "{}", "kind": "retraining"}
    rows = [
        {**old, "key": "retraining/2005-Q1/run_1/", "partition": "2005-Q1", "decision": "no",
         "dag_run_id": "run_1", "recorded_at": datetime(2099, 1, 2)},
        {**old, "key": "b", "decision": "yes", "recorded_at": datetime(2099, 1, 1)},
    ]  # fmt: skip
    schema = pa.schema(columns)
    lake.append(
        ledger.TABLE, schema, lambda _: pa.Table.from_pylist(rows, schema=schema), origin=origin
    )
    record("retraining", "2005-Q1", "yes")
    found = ledger.entries(lake)
    assert [item.key for item in found] == [
        "b",
        "retraining/2005-Q1/run_1/",
        "retraining/2005-Q1/run_1/#2",
    ]
    assert [item.superseded for item in found] == [False, True, False]


def test_a_snapshot_stays_with_the_run_that_took_it(lake: Lake, record: Any) -> None:
    assert record("snapshot", "snapshot-0001", "taken")
    assert not record("snapshot", "snapshot-0001", "taken", run="run_2", reason="another")
    assert [item.key for item in ledger.entries(lake)] == ["snapshot/snapshot-0001"]


def test_entries_come_in_the_order_of_recording_and_by_kind(lake: Lake, record: Any) -> None:
    record("training", "2005-Q3", "started")
    record("retraining", "2005-Q1", "no")
    record("training", "2005-Q3", "promoted")
    found = [(entry.kind, entry.decision) for entry in ledger.entries(lake)]
    assert found == [("training", "started"), ("retraining", "no"), ("training", "promoted")]
    assert [entry.decision for entry in ledger.entries(lake, "training")] == [
        "started",
        "promoted",
    ]
    assert len(ledger.entries(lake, "training", "retraining")) == 3


@pytest.mark.parametrize("outcome", ["promoted", "refused", "failed"])
def test_a_training_is_pending_from_the_yes_to_its_end(
    lake: Lake, record: Any, outcome: str
) -> None:
    record("retraining", "2005-Q2", "no")
    assert ledger.pending_trainings(lake) == ()
    record("retraining", "2005-Q3", "yes")
    record("retraining", "2005-Q1", "yes")
    assert ledger.pending_trainings(lake) == ("2005-Q1", "2005-Q3")
    record("training", "2005-Q1", "started", run="train_1")
    assert ledger.pending_trainings(lake) == ("2005-Q1", "2005-Q3")
    record("training", "2005-Q1", outcome, run="train_1")
    assert ledger.pending_trainings(lake) == ("2005-Q3",)


def test_a_verdict_on_a_promotion_is_not_the_end_of_the_training(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("promotion", "2005-Q1", "refused")
    assert ledger.pending_trainings(lake) == ("2005-Q1",)


def test_states_follow_the_ledger(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    assert ledger.training_states(lake) == {"2005-Q1": "requested"}
    record("training", "2005-Q1", "started", run="train_1")
    assert ledger.training_states(lake) == {"2005-Q1": "started"}


def test_a_yes_asks_again_after_a_failure(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("training", "2005-Q1", "started", run="train_1")
    record("training", "2005-Q1", "failed", run="train_1")
    assert ledger.training_states(lake) == {"2005-Q1": "failed"}
    record("retraining", "2005-Q1", "yes", run="run_2")
    assert ledger.training_states(lake) == {"2005-Q1": "requested"}
    assert ledger.pending_trainings(lake) == ("2005-Q1",)


def test_a_yes_after_a_verdict_asks_for_nothing(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("training", "2005-Q1", "promoted", run="train_1")
    record("retraining", "2005-Q1", "yes", run="run_2")
    assert ledger.training_states(lake) == {"2005-Q1": "promoted"}
    assert ledger.pending_trainings(lake) == ()


def test_a_no_takes_back_what_was_not_started(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("retraining", "2005-Q1", "no")
    assert ledger.training_states(lake) == {"2005-Q1": "withdrawn"}
    assert ledger.pending_trainings(lake) == ()
    record("retraining", "2005-Q1", "yes")
    assert ledger.pending_trainings(lake) == ("2005-Q1",)


def test_of_two_runs_about_a_partition_the_latest_answer_counts(lake: Lake, record: Any) -> None:
    """Each may be cleared, and say again what it said before."""
    answers = [("run_1", "yes"), ("run_2", "no"), ("run_1", "yes"), ("run_2", "no")]
    states = {"yes": "requested", "no": "withdrawn"}
    for run, answer in answers:
        assert record("retraining", "2005-Q1", answer, run=run)
        assert not record("retraining", "2005-Q1", answer, run=run)
        assert ledger.training_states(lake) == {"2005-Q1": states[answer]}
    assert [entry.decision for entry in ledger.entries(lake)] == ["yes", "no", "yes", "no"]
    assert record("retraining", "2005-Q1", "no", run="run_3")
    assert not record("retraining", "2005-Q1", "no", run="run_2")
    assert record("retraining", "2005-Q1", "yes")
    # What a person took back stays so.
    record("training", "2005-Q1", "withdrawn", run="withdrawal 1")
    assert not record("retraining", "2005-Q1", "yes")
    assert record("retraining", "2005-Q1", "no", run="run_4")
    assert not record("retraining", "2005-Q1", "yes")
    assert ledger.training_states(lake) == {"2005-Q1": "withdrawn"}


def test_a_no_withdraws_no_verdict_and_no_failure(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("training", "2005-Q1", "failed", run="train_1")
    record("training", "2005-Q2", "promoted", run="train_2")
    record("retraining", "2005-Q1", "no")
    record("retraining", "2005-Q2", "no")
    assert ledger.training_states(lake) == {"2005-Q1": "failed", "2005-Q2": "promoted"}


def test_a_no_stops_nothing_that_was_started(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("training", "2005-Q1", "started", run="train_1")
    record("retraining", "2005-Q1", "no")
    assert ledger.training_states(lake) == {"2005-Q1": "started"}


def test_a_training_that_is_cleared_is_under_way_again(lake: Lake, record: Any) -> None:
    for outcome in ("started", "failed", "started"):
        record("training", "2005-Q1", outcome, run="train_1")
    assert ledger.pending_trainings(lake) == ("2005-Q1",)


def held_out(lake: Lake, version: int) -> float:
    evidence = ledger.held_out_evidence(lake, version)
    assert evidence is not None
    return float(evidence["challenger"]["roc_auc"]["value"])


def test_the_held_out_evidence_is_the_one_of_the_first_judgement(lake: Lake, record: Any) -> None:
    def judged(run: str, value: float) -> None:
        intervals = {"roc_auc": {"value": value, "lower": 0.0, "upper": 1.0}}
        evidence = {"challenger": 3, "evidence": {"challenger": intervals}}
        record("promotion", "2005-Q1", "promoted", run=run, evidence=evidence)

    assert ledger.held_out_evidence(lake, 3) is None
    judged("train_1", 0.75)
    judged("train_2", 0.5)
    assert held_out(lake, 3) == 0.75
    assert ledger.held_out_evidence(lake, 4) is None


def test_the_held_out_evidence_is_that_of_the_verdict_that_counts(lake: Lake, record: Any) -> None:
    for value in (0.75, 0.5):
        intervals = {"roc_auc": {"value": value}}
        evidence = {"challenger": 3, "evidence": {"challenger": intervals}}
        record("promotion", "2005-Q1", "promoted", evidence=evidence)
    assert held_out(lake, 3) == 0.5


def test_held_out_evidence_outlives_a_verdict_on_another_version(lake: Lake, record: Any) -> None:
    for version, value in ((3, 0.75), (4, 0.5)):
        intervals = {"roc_auc": {"value": value}}
        evidence = {"challenger": version, "evidence": {"challenger": intervals}}
        record("promotion", "2005-Q1", "promoted", evidence=evidence)
    assert held_out(lake, 3) == 0.75
    assert held_out(lake, 4) == 0.5


def test_a_failure_takes_no_verdict_of_another_run_away(lake: Lake, record: Any) -> None:
    for decision, run in (("started", "a"), ("promoted", "a"), ("started", "b")):
        record("training", "2005-Q1", decision, run=run)
    assert ledger.training_states(lake) == {"2005-Q1": "started"}
    record("training", "2005-Q1", "failed", run="b")
    assert ledger.trainings(lake)["2005-Q1"].dag_run_id == "a"
    assert ledger.training_states(lake) == {"2005-Q1": "promoted"}
    record("retraining", "2005-Q1", "yes", run="twice")
    assert ledger.pending_trainings(lake) == ()
    # Its own does: the run was cleared.
    record("training", "2005-Q1", "failed", run="a")
    assert ledger.training_states(lake) == {"2005-Q1": "failed"}
