"""Numbers of snapshots: one a run, the same again for the same run, never two runs on one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from include.calendar.partitions import snapshot
from include.errors import PartitionError
from include.storage import ledger
from include.storage.lineage import Origin
from include.storage.snapshot_numbers import latest_snapshot, next_snapshot, take


def of(run_id: str) -> Origin:
    return Origin("p_score", run_id, "task")


def test_runs_are_numbered_and_a_run_keeps_its_number(lake: Any) -> None:
    assert str(next_snapshot(lake, of("a"))) == "snapshot-0001"
    assert str(next_snapshot(lake, of("b"))) == "snapshot-0002"
    assert str(next_snapshot(lake, of("a"))) == "snapshot-0001"


def test_a_training_is_about_the_latest_one_and_takes_the_first(lake: Any) -> None:
    assert str(latest_snapshot(lake, of("training"))) == "snapshot-0001"
    assert str(next_snapshot(lake, of("a"))) == "snapshot-0002"
    assert str(latest_snapshot(lake, of("another"))) == "snapshot-0002"


def test_a_training_keeps_the_snapshot_that_it_started_with(lake: Any) -> None:
    next_snapshot(lake, of("a"))
    named = latest_snapshot(lake, of("training"))
    ledger.record(lake, "training", str(named), "started", "", origin=of("training"))
    next_snapshot(lake, of("b"))
    assert str(latest_snapshot(lake, of("training"))) == "snapshot-0001"
    assert str(latest_snapshot(lake, of("another"))) == "snapshot-0002"


def test_a_number_that_was_asked_for_is_taken(lake: Any) -> None:
    take(lake, snapshot(1), of("a"))
    take(lake, snapshot(1), of("once more"))
    assert str(next_snapshot(lake, of("b"))) == "snapshot-0002"


def test_but_none_beyond_the_next(lake: Any) -> None:
    take(lake, snapshot(1), of("a"))
    with pytest.raises(PartitionError, match="snapshot-9999: must be snapshot-0002 or one before"):
        take(lake, snapshot(9999), of("a slip"))
    assert str(next_snapshot(lake, of("b"))) == "snapshot-0002"


def test_two_runs_at_once_get_two_numbers(lake: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda run: str(next_snapshot(lake, of(run))), "abab"))
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert {found[0], found[1]} == {"snapshot-0001", "snapshot-0002"}
