"""Gaps as the tables show them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from include.calendar.partitions import Frequency
from include.monitoring.gaps import Gap
from include.registry.champions import PROFILES
from include.scoring import batch_scoring
from include.specification.pipeline import Pipeline
from include.steps.gaps import find_gaps
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.ledger import Kind
from include.storage.lineage import Origin
from tests.library.steps.replay import Replay, back_score

MakePipeline = Callable[..., Pipeline]
QUARTERS = [f"{year}-Q{number}" for year in (2004, 2005, 2006) for number in (1, 2, 3, 4)]
NOW = datetime(2006, 4, 6)


@pytest.fixture
def replay(lake: Lake, make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Features and labels of 2004 and 2005; 2005-Q1 is the first that is scored."""
    monkeypatch.setattr(batch_scoring, "score", back_score)
    made = Replay(lake, make_pipeline())
    made.prepare(*QUARTERS[:8])
    return made


def told(found: list[Gap]) -> list[tuple[str, tuple[str, ...]]]:
    return [(gap.partitions, gap.missing) for gap in found]


def finish(replay: Replay, *names: str) -> None:
    """Score, judge and decide."""
    replay.score(*names)
    for name in names:
        replay.measure(name)
        replay.decide(name)


def test_before_anything_is_scored_there_is_no_gap(replay: Replay) -> None:
    assert find_gaps(replay.lake, replay.pipeline, NOW) == []


def test_a_partition_whose_run_is_due_and_missing(replay: Replay) -> None:
    finish(replay, "2005-Q1", "2005-Q2", "2005-Q4")
    # 2005-Q3 was skipped, 2006-Q1 is due since yesterday; its labels have not come.
    assert told(find_gaps(replay.lake, replay.pipeline, NOW)) == [
        ("2005-Q3", ("scores",)),
        ("2006-Q1", ("scores", "labels")),
    ]
    assert find_gaps(replay.lake, replay.pipeline, NOW)[0].remedy.startswith(
        "./relevo airflow backfill create --dag-id"
    )


def test_a_yes_without_a_verdict(replay: Replay) -> None:
    """It is one until a training as of it or of a later partition has come to a verdict."""
    lake = replay.lake

    def record(kind: Kind, name: str, decision: str, run: str) -> None:
        ledger.record(lake, kind, name, decision, "", origin=Origin("p_train", run, "task"))

    finish(replay, "2005-Q1", "2005-Q2", "2005-Q3", "2005-Q4")
    record("retraining", "2005-Q2", "yes", "x")
    record("retraining", "2005-Q3", "yes", "y")
    record("training", "2005-Q2", "started", "train_2")
    record("training", "2005-Q2", "failed", "train_2")
    now = datetime(2006, 1, 6)
    listed = find_gaps(lake, replay.pipeline, now)
    assert told(listed) == [("2005-Q2", ("training",)), ("2005-Q3", ("training",))]
    assert [gap.reason.split()[-1] for gap in listed] == ["verdict", "begun"]
    assert listed[0].remedy.endswith('_train -c \'{"partition": "2005-Q2"}\'')
    record("training", "2005-Q3", "started", "train_3")
    assert told(find_gaps(lake, replay.pipeline, now)) == [("2005-Q2", ("training",))]
    record("training", "2005-Q3", "refused", "train_3")
    assert find_gaps(lake, replay.pipeline, now) == []
    # What was asked for is waited for, whatever was trained later.
    record("retraining", "2005-Q1", "yes", "z")
    assert told(find_gaps(lake, replay.pipeline, now)) == [("2005-Q1", ("training",))]


def test_nothing_is_due_before_its_date_and_after_the_end(
    replay: Replay, make_pipeline: MakePipeline
) -> None:
    finish(replay, "2005-Q1")
    before = datetime(2005, 7, 5, 5, 59)
    assert find_gaps(replay.lake, replay.pipeline, before) == []
    over = make_pipeline(schedule={"end": "2005-07-31"})
    assert told(find_gaps(replay.lake, over, NOW)) == [("2005-Q2", ("scores",))]


def test_without_a_schedule_all_between_the_first_and_the_last_are_expected(
    replay: Replay, make_pipeline: MakePipeline
) -> None:
    finish(replay, "2005-Q1", "2005-Q3")
    by_hand = make_pipeline().model_copy(update={"schedule": None})
    (gap,) = find_gaps(replay.lake, by_hand, NOW)
    assert gap.partitions == "2005-Q2"
    assert gap.remedy.endswith('-c \'{"partition": "2005-Q2"}\'')


class TestPerformance:
    NOW = datetime(2006, 1, 6)

    def test_what_matured_and_was_not_judged(self, replay: Replay) -> None:
        replay.score("2005-Q1", "2005-Q2", "2005-Q3", "2005-Q4")
        replay.measure("2005-Q1")
        for name in QUARTERS[4:8]:
            replay.decide(name)
        found = find_gaps(replay.lake, replay.pipeline, self.NOW)
        # 2004-Q1 and Q2 had matured before scoring began.
        assert [(gap.partitions, gap.remedy[-48:]) for gap in found] == [
            ("2004-Q4", "-s 2005-07-05T06:00:00 -e 2005-07-05T06:00:00 -y"),
            ("2005-Q1", "-s 2005-10-05T06:00:00 -e 2005-10-05T06:00:00 -y"),
            ("2005-Q2", "-s 2006-01-05T06:00:00 -e 2006-01-05T06:00:00 -y"),
        ]
        assert find_gaps(replay.lake, replay.pipeline, self.NOW, most_labels=31) == []
        replay.measure("2005-Q4")
        assert find_gaps(replay.lake, replay.pipeline, self.NOW) == []

    def test_what_was_judged_before_it_was_scored(self, replay: Replay) -> None:
        finish(replay, "2005-Q1", "2005-Q3")
        finish(replay, "2005-Q2")  # late, but before its labels
        finish(replay, "2005-Q4")
        assert find_gaps(replay.lake, replay.pipeline, self.NOW) == []
        # Judged in 2005-Q4 by predictions made for it, as if its run had come only now.
        replay.score("2005-Q2", back_scored=True)
        replay.measure("2005-Q4")
        replay.score("2005-Q2")
        (gap,) = find_gaps(replay.lake, replay.pipeline, self.NOW)
        assert (gap.partitions, gap.missing) == ("2005-Q2", ("performance",))
        replay.measure("2005-Q4")
        assert find_gaps(replay.lake, replay.pipeline, self.NOW) == []


def test_snapshots_are_numbered_without_gaps(replay: Replay) -> None:
    lake = Lake(replay.lake.settings, f"{replay.lake.pipeline}_s")
    timeless = replay.pipeline.model_copy(
        update={"partition": Frequency.NONE, "event_time": None, "schedule": None}
    )
    snapshots = Replay(lake, timeless)
    for table in (PROFILES, "labels"):
        snapshots._write(table, ("snapshot-0001", "snapshot-0003"), [{"version": [1]}] * 2)
    assert told(find_gaps(lake, timeless, NOW)) == [
        ("snapshot-0001", ("decision",)),
        ("snapshot-0002", ("scores", "labels")),
        ("snapshot-0003", ("decision",)),
    ]
