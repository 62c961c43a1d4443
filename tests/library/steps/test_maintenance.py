"""What maintenance removes, and above all what it does not, on a real store with real tables."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa
import pytest

from include.errors import TableError
from include.registry.champions import Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import MODEL, ModelVersion, put_file
from include.scoring.made_then import DETAIL
from include.scoring.predictions import read, scored_then
from include.steps.maintenance import AirflowRuns, Maintenance, record_uri
from include.steps.maintenance_plan import Outcome
from include.storage import drafts, ledger
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin, TableReference
from include.storage.lineage_records import written
from include.storage.object_store import ObjectStore
from include.storage.table_upkeep import FEW_FILES
from include.training.training_sets import TrainingSet

RUN = "scheduled__2030-01-01"
DAYS_90 = timedelta(days=90)
SECOND = timedelta(seconds=1.1)  # the store tells times by the second
ORIGIN = Origin("p_score", "run_1", "task_1")
Q1, Q2 = "2005-Q1", "2005-Q2"


@dataclass
class World:
    """A pipeline whose maintenance is asked for at any moment after all that was written so far."""

    lake: Lake
    open_runs: dict[tuple[str, str], datetime] = field(default_factory=dict)
    tracking: Any = None

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(self.lake.settings)

    def maintenance(self) -> Maintenance:
        runs = AirflowRuns(self._open_since, lambda *run: run in self.open_runs)
        return Maintenance(self.lake, runs, DAYS_90, self.tracking)

    def _open_since(self, dag_ids: Collection[str]) -> datetime | None:
        return min((at for (dag, _), at in self.open_runs.items() if dag in dag_ids), default=None)

    def maintain(self, at: datetime | None = None, run_id: str = RUN) -> Outcome:
        """Plan and carry out, so that by default what was replaced until now is past retention."""
        now = at or later()
        self.maintenance().plan(run_id, now)
        return self.maintenance().carry_out(run_id, now)

    def write(self, table: str, partition: str, *numbers: float, **origin: Any) -> TableReference:
        columns = {"x": list(map(float, numbers)), "partition": [partition] * len(numbers)}
        rows = pa.table(columns)
        details = origin.pop("details", None)
        made_by = replace(ORIGIN, **origin)
        return self.lake.write(table, rows, partitions=[partition], origin=made_by, details=details)

    def read(self, table: str, version: int | None = None) -> list[float]:
        return sorted(self.lake.read(table, version=version)["x"].to_pylist())


def later(**after: float) -> datetime:
    """The moment 90 days after now: what was replaced before now is past retention by then."""
    return datetime.now(UTC) + SECOND + DAYS_90 + timedelta(**after)


@pytest.fixture
def world(lake: Lake) -> World:
    return World(lake)


def kinds(outcome: Outcome) -> dict[str, int]:
    return {kind: count for kind, (count, _) in outcome.won().items()}


def test_what_was_replaced_goes_and_what_is_there_stays(world: World) -> None:
    for number in range(3):
        world.write("features", Q1, number)
    world.write("features", Q2, 7)
    before = world.lake.open("features").version()

    done = world.maintain()

    assert kinds(done) == {"data file": 2}
    assert done.won()["data file"][1] == sum(item.size for item in done.plan.items) > 0
    assert world.read("features") == [2, 7]
    # No commit: who wrote what, and in which order, is as it was.
    assert world.lake.open("features").version() == before
    assert len(written(world.lake, "features")) == 4
    assert done.usage["data"][0] == done.plan.usage["data"][0] - 2


def test_a_version_within_the_retention_is_read_as_before(world: World) -> None:
    first = world.write("features", Q1, 1)
    world.write("features", Q1, 2)
    assert kinds(world.maintain(later(days=-1))) == {}
    assert world.read("features", first.version) == [1]


def test_the_version_of_the_cutoff_is_within_the_retention(world: World) -> None:
    world.write("features", Q1, 1)
    second = world.write("features", Q1, 2)
    cutoff = later()
    time.sleep(2 * SECOND.total_seconds())
    third = world.write("features", Q1, 3)
    world.write("features", Q1, 4)
    assert kinds(world.maintain(cutoff)) == {"data file": 1}
    assert [world.read("features", item.version) for item in (second, third)] == [[2], [3]]


def test_a_removed_version_says_so(world: World) -> None:
    first = world.write("features", Q1, 1)
    world.write("features", Q1, 2)
    world.maintain()
    with pytest.raises(TableError, match=r"features at version 1: .*got none\. Maintenance"):
        world.read("features", first.version)


def test_a_draft_of_an_open_run_can_still_be_committed(world: World) -> None:
    world.write("features", Q1, 1)
    rows = pa.table({"x": [2.0], "partition": [Q1]})
    since = datetime.now(UTC) - timedelta(seconds=2)
    draft = drafts.write(world.lake, "features", rows, partitions=[Q1], origin=ORIGIN)
    world.open_runs["p_score", "run_1"] = since
    ledger.record(world.lake, "retraining", Q1, "no", "x", origin=ORIGIN)  # a DAG made by hand

    done = world.maintain()

    assert done.won() == {}
    assert "is open" in done.plan.held_back
    manifest = drafts.load(world.lake, draft)
    assert drafts.read(world.lake, draft, manifest, Q1)["x"].to_pylist() == [2.0]


def test_what_was_drafted_and_never_committed_goes(world: World) -> None:
    world.write("features", Q1, 1)
    rows = pa.table({"x": [2.0], "partition": [Q1]})
    draft = drafts.write(world.lake, "features", rows, partitions=[Q1], origin=ORIGIN)
    assert kinds(world.maintain()) == {"draft": 1, "data file": 1}
    with pytest.raises(TableError, match="Clear the task that ingested"):
        drafts.load(world.lake, draft)
    assert world.read("features") == [1]


def test_a_draft_that_was_committed_late_stays(world: World) -> None:
    """Its files are older than the cutoff, and its commit is not."""
    rows = pa.table({"x": [2.0], "partition": [Q1]})
    draft = drafts.write(world.lake, "features", rows, partitions=[Q1], origin=ORIGIN)
    cutoff = later()
    time.sleep(2 * SECOND.total_seconds())
    manifest = drafts.load(world.lake, draft)
    committed = world.lake.commit(
        "features", manifest.of(Q1), manifest.schema, partitions=[Q1], origin=ORIGIN
    )
    world.write("features", Q1, 3)
    assert kinds(world.maintain(cutoff)) == {"draft": 1}
    assert world.read("features", committed.version) == [2]


def test_a_plan_is_carried_out_only_as_far_as_it_still_holds(world: World) -> None:
    rows = pa.table({"x": [2.0], "partition": [Q1]})
    draft = drafts.write(world.lake, "features", rows, partitions=[Q1], origin=ORIGIN)
    now = later()
    plan = world.maintenance().plan(RUN, now)
    assert {item.kind for item in plan.items} == {"draft", "data file"}
    manifest = drafts.load(world.lake, draft)
    world.lake.commit("features", manifest.of(Q1), manifest.schema, partitions=[Q1], origin=ORIGIN)

    outcome = world.maintenance().carry_out(RUN, now)

    assert [item.kind for item in outcome.left] == ["data file"]
    assert world.read("features") == [2]


def test_nothing_beside_the_plan_is_removed(world: World) -> None:
    world.write("features", Q1, 1)
    world.maintenance().plan(RUN, later())
    world.write("features", Q1, 2)
    assert world.maintenance().carry_out(RUN, later()).won() == {}
    assert world.read("features", 1) == [1]


def test_without_a_plan(world: World) -> None:
    with pytest.raises(TableError, match="must have a plan"):
        world.maintenance().carry_out(RUN, later())


def test_once_done_it_is_done(world: World) -> None:
    world.write("features", Q1, 1)
    world.write("features", Q1, 2)
    done = world.maintain()
    world.write("features", Q1, 3)
    assert world.maintain() == done
    assert world.read("features", 2) == [2]


def test_killed_after_any_deletion_it_ends_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        world.write("features", Q1, number)
    rows = pa.table({"x": [9.0], "partition": [Q1]})
    drafts.write(world.lake, "features", rows, partitions=[Q1], origin=ORIGIN)
    now = later()
    plan = world.maintenance().plan(RUN, now)
    genuine, left = ObjectStore.delete, [0, 1, 2]

    def dying(store: ObjectStore, uri: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        genuine(store, uri)

    for deletions in (0, 1, 2, 3):
        left[0] = deletions
        with monkeypatch.context() as patch:
            patch.setattr(ObjectStore, "delete", dying)
            with pytest.raises(KeyboardInterrupt):
                world.maintenance().carry_out(RUN, now)
    outcome = world.maintenance().carry_out(RUN, now)
    assert (set(outcome.done), outcome.left) == (set(plan.items), [])
    assert world.read("features") == [5]
    assert json.loads(world.store.read(record_uri(world.lake.pipeline, RUN)))["outcome"]
    assert world.maintenance().recorded(RUN) == (plan, outcome)


class TestOnRecord:
    def test_the_training_set_of_a_registered_version(
        self, world: World, version: ModelVersion
    ) -> None:
        kept = world.write("training_sets", Q1, 1)
        dropped = world.write("training_sets", Q1, 2)
        world.write("training_sets", Q1, 3)
        trained = TrainingSet(kept, (Q1,), (), (1, 0), {})
        register(world, replace(version, training_set=trained.to_dict()))
        assert kinds(world.maintain()) == {"data file": 1}
        assert world.read("training_sets", kept.version) == [1]
        with pytest.raises(TableError, match="Maintenance removes"):
            world.read("training_sets", dropped.version)

    def test_predictions_made_then_and_the_features_they_were_made_from(self, world: World) -> None:
        features = world.write("features", Q1, 1)
        predict(world, features, 0.1)
        between = world.write("features", Q1, 2)
        then = world.lake.reference("predictions", Q1)
        predict(world, between, 0.2, details={DETAIL: str(then.version)})
        now = world.write("features", Q1, 3)
        predict(world, now, 0.3, details={DETAIL: str(then.version)})
        assert kinds(world.maintain()) == {"data file": 2}
        held = scored_then(world.lake, Q1)
        assert read(world.lake, held, Q1)["x"].to_pylist() == [0.1]
        assert world.read("features", features.version) == [1]

    def test_predictions_that_a_reprocessing_replaced(self, world: World) -> None:
        then = world.write("predictions", Q1, 0.1)
        now = world.write("predictions", Q1, 0.2)
        replaced = {Q1: {"then": then.version, "now": now.version}}
        ledger.record(world.lake, "reprocessing", Q1, "done", "x", origin=ORIGIN,
                      evidence={"replaced": replaced})  # fmt: skip
        assert kinds(world.maintain()) == {}
        assert world.read("predictions", then.version) == [0.1]

    def test_files_and_pages_of_versions_in_use(self, world: World, version: ModelVersion) -> None:
        store, name = world.store, world.lake.pipeline
        files = [put_file(store, name, MODEL, text) for text in (b"used", b"lost")]
        model = replace(version, files={MODEL: files[0]}, partition=Q1)
        register(world, model)
        register(world, replace(model, run_id="other"), version=2)
        Registry(world.lake)._append("promoted", 1, Q1, Q2, "better", {}, ORIGIN)
        root = f"s3://reports/{name}"
        pages = [
            f"{root}/{folder}/index.html"
            for folder in (
                "evidence/version-1",
                f"exploration/{Q1}",
                "evidence/version-2",
                f"drift/{Q2}",
                f"data_docs/{Q2}/loans",
                "maintenance",
            )
        ]
        for page in pages:
            store.write(page, b"page")
        assert kinds(world.maintain()) == {"model file": 1, "report": 3}
        assert [store.exists(uri) for uri, _ in files] == [True, False]
        assert [store.exists(page) for page in pages] == [True, True, False, False, False, True]

    def test_what_a_training_registers_while_it_is_asked_for_stays(
        self, world: World, version: ModelVersion
    ) -> None:
        """It is open no more when Airflow is asked, so its version must be read after that."""
        file = put_file(world.store, world.lake.pipeline, MODEL, b"model")
        now = later()
        world.maintenance().plan(RUN, now)
        asked = world._open_since

        def ending(dag_ids: Collection[str]) -> datetime | None:
            if not Registry(world.lake).events():
                register(world, replace(version, files={MODEL: file}))
            return asked(dag_ids)

        world._open_since = ending  # type: ignore[method-assign]
        outcome = world.maintenance().carry_out(RUN, now)
        assert [item.kind for item in outcome.left] == ["model file"]
        assert world.store.exists(file[0])

    def test_model_files_stay_while_a_training_is_under_way(self, world: World) -> None:
        file = put_file(world.store, world.lake.pipeline, MODEL, b"model")
        world.write("features", Q1, 1)
        now = later()
        world.maintenance().plan(RUN, now)
        world.open_runs[f"{world.lake.pipeline}_train", "run"] = now
        outcome = world.maintenance().carry_out(RUN, now)
        assert [item.kind for item in outcome.left] == ["model file"]
        assert world.store.exists(file[0])


class TestUpkeep:
    def fill(self, world: World, count: int) -> None:
        for number in range(count):
            ledger.record(world.lake, "retraining", f"{2000 + number}", "no", f"because {number}",
                          origin=replace(ORIGIN, dag_run_id=str(number)))  # fmt: skip

    def test_events_are_put_together_and_stay_what_they_were(self, world: World) -> None:
        self.fill(world, FEW_FILES + 2)
        before = ledger.entries(world.lake)
        table = world.lake.open("ledger").schema()
        done = world.maintain(datetime.now(UTC))
        assert kinds(done) == {"compaction": 1}
        assert len(world.lake.open("ledger").file_uris()) == 1
        assert ledger.entries(world.lake) == before
        assert world.lake.open("ledger").schema() == table
        assert written(world.lake, "ledger")[-1].task_id == "task_1"  # of a run, not of maintenance
        self.fill(world, FEW_FILES + 3)
        assert ledger.entries(world.lake)[:-1] == before
        # What was put together is removed like whatever else was replaced.
        assert kinds(world.maintain(run_id="next"))["data file"] == FEW_FILES + 2
        assert ledger.entries(world.lake)[:-1] == before

    def test_few_files_and_partitions_are_left_alone(self, world: World) -> None:
        self.fill(world, FEW_FILES)
        for number in range(FEW_FILES + 2):
            world.write("drift", f"{2000 + number}", number)
        assert kinds(world.maintain(datetime.now(UTC))) == {}

    def test_of_old_checkpoints_the_latest_stays_and_every_version_opens(
        self, world: World
    ) -> None:
        for number in range(6):
            world.write("features", Q1, number)
            world.lake.open("features").create_checkpoint()
        assert kinds(world.maintain())["old checkpoint"] == 5
        table = take_inventory(world.lake).tables["features"]
        assert list(table.checkpoints) == [6]
        assert [world.lake.open("features", version).version() for version in (1, 3, 6)] == [
            1,
            3,
            6,
        ]
        assert len(written(world.lake, "features")) == 6
        # Of a log that an earlier release has cut, nothing goes.
        world.lake.open("features").create_checkpoint()
        world.store.delete(f"{world.lake.uri('features')}/_delta_log/{0:020d}.json")
        world.write("features", Q1, 7)
        world.lake.open("features").create_checkpoint()
        assert "old checkpoint" not in kinds(world.maintain(run_id="next"))


class TestMlflow:
    def test_runs_whose_dag_run_is_over_are_ended_with_a_reason(self, world: World) -> None:
        world.tracking = create_autospec(Tracking, instance=True)
        world.open_runs["p_train", "open"] = datetime.now(UTC)
        world.tracking.unfinished.return_value = [
            ("m1", "p_train", "open"),
            ("m2", "p_train", "gone"),
        ]
        assert kinds(world.maintain()) == {"MLflow run": 1}
        world.tracking.fail.assert_called_once_with(
            "m2", "Run gone of p_train has ended or is gone: closed by maintenance."
        )


def register(world: World, model: ModelVersion, version: int = 1) -> None:
    held = replace(model, pipeline=world.lake.pipeline, version=version)
    if not held.training_set:
        reference = TableReference(world.lake.pipeline, "training_sets", 1, held.partition, 1)
        held = replace(held, training_set=TrainingSet(reference, (), (), (1, 0), {}).to_dict())
    Registry(world.lake)._append(
        "registered", version, held.partition, "", "", held.to_dict(), ORIGIN
    )


def predict(
    world: World,
    features: TableReference,
    score: float,
    details: dict[str, str] | None = None,
) -> None:
    columns = {"x": [score], "back_scored": [bool(details)], "partition": [Q1]}
    origin = replace(ORIGIN, inputs=(features,))
    world.lake.write(
        "predictions", pa.table(columns), partitions=[Q1], origin=origin, details=details
    )
