"""A small pipeline with everything landed, and the steps of both of its DAGs, without Spark."""

from __future__ import annotations

import copy
import io
import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Self, TypeVar, cast
from unittest.mock import create_autospec

import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient

from include.calendar.partitions import Frequency, Partition, parse
from include.features import feature_function
from include.registry.champions import Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import ModelVersion
from include.specification.pipeline import Pipeline
from include.steps import (
    history_completion,
    monitoring,
    preparation,
    promotion,
    training,
    training_course,
)
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore, StoredObject
from include.storage.settings import LAKE, LANDING, MLFLOW, REPORTS, StoreSettings
from include.training import training_sets

COLUMN = "expect_column_values_to_"
SUITES = {
    "loans": [{"type": f"{COLUMN}be_between", "kwargs": {"column": "amount", "min_value": 0}}],
    "outcomes": [{"type": f"{COLUMN}be_in_set", "kwargs": {"column": "bad", "value_set": [0, 1]}}],
    "f": [{"type": f"{COLUMN}not_be_null", "kwargs": {"column": "x"}}],
    "f_2": [{"type": f"{COLUMN}not_be_null", "kwargs": {"column": "y"}}],
}
ROWS = 60
# The buckets that hold something of a pipeline.
HELD = (LAKE, LANDING, MLFLOW, REPORTS)
# What differs between two worlds without being wrong: names, moments, versions of tables.
_OWN = re.compile(r'p[0-9a-f]{12}|"version": \d+|version=\d+')


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


TRAINED, SCORED = quarter("2004-Q4"), quarter("2005-Q1")
HISTORY = [quarter(name) for name in ("2004-Q1", "2004-Q2", "2004-Q3", "2004-Q4")]


W = TypeVar("W", bound="World")


class World:
    """A pipeline of its own with everything landed, and the steps of both of its DAGs."""

    def __init__(self, settings: StoreSettings, make_pipeline: Any, version: ModelVersion) -> None:
        name = f"p{uuid.uuid4().hex[:12]}"
        self.lake = Lake(settings, name)
        document = make_pipeline(
            promotion={"require": {"roc_auc": 0.0}, "guard": {"calibration": 1.0}}
        ).model_dump(mode="json", exclude_unset=True)
        text = json.dumps({**document, "name": name}).replace(document["name"], name)
        self.pipeline = Pipeline.model_validate(json.loads(text))
        self.version = version
        self.registered: list[dict[str, str]] = []
        self.registry = Registry(self.lake, tracking_of(self.registered))
        self.kept: dict[str, Any] = {}
        for at, partition in enumerate([*HISTORY, SCORED]):
            self.land(at, partition)

    def again(self) -> Self:
        """Return a world that knows what this one knows, about the same tables."""
        other = copy.copy(self)
        other.registered = list(self.registered)
        other.registry = Registry(self.lake, tracking_of(other.registered))
        other.kept = dict(self.kept)
        return other

    def objects(self) -> dict[str, StoredObject]:
        """List everything of the pipeline that is on the store, by address."""
        store = ObjectStore(self.lake.settings)
        listed = (store.list(f"s3://{bucket}/{self.lake.pipeline}") for bucket in HELD)
        return {item.uri: item for items in listed for item in items}

    def run(self) -> World:
        """Run all steps; returns itself."""
        for _, run in self.steps():
            run()
        return self

    def land(
        self,
        at: int,
        partition: Partition,
        *,
        loans: int = ROWS,
        outcomes: int = ROWS,
        compression: str = "snappy",
    ) -> None:
        """Land loans of a quarter, one of them impossible, and outcomes of the one before.

        Args:
            at: Which quarter it is.
            partition: The quarter.
            loans: How many loans.
            outcomes: How many outcomes.
            compression: Of the file of loans.
        """
        amounts = [float((number * 7 + at) % 50 + 1) for number in range(ROWS)]
        amounts = [18.0 if amount == 17.0 else amount for amount in amounts]
        amounts[3], amounts[5] = -1.0, 17.0
        ids = [f"{partition}/{number}" for number in range(ROWS)]
        lent = pa.table(
            {
                "id": ids,
                "at": pa.array([partition.start] * ROWS, pa.timestamp("us")),
                "amount": amounts,
            }
        )
        self._put(lent.slice(0, loans), f"loans/{partition}", compression)
        before = partition.shift(-1)
        ended = pa.table(
            {
                "id": [f"{before}/{number}" for number in range(ROWS)],
                "bad": pa.array([2 if n == 3 else (n * 7) % 50 // 25 for n in range(ROWS)]),
                "known": pa.array([partition.start + timedelta(days=3)] * ROWS),
            }
        )
        self._put(ended.slice(0, outcomes), f"outcomes/{partition}")

    def _put(self, rows: pa.Table, place: str, compression: str = "snappy") -> None:
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression=compression)
        uri = f"s3://landing/{self.lake.pipeline}/{place}/rows.parquet"
        ObjectStore(self.lake.settings).write(uri, buffer.getvalue())

    def steps(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name the steps of a training and of the scoring after it, in their order."""
        yield from self.training()
        yield from self.scoring(SCORED)

    def training(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name the steps of a training; each reads what those before it handed on."""
        lake, pipeline, registry, kept = self.lake, self.pipeline, self.registry, self.kept

        def build_training_set(origin: Origin) -> Any:
            training_course.start(lake, pipeline, TRAINED, origin)
            history_completion.complete_history(None, lake, pipeline, TRAINED, origin)
            return training_sets.build_training_set(lake, pipeline, TRAINED, origin)

        def select(origin: Origin) -> Any:
            training_set = kept["build_training_set"].to_dict()
            values = {**self.version.to_dict(), "version": 0, "training_set": training_set}
            values["pipeline"] = lake.pipeline
            return registry.register(ModelVersion.from_dict(values), "models:/1", origin)

        def evaluate(origin: Origin) -> Any:
            challenger = kept["select_challenger"]
            return training.evaluate(lake, registry, pipeline, challenger, TRAINED, origin)

        def promote(origin: Origin) -> Any:
            return promotion.carry_out(lake, registry, pipeline, TRAINED, origin)

        def close(origin: Origin) -> Any:
            return training.close(lake, registry, pipeline, TRAINED, origin)

        yield self._step("train", "build_training_set", build_training_set)
        yield self._step("train", "select_challenger", select)
        yield self._step("train", "evaluate_challenger", evaluate)
        yield self._step("train", "promote_challenger", promote)
        yield self._step("train", "close_training", close)

    def scoring(self, partition: Partition) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name the steps of scoring a partition."""
        lake, pipeline, registry, kept = self.lake, self.pipeline, self.registry, self.kept
        run = f"score_{partition}"

        def ingest(source: str) -> Callable[[Origin], Any]:
            return lambda origin: preparation.ingest(lake, pipeline, source, [partition], origin)

        def validate(source: str) -> Callable[[Origin], Any]:
            return lambda origin: preparation.validate_source(
                lake, pipeline, source, kept[f"ingest_{source}"], partition, origin
            )

        def compute(origin: Origin) -> Any:
            sources = {"loans": kept["validate_loans"].reference}
            return feature_function.compute(None, lake, pipeline, sources, [str(partition)], origin)

        def validate_features(origin: Origin) -> Any:
            draft = kept["compute_features"]
            return preparation.validate_features(lake, pipeline, draft, partition, origin)

        def score(origin: Origin) -> Any:
            features = kept["validate_features"].reference
            return monitoring.score_batch(
                None, lake, registry, pipeline, features, partition, origin
            )

        def watch(origin: Origin) -> Any:
            scored = kept["score_batch"]
            return monitoring.watch_drift(lake, registry, pipeline, scored, partition, origin)

        def measure(origin: Origin) -> Any:
            return monitoring.measure_performance(None, lake, registry, pipeline, partition, origin)

        for source in ("loans", "outcomes"):
            yield self._step(run, f"ingest_{source}", ingest(source))
            yield self._step(run, f"validate_{source}", validate(source))
        yield self._step(run, "compute_features", compute)
        yield self._step(run, "validate_features", validate_features)
        yield self._step(run, "score_batch", score)
        yield self._step(run, "detect_drift", watch)
        yield self._step(run, "measure_performance", measure)
        yield self._step(
            run,
            "decide_retraining",
            lambda origin: monitoring.decide(lake, pipeline, partition, origin),
        )

    def _step(
        self, run: str, task: str, work: Callable[[Origin], Any]
    ) -> tuple[str, Callable[[], Any]]:
        def do() -> None:
            self.kept[task] = work(Origin("p", run, task, commit="abc1234"))

        return task, do

    def content(self) -> dict[str, list[str]]:
        """Read all tables, without what differs between two worlds."""
        tables = (
            *("raw_loans", "raw_outcomes", "quarantine_loans", "quarantine_outcomes"),
            *("labels", "features", "quarantine_features", "training_sets", "predictions"),
            *("profiles", "drift", "performance", "ledger", "registry"),
        )
        return {table: rows_of(self.lake, table) for table in tables}

    def assert_only_validated(self) -> None:
        """Require that the tables hold no row that a suite would move away."""
        bad = {"raw_loans": ("amount", -1.0), "raw_outcomes": ("bad", 2), "features": ("x", None)}
        for table, (column, value) in bad.items():
            rows = self.lake.read_held(table)
            if column in rows.column_names:
                assert value not in rows[column].to_pylist(), table


class Beginnings:
    """Worlds that tests begin with: each is made once, and put back for every other test."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[World, dict[str, tuple[str, bytes]]]] = {}

    def of(self, name: str, make: Callable[[], W]) -> W:
        """Return the world of this name as it was when it was made."""
        if name not in self._made:
            made = make()
            store = ObjectStore(made.lake.settings)
            held = {uri: (item.etag, store.read(uri)) for uri, item in made.objects().items()}
            self._made[name] = (made, held)
        world, held = self._made[name]
        store, found = ObjectStore(world.lake.settings), world.objects()
        for uri in found.keys() - held.keys():
            store.delete(uri)
        for uri, (etag, data) in held.items():
            if uri not in found or found[uri].etag != etag:
                store.write(uri, data)
        return cast(W, world.again())


def tracking_of(registered: list[dict[str, str]]) -> Any:
    """Stand in for MLflow, which knows the tags of these versions and adds to them."""
    tracking = create_autospec(Tracking, instance=True)
    tracking.client = create_autospec(MlflowClient, instance=True)
    tracking.versions.side_effect = lambda run_id, tags: [
        number for number, held in enumerate(registered, 1) if tags.items() <= held.items()
    ]

    def register(model_uri: str, tags: dict[str, str]) -> int:
        registered.append(tags)
        return len(registered)

    tracking.register.side_effect = register
    return tracking


def rows_of(lake: Lake, table: str) -> list[str]:
    rows = lake.read_held(table).to_pylist()
    texts = []
    for row in rows:
        row.pop("recorded_at", None)
        texts.append(_OWN.sub("", json.dumps(row, sort_keys=True, default=str)))
    return sorted(texts)
