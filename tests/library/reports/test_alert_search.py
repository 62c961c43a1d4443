"""What people have to know, as the tables, the ledger and the landed files say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import time_machine

from include.ingestion.landed_digests import LandedDigest, tags, to_details
from include.monitoring.alerts import Alert
from include.monitoring.performance import PerformanceRecord
from include.registry.champions import PROFILES
from include.reports.alert_search import LOOK_BACK, find_stale_alerts, searches
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import AlertKind
from include.steps.monitoring import DRIFT, PERFORMANCE
from include.storage import ledger
from include.storage.event_tables import EventTable
from include.storage.lake_tables import Lake
from include.storage.ledger import Kind
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore

MakePipeline = Callable[..., Pipeline]
NOW = datetime(2005, 4, 5, 7)


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> Pipeline:
    return make_pipeline()


class World:
    """What runs of one pipeline leave behind; each call is a run of its own."""

    def __init__(self, lake: Lake, pipeline: Pipeline) -> None:
        self.lake, self.pipeline = lake, pipeline

    def write(self, table: str, partition: str, *rows: dict[str, Any], **details: str) -> None:
        named = [{**row, "partition": partition} for row in rows]
        self.lake.write(
            table,
            pa.Table.from_pylist(named),
            partitions=[partition],
            origin=Origin("p_score", f"run_{partition}", f"writes_{table}"),
            details=details,
        )

    def drift(self, partition: str, verdict: str = "drift", version: int = 1) -> None:
        told = {"reason": f"{verdict} it is.", "details": "{}", "model_version": version}
        self.write(DRIFT, partition, {"verdict": verdict, **told})

    def judge(self, partition: str, measured: str, verdict: str) -> None:
        record = PerformanceRecord(
            measured, 1, "roc_auc", 600, 60, 0.6, 0.5, 0.7, 0.8, 1.0, 0.1,
            verdict,  # type: ignore[arg-type]
            f"{verdict}, it seems.", back_scored=False,
        )  # fmt: skip
        self.write(
            PERFORMANCE, partition, {"measured": measured, "details": json.dumps(record.to_dict())}
        )

    def quarantine(self, partition: str, kept: int, moved: int) -> None:
        self.write("quarantine_loans", partition, *[{"row": "{}"}] * moved)
        self.write("raw_loans", partition, *[{"id": 1}] * kept)

    def record(
        self, kind: Kind, partition: str, decision: str, reason: str = "", **how: Any
    ) -> None:
        origin = Origin("p_train", how.pop("run", f"train_{partition}"), "a_task")
        ledger.record(self.lake, kind, partition, decision, reason, origin=origin, **how)

    def found(
        self, kind: AlertKind, since: datetime = datetime.min, now: datetime | None = None
    ) -> Any:
        now = now or datetime.now(UTC).replace(tzinfo=None)
        found = list(searches(self.lake, self.pipeline, since=since, now=now)[kind]())
        assert {alert.kind for alert in found} <= {kind}
        return found


@pytest.fixture
def world(lake: Lake, pipeline: Pipeline) -> World:
    return World(lake, pipeline)


def test_before_the_first_run_there_is_nothing(world: World) -> None:
    for search in searches(world.lake, world.pipeline, since=datetime.min, now=NOW).values():
        assert list(search()) == []


class TestDrift:
    def test_of_what_drifted_the_run_and_the_report(self, world: World) -> None:
        world.drift("2005-Q1", "no drift")
        world.drift("2005-Q2", "cannot tell")
        world.drift("2005-Q3")
        name = world.lake.pipeline
        assert world.found("drift") == [
            Alert(
                "drift/2005-Q3/version-1",
                "drift",
                "2005-Q3",
                "drift it is.",
                "p_score",
                "run_2005-Q3",
                "writes_drift",
                report=f"s3://reports/{name}/drift/2005-Q3/index.html",
            )
        ]

    def test_the_same_batch_is_the_same_unless_another_version_scored_it(
        self, world: World
    ) -> None:
        world.drift("2005-Q3")
        (first,) = world.found("drift")
        world.drift("2005-Q3")
        (again,) = world.found("drift")
        world.drift("2005-Q3", version=2)
        (other,) = world.found("drift")
        assert (again.key == first.key, other.key == first.key) == (True, False)

    def test_what_was_recorded_long_ago_is_no_news(self, world: World) -> None:
        world.drift("2005-Q3")
        later = datetime.now(UTC).replace(tzinfo=None) + LOOK_BACK
        assert world.found("drift", now=later - timedelta(hours=1)) != []
        assert world.found("drift", now=later + timedelta(hours=1)) == []


def test_performance_is_about_the_partition_that_was_predicted(world: World) -> None:
    world.judge("2005-Q3", "2005-Q1", "drop")
    world.judge("2005-Q4", "2005-Q2", "no drop")
    (alert,) = world.found("performance")
    assert (alert.key, alert.partition) == ("performance/2005-Q1/version-1", "2005-Q1")
    assert (alert.reason, alert.run_id) == ("drop, it seems.", "run_2005-Q3")


class TestQuarantine:
    def test_above_half_of_its_limit(self, world: World) -> None:
        """The limit is 5 %."""
        world.quarantine("2005-Q1", kept=98, moved=2)
        world.quarantine("2005-Q2", kept=97, moved=3)
        (alert,) = world.found("quarantine")
        assert alert.key == "quarantine/loans/2005-Q2/3-of-100"
        assert alert.reason == (
            "3 of 100 rows of loans went to quarantine (3.00%), more than half of what may "
            "(max_quarantined 5.00%)."
        )
        assert alert.report.endswith("/data_docs/2005-Q2/loans/index.html")

    def test_other_rows_are_another_alert(self, world: World) -> None:
        world.quarantine("2005-Q1", kept=97, moved=3)
        (first,) = world.found("quarantine")
        world.quarantine("2005-Q1", kept=96, moved=4)
        (second,) = world.found("quarantine")
        assert first.key != second.key

    def test_where_nothing_may_go_to_quarantine_nothing_does(
        self, lake: Lake, make_pipeline: MakePipeline
    ) -> None:
        loans = {"uri": "s3://landing/x/{partition}/", "suite": "loans", "on_failure": "fail"}
        world = World(lake, make_pipeline(sources={"loans": loans}))
        world.quarantine("2005-Q1", kept=97, moved=3)
        assert world.found("quarantine") == []


class TestTrainings:
    def test_a_refused_challenger_and_its_evidence(self, world: World) -> None:
        world.record("promotion", "2005-Q1", "refused", "worse", evidence={"challenger": 4})
        assert world.found("refused") == []  # the run may be cleared and decide otherwise
        world.record("training", "2005-Q1", "refused", "It is worse.")
        (alert,) = world.found("refused")
        assert (alert.reason, alert.run_id) == ("It is worse.", "train_2005-Q1")
        assert alert.report.endswith("/evidence/version-4/index.html")
        world.record("training", "2005-Q2", "promoted", "better")
        assert len(world.found("refused")) == 1

    def test_a_verdict_that_was_superseded(self, world: World) -> None:
        world.record("training", "2005-Q1", "refused", "It is worse.")
        world.record("training", "2005-Q1", "promoted", "It is better.")
        assert world.found("refused") == []

    def test_an_approval_waits_until_somebody_answers(self, world: World) -> None:
        asked: dict[str, Any] = {"evidence": {"verdict": "k", "challenger": 4}}
        world.record("training", "2005-Q1", "started")
        world.record("approval", "2005-Q1", "asked", "May version 4 take over?", **asked)
        (alert,) = world.found("approval")
        assert (alert.task_id, alert.run_id) == ("approve_promotion", "train_2005-Q1")
        assert alert.report.endswith("/evidence/version-4/index.html")
        # However long it has.
        assert world.found("approval", now=datetime(2100, 1, 1)) == [alert]
        world.record("approval", "2005-Q1", "expired", "Nobody answered.", **asked)
        assert world.found("approval") == []
        world.record("approval", "2005-Q1", "asked", "May version 4 take over?", **asked)
        (again,) = world.found("approval")
        assert again.key != alert.key
        world.record("training", "2005-Q1", "failed", "Somebody marked it.")
        assert world.found("approval") == []

    def test_a_run_that_is_cleared_after_its_end_asks_again(self, world: World) -> None:
        """A champion was frozen, so that the challenger was refused; now it is not."""
        asked: dict[str, Any] = {"evidence": {"verdict": "k", "challenger": 4}}
        world.record("training", "2005-Q1", "started")
        world.record("training", "2005-Q1", "refused", "Version 3 is frozen.")
        world.record("approval", "2005-Q1", "asked", "May version 4 take over?", **asked)
        (alert,) = world.found("approval")
        # Another run of the partition answers for itself.
        world.record("training", "2005-Q1", "refused", "It is worse.", run="another")
        assert world.found("approval") == [alert]
        world.record("training", "2005-Q1", "failed", "Somebody marked it.")
        assert world.found("approval") == []
        # It asks the same again, which adds no entry.
        world.record("training", "2005-Q1", "started", "again")
        world.record("approval", "2005-Q1", "asked", "May version 4 take over?", **asked)
        assert world.found("approval") == [alert]


class TestDeadlines:
    """Runs are due at 06:00 of the fifth day of a quarter, and have a day."""

    def missed(self, world: World, since: datetime, now: datetime) -> list[str]:
        return [alert.partition for alert in world.found("deadline", since, now)]

    def test_a_partition_that_nobody_scored_in_time(self, world: World) -> None:
        world.write(PROFILES, "2005-Q1", {"model_version": 1})
        since = datetime(2005, 6, 1)
        assert self.missed(world, since, datetime(2005, 7, 6, 6)) == []
        assert self.missed(world, since, datetime(2005, 7, 6, 7)) == ["2005-Q2"]
        world.write(PROFILES, "2005-Q2", {"model_version": 1})
        assert self.missed(world, since, datetime(2005, 7, 6, 7)) == []

    def test_what_was_due_before_alerts_were_on(self, world: World) -> None:
        world.write(PROFILES, "2004-Q1", {"model_version": 1})
        assert self.missed(world, datetime(2005, 7, 5, 7), datetime(2005, 7, 6, 7)) == []

    def test_before_anything_was_scored_nothing_is_due(self, world: World) -> None:
        assert self.missed(world, datetime(2005, 6, 1), datetime(2005, 7, 6, 7)) == []


class TestStale:
    @pytest.fixture
    def store(self, lake: Lake) -> ObjectStore:
        return ObjectStore(lake.settings)

    def ingest(self, world: World, store: ObjectStore, partition: str, data: bytes) -> None:
        folder = f"s3://landing/{world.lake.pipeline}/loans/{partition}/"
        store.write(f"{folder}loans.csv", data)
        details = to_details({partition: LandedDigest(files=tags(store.list(folder), folder))})
        world.write("raw_loans", partition, {"id": 1}, **details)

    def test_a_correction_is_told_and_another_one_too(
        self, world: World, store: ObjectStore
    ) -> None:
        self.ingest(world, store, "2005-Q1", b"a")
        assert find_stale_alerts(world.lake, world.pipeline) == []
        uri = f"s3://landing/{world.lake.pipeline}/loans/2005-Q1/loans.csv"
        keys = []
        for data in (b"other", b"other", b"yet another"):
            store.write(uri, data)
            (alert,) = find_stale_alerts(world.lake, world.pipeline)
            keys.append(alert.key)
        assert alert.partition == "2005-Q1"
        assert alert.reason.startswith("loans 2005-Q1: loans.csv changed. `./relevo stale")
        assert keys[0] == keys[1] != keys[2]


def test_a_round_reads_no_decisions_of_long_ago(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"evidence": {"verdict": "k", "challenger": 4}}
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC)):
        world.record("training", "2005-Q1", "started")
        world.record("promotion", "2005-Q1", "refused", "worse", evidence={"challenger": 4})
        world.record("approval", "2005-Q1", "asked", "May it?", **asked)
        world.record("approval", "2005-Q1", "rejected", "No.", **asked)
        world.record("training", "2005-Q1", "refused", "No.")
    read: list[str] = []
    rows = EventTable.events

    def events(table: EventTable, *where: Any) -> Any:
        found = rows(table, *where)
        read.extend(event["kind"] for event in found)
        return found

    monkeypatch.setattr(EventTable, "events", events)
    assert world.found("refused", now=datetime(2026, 2, 1)) == []
    assert read == []
    # Open questions have no age: a few entries for each training are read, and no more.
    assert world.found("approval", now=datetime(2026, 2, 1)) == []
    assert read == ["approval", "approval"]


def test_a_verdict_may_be_older_than_the_end_of_its_training(world: World) -> None:
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC)):
        world.record("promotion", "2005-Q1", "promoted", "better", evidence={"challenger": 4})
    with time_machine.travel(datetime(2026, 1, 20, tzinfo=UTC)):
        world.record("training", "2005-Q1", "refused", "Nobody answered.")
    (alert,) = world.found("refused", now=datetime(2026, 1, 21))
    assert alert.report.endswith("/evidence/version-4/index.html")


def test_a_week_ago_is_counted_from_when_it_was_recorded(world: World) -> None:
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC)):
        world.record("training", "2005-Q1", "refused", "It is worse.")
    assert world.found("refused", now=datetime(2026, 1, 7)) != []
    assert world.found("refused", now=datetime(2026, 1, 9)) == []
