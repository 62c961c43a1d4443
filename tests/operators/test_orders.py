"""Eight partitions in any order and in parallel leave the tables that they leave in order.

The tasks that order runs, decide, request and close are the real ones, on a real store; Airflow
answers from its own database. What a task computes is small, and depends on everything that an
order could spoil: which batches are there, and who is champion. The scheduler throws dice.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from include.calendar.partitions import Frequency, Partition, parse
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.steps import monitoring, training, training_course
from include.storage import ledger
from include.storage.lake_tables import PARTITION, Lake
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings
from relevo.operators import base
from relevo.operators.monitoring import AwaitTrainingOperator, RequestRetrainingOperator
from relevo.operators.preparation import IngestSourceOperator
from tests.operators.airflow_api import FakeScheduler
from tests.operators.running import store_connection

FIRST = parse("2005-Q1", Frequency.QUARTERLY)
NAMES = [str(FIRST.shift(step)) for step in range(8)]
TABLES = ("raw_loans", "features", "predictions", "drift", "registry", "ledger")
OF_A_RUN = {"key", "dag_id", "dag_run_id", "task_id", "commit", "recorded_at", "evidence"}


@dataclass
class Run:
    """A run and how far it is."""

    dag_id: str
    run_id: str
    partition: Partition
    steps: list[str]
    at: int = 0
    state: str = "queued"
    waiting: TaskDeferred | None = None
    found: dict[str, Any] = field(default_factory=dict)


class Replay:
    """A world in which runs are triggered, and a scheduler that picks what goes on at random."""

    def __init__(
        self, lake: Lake, pipeline: Pipeline, scheduler: FakeScheduler, dice: random.Random
    ) -> None:
        self.lake, self.pipeline, self.scheduler, self.dice = lake, pipeline, scheduler, dice
        self.registry = Registry(
            lake,
            SimpleNamespace(client=SimpleNamespace(set_registered_model_alias=lambda *words: None)),
        )  # type: ignore[arg-type]
        self.runs: list[Run] = []
        self.places = 16
        self.gave_way: list[str] = []
        for kind in ("score", "train"):
            scheduler.add_dag(f"{pipeline.name}_{kind}")

    def trigger(self, kind: str, name: str, steps: list[str], **values: Any) -> None:
        """Make a run."""
        dag_id, run_id = f"{self.pipeline.name}_{kind}", f"r{uuid.uuid4().hex}"
        tasks: dict[str, str | None] = dict.fromkeys(steps)
        self.scheduler.add_run(dag_id, run_id, state="queued", tasks=tasks, **values)
        self.runs.append(Run(dag_id, run_id, parse(name, Frequency.QUARTERLY), steps))

    def score(self, name: str) -> None:
        """Trigger a scoring run."""
        steps = ["ingest_loans", "compute", "await_training", "score", "request_retraining"]
        self.trigger("score", name, steps, conf={"partition": name})

    def train(self, name: str, **values: Any) -> None:
        """Trigger a training run."""
        self.trigger("train", name, ["build", "promote", "close_training"], **values)

    def play(self) -> None:
        """Go on until every run has ended."""
        for _ in range(20_000):
            moves = [move for run in self.runs if (move := self.move(run))]
            if not moves:
                break
            self.dice.choice(moves)()
        assert {run.state for run in self.runs} == {"success"}

    def move(self, run: Run) -> Callable[[], None] | None:
        """Tell what may happen to a run now."""
        if run.state == "queued":
            same = [other for other in self.runs if other.dag_id == run.dag_id]
            # As Airflow's scheduler does: in the order in which they were made.
            is_next = run is next(other for other in same if other.state == "queued")
            places = self.places if run.dag_id.endswith("_score") else 1
            has_place = sum(other.state == "running" for other in same) < places
            return (lambda: self.set(run, "running")) if is_next and has_place else None
        if run.state == "failed":
            # A person clears it, when it was told that those that come first have ended.
            rest = [r for r in self.runs if r.partition < run.partition and r.state != "success"]
            return None if rest else (lambda: self.set(run, "queued"))
        return None if run.state == "success" else (lambda: self.step(run))

    def set(self, run: Run, state: str) -> None:
        """Change the state of a run."""
        run.state = state
        self.scheduler.set_run(run.dag_id, run.run_id, state)

    def step(self, run: Run) -> None:
        """Let the next task of a run run, or look whether it may be resumed."""
        task_id = run.steps[run.at]
        context = self.scheduler.context(run.dag_id, run.run_id, places=self.places)
        context["ti"].task_id = task_id
        resumed, run.waiting = run.waiting, None
        # Now and then the task looks itself before its time has come.
        if resumed is not None and self.dice.random() < 0.95 and resumed.trigger.open():
            run.waiting = resumed
            return
        try:
            self.execute(run, task_id, context, resumed.kwargs if resumed else {})
        except TaskDeferred as deferred:
            run.waiting = deferred
            self.scheduler.set_task(run.dag_id, run.run_id, task_id, "deferred")
            return
        except AirflowSkipException:
            pass
        except AirflowFailException as error:
            if "gives way" not in str(error):
                raise
            self.gave_way.append(str(run.partition))
            self.scheduler.set_task(run.dag_id, run.run_id, task_id, None)
            self.set(run, "failed")
            return
        self.scheduler.set_task(run.dag_id, run.run_id, task_id, "success")
        run.at += 1
        if run.at == len(run.steps):
            self.set(run, "success")

    def execute(self, run: Run, task_id: str, context: Any, waited: Any) -> None:
        """Do what a task does."""
        name = str(run.partition)
        common = {"task_id": task_id, "pipeline": self.pipeline.name, "partition": name}
        origin = Origin(run.dag_id, run.run_id, task_id)
        match task_id:
            case "ingest_loans":
                task = IngestSourceOperator(source="loans", **common)
                task._waited = waited
                task.execute(context)
            case "await_training":
                waits = AwaitTrainingOperator(**common)
                waits._waited = waited
                waits.execute(context)
            case "compute":
                seen = sorted(n for n in self.lake.partitions("raw_loans") if n < name)
                history = self.pipeline.sources["loans"].history
                write(
                    self.lake,
                    "features",
                    name,
                    origin,
                    seen=",".join(seen[-history:] * (history > 0)),
                )
            case "score":
                champion = self.registry.require_champion(run.partition)
                age = (
                    run.partition.start.toordinal()
                    - parse(champion.partition, Frequency.QUARTERLY).start.toordinal()
                )
                write(self.lake, "predictions", name, origin, version=champion.version)
                monitoring._write(
                    self.lake,
                    monitoring.DRIFT,
                    [
                        {
                            "verdict": "drift" if age > 150 else "no drift",
                            "reason": f"{age} days after version {champion.version}",
                            "model_version": champion.version,
                            "details": "{}",
                        }
                    ],
                    run.partition,
                    origin,
                )
                decided = monitoring.decide(self.lake, self.pipeline, run.partition, origin)
                run.found = {"retrain": decided.retrain, "reason": decided.reason}
            case "request_retraining":
                RequestRetrainingOperator(**common).execute(context)
                self.train(name, partition_key=name, run_type="asset_triggered")
            case "build":
                training_course.start(self.lake, self.pipeline, run.partition, origin)
            case "promote":
                self.promote(run, origin)
            case "close_training":
                training.close(self.lake, self.registry, self.pipeline, run.partition, origin)

    def promote(self, run: Run, origin: Origin) -> None:
        """Register and promote a version, which is told by the champion before it."""
        before = self.registry.champion_as_of(run.partition)
        version = 1 if before is None else before.version + 1
        made = ModelVersion(
            self.pipeline.name, version, str(run.partition), "r", "c", (), (), {}, {}
        )
        self.registry._append(
            "registered", version, str(run.partition), "", "", made.to_dict(), origin
        )
        reason = f"version {version} after {before and before.version}"
        ledger.record(
            self.lake,
            "promotion",
            str(run.partition),
            "promoted",
            reason,
            origin=origin,
            evidence={"challenger": version},
        )
        self.registry.promote(version, run.partition, reason, origin)

    def digests(self) -> dict[str, str]:
        """Digest the rows of each table, without the names and times of runs."""
        found = {}
        for table in TABLES:
            rows = [
                json.dumps(
                    {key: value for key, value in row.items() if key not in OF_A_RUN},
                    sort_keys=True,
                ).replace(self.pipeline.name, "")
                for row in self.lake.read_held(table).to_pylist()
            ]
            found[table] = hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
        return found


def write(lake: Lake, table: str, name: str, origin: Origin, **values: Any) -> None:
    """Write a partition of one row."""
    row = pa.table({key: [value] for key, value in {**values, PARTITION: name}.items()})
    lake.write(table, row, partitions=[name], origin=origin)


@pytest.fixture
def make_replay(
    store_settings: StoreSettings,
    scheduler: FakeScheduler,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Replay]:
    monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", store_connection(store_settings))

    def make(seed: int, *, history: int = 0) -> Replay:
        loans = pipeline_file.load("loan_default")
        source = loans.sources["loans"].model_copy(update={"history": history})
        policy = loans.retraining.model_copy(
            update={"when": ("drift",), "persist": "1 of 1", "cooldown": 1, "budget": "8 in 8"}
        )
        made = loans.model_copy(
            update={
                "name": f"o{uuid.uuid4().hex[:12]}",
                "sources": {**loans.sources, "loans": source},
                "retraining": policy,
            }
        )
        monkeypatch.setattr(pipeline_file, "load", lambda name: made)
        lake = Lake(store_settings, made.name)
        replay = Replay(lake, made, scheduler, random.Random(seed))

        def ingest(
            lake: Lake, spec: Any, source: str, wanted: Any, origin: Origin, connections: Any
        ) -> Any:
            (name,) = map(str, wanted)
            is_first = not [held for held in lake.partitions("raw_loans") if held < name]
            write(lake, "raw_loans", name, origin, is_first=is_first)
            return lake.reference("raw_loans", name)

        monkeypatch.setattr("include.steps.preparation.ingest", ingest)
        replay.train("2004-Q4", conf={"partition": "2004-Q4"})
        replay.play()
        return replay

    return make


def in_order(replay: Replay) -> Replay:
    """Run one partition after the other."""
    for name in NAMES:
        replay.score(name)
        replay.play()
    answers = Counter(entry.decision for entry in ledger.entries(replay.lake, "retraining"))
    assert answers == {"yes": 4, "no": 4}
    return replay


def test_any_order_gives_the_tables_of_the_right_order(
    make_replay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = in_order(make_replay(0)).digests()
    shuffled = make_replay(1)
    for name in shuffled.dice.sample(NAMES, len(NAMES)):
        shuffled.score(name)
    shuffled.play()
    assert shuffled.digests() == right

    # Backwards with few places, where features look at the partitions before: runs that hold a
    # place and wait for those that find none give way.
    monkeypatch.setattr(base, "_PLACE_NEEDED", base._PLACE_NEEDED * 0)
    backwards = make_replay(2, history=2)
    backwards.places = 3
    for name in reversed(NAMES):
        backwards.score(name)
    backwards.play()
    assert sorted(backwards.gave_way) == NAMES[3:]
    assert {**backwards.digests(), "features": right["features"]} == right
    rows = backwards.lake.read("features").to_pylist()
    assert {row[PARTITION]: row["seen"] for row in rows} == {
        name: ",".join(NAMES[max(at - 2, 0) : at]) for at, name in enumerate(NAMES)
    }


def test_two_runs_of_every_partition_train_each_model_once(make_replay: Any) -> None:
    right, twice = (play_times(make_replay(seed), times) for seed, times in ((3, 1), (4, 2)))
    trained = [str(run.partition) for run in twice.runs if run.dag_id.endswith("_train")]
    asked = [e.partition for e in ledger.entries(right.lake, "retraining") if e.decision == "yes"]
    assert sorted(trained) == ["2004-Q4", *asked]
    found = {name: digest for name, digest in twice.digests().items() if name != "ledger"}
    assert found.items() <= right.digests().items()


def play_times(replay: Replay, times: int) -> Replay:
    """Run each of four partitions so often, all at once."""
    for name in NAMES[:4]:
        for _ in range(times):
            replay.score(name)
    replay.play()
    return replay
