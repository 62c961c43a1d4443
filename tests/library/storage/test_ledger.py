"""The ledger: each decision once, in order, and what is still to be done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin


@pytest.fixture
def record(lake: Lake, origin: Origin) -> Any:
    """Record as a task of run ``run``."""

    def write(kind: Any, partition: str, decision: str, *, run: str = "run_1", **more: Any) -> bool:
        writer = replace(origin, dag_run_id=run)
        return ledger.record(lake, kind, partition, decision, "because", origin=writer, **more)

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


def test_once_a_kind_partition_run_and_step(lake: Lake, record: Any) -> None:
    assert record("retraining", "2005-Q1", "yes")
    assert not record("retraining", "2005-Q1", "no")  # cleared and run again: the first counts
    assert record("retraining", "2005-Q2", "no")
    assert record("promotion", "2005-Q1", "refused")
    assert record("retraining", "2005-Q1", "no", run="run_2")
    assert record("training", "2005-Q1", "started", step="started")
    assert record("training", "2005-Q1", "failed", step="failed")
    assert not record("training", "2005-Q1", "failed", step="failed")
    assert len(ledger.entries(lake)) == 6


def test_entries_come_in_the_order_of_recording_and_by_kind(lake: Lake, record: Any) -> None:
    record("training", "2005-Q3", "started", step="started")
    record("retraining", "2005-Q1", "no")
    record("training", "2005-Q3", "promoted", step="promoted")
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
    record("training", "2005-Q1", "started", step="started", run="train_1")
    assert ledger.pending_trainings(lake) == ("2005-Q1", "2005-Q3")
    record("training", "2005-Q1", outcome, step=outcome, run="train_1")
    assert ledger.pending_trainings(lake) == ("2005-Q3",)


def test_a_verdict_on_a_promotion_is_not_the_end_of_the_training(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("promotion", "2005-Q1", "refused")
    assert ledger.pending_trainings(lake) == ("2005-Q1",)


def test_states_follow_the_ledger(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    assert ledger.training_states(lake) == {"2005-Q1": "requested"}
    record("training", "2005-Q1", "started", step="started", run="train_1")
    assert ledger.training_states(lake) == {"2005-Q1": "started"}


def test_a_yes_asks_again_after_a_failure(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("training", "2005-Q1", "started", step="started", run="train_1")
    record("training", "2005-Q1", "failed", step="failed", run="train_1")
    assert ledger.training_states(lake) == {"2005-Q1": "failed"}
    record("retraining", "2005-Q1", "yes", run="run_2")
    assert ledger.training_states(lake) == {"2005-Q1": "requested"}
    assert ledger.pending_trainings(lake) == ("2005-Q1",)


def test_a_yes_after_a_verdict_asks_for_nothing(lake: Lake, record: Any) -> None:
    record("retraining", "2005-Q1", "yes")
    record("training", "2005-Q1", "promoted", step="promoted", run="train_1")
    record("retraining", "2005-Q1", "yes", run="run_2")
    assert ledger.training_states(lake) == {"2005-Q1": "promoted"}
    assert ledger.pending_trainings(lake) == ()


def test_the_held_out_metric_is_the_one_of_the_first_judgement(lake: Lake, record: Any) -> None:
    def judged(run: str, value: float) -> None:
        intervals = {"roc_auc": {"value": value, "lower": 0.0, "upper": 1.0}}
        evidence = {"challenger": 3, "evidence": {"challenger": intervals}}
        record("promotion", "2005-Q1", "promoted", run=run, evidence=evidence)

    assert ledger.held_out_metric(lake, 3, "roc_auc") is None
    judged("train_1", 0.75)
    judged("train_2", 0.5)
    assert ledger.held_out_metric(lake, 3, "roc_auc") == 0.75
    assert ledger.held_out_metric(lake, 3, "log_loss") is None
    assert ledger.held_out_metric(lake, 4, "roc_auc") is None
