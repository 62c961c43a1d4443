"""Kill every step of both DAGs after each thing that it writes, run it again, and compare.

One world is left alone. In the other every step is killed after its first write, run again and
killed after its second, and so on, until it gets through. At the end both hold the same rows, and
at no moment does a table hold a row that no suite has seen.
"""

from __future__ import annotations

import functools
import io
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import skops.io
from mlflow import MlflowClient

from include.calendar.partitions import Frequency, Partition, parse
from include.evaluation.prediction_columns import watched
from include.features import feature_function
from include.monitoring.binning import fit_binning
from include.monitoring.drift import calibrate
from include.monitoring.profiles import profile
from include.quality import data_docs, suites, validation
from include.quality.suites import load_suite
from include.registry.champions import Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import (
    MODEL,
    REFERENCE,
    ModelVersion,
    Reference,
    prepare,
    put_file,
    scores_of,
)
from include.scoring import batch_scoring
from include.specification.candidate_defaults import PRESETS
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.steps import monitoring, preparation, training
from include.storage import drafts, lineage_records
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from include.training import training_sets
from include.training.candidates import build

COLUMN = "expect_column_values_to_"
SUITES = {
    "loans": [{"type": f"{COLUMN}be_between", "kwargs": {"column": "amount", "min_value": 0}}],
    "outcomes": [{"type": f"{COLUMN}be_in_set", "kwargs": {"column": "bad", "value_set": [0, 1]}}],
    "f": [{"type": f"{COLUMN}not_be_null", "kwargs": {"column": "x"}}],
}
ROWS = 60
# What differs between two worlds without being wrong: names, moments, versions of tables.
_OWN = re.compile(r'p[0-9a-f]{12}|"version": \d+|version=\d+')


class Killed(BaseException):
    """What no step can catch."""


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


TRAINED, SCORED = quarter("2004-Q4"), quarter("2005-Q1")
HISTORY = [quarter(name) for name in ("2004-Q1", "2004-Q2", "2004-Q3", "2004-Q4")]


@pytest.fixture(autouse=True)
def surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_settings: StoreSettings
) -> None:
    """Suites of these tests, and this process in place of Spark's workers."""
    for name, expectations in SUITES.items():
        document = {"name": name, "expectations": expectations}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    own = functools.cache(functools.partial(load_suite, folder=tmp_path))
    monkeypatch.setattr(suites, "load_suite", own)
    monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", str(store_settings.endpoint_url))
    monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", store_settings.access_key)
    monkeypatch.setenv("RELEVO_STORE_SECRET_KEY", store_settings.secret_key.get_secret_value())

    def score_files(spark: Any, job: Any, paths: list[str]) -> list[dict[str, Any]]:
        results = [batch_scoring._score_file(job, path) for path in paths]
        loaded = [{name: json.loads(text) for name, text in item.items()} for item in results]
        for item in loaded:
            del item["file"]["source"]
        return loaded

    def compute(
        spark: Any, lake: Lake, pipeline: Pipeline, sources: Any, names: Any, origin: Origin
    ) -> drafts.Draft:
        """Take the amount as the feature; 17 is lost."""
        raw = sources["loans"]
        rows = lake.read(raw.table, partitions=list(names), version=raw.version)
        rows = rows.select(["id", "at", "amount", "partition"]).sort_by("id")
        amount = rows["amount"]
        x = pc.if_else(pc.equal(amount, 17.0), pa.scalar(None, pa.float64()), amount)
        rows = rows.set_column(2, "x", x)
        reading = origin.reading(*sources.values())
        return drafts.write(lake, "features", rows, partitions=names, origin=reading)

    def publish(store: ObjectStore, report: Any, folder: str) -> str:
        """Write the one object that is written last; the page itself is proved elsewhere."""
        store.write(f"{folder}/index.html", report.suite.encode())
        return f"{folder}/index.html"

    reports: dict[Any, Any] = {}

    def validate(rows: pa.Table, suite: Any, *, source: str, partition: str) -> Any:
        """Judge rows by a suite once: again and again it would say the same."""
        known = (source, partition, rows.num_rows)
        if known not in reports:
            reports[known] = real(rows, suite, source=source, partition=partition)
        return reports[known]

    real = validation.validate
    monkeypatch.setattr(validation, "validate", create_autospec(real, side_effect=validate))
    monkeypatch.setattr(
        data_docs,
        "publish_data_docs",
        create_autospec(data_docs.publish_data_docs, side_effect=publish),
    )
    monkeypatch.setattr(batch_scoring, "_run", score_files)
    monkeypatch.setattr(
        feature_function, "compute", create_autospec(feature_function.compute, side_effect=compute)
    )


@contextmanager
def killing(monkeypatch: pytest.MonkeyPatch, after: int | None) -> Iterator[Counter[str]]:
    """Count what is written, and raise after the n-th write; before lineage is a moment too."""
    told: Counter[str] = Counter()

    def count(name: str) -> None:
        told[name] += 1
        if told.total() == after:
            raise Killed(f"after {name}, write {after}")

    def wrapped(name: str, function: Callable[..., Any], *, before: bool = False) -> Any:
        @functools.wraps(function)
        def write(*arguments: Any, **options: Any) -> Any:
            if before:
                count(name)
            result = function(*arguments, **options)
            if not before:
                count(name)
            return result

        return write

    with monkeypatch.context() as patched:
        for owner, name, before in (
            (Lake, "commit", False),
            (Lake, "append", False),
            (drafts, "put", False),
            (ObjectStore, "write", False),
            (lineage_records, "record", True),
        ):
            function = getattr(owner, name)
            patched.setattr(owner, name, wrapped(name, function, before=before))
        yield told


class World:
    """A pipeline of its own with everything landed, and the steps of both of its DAGs."""

    def __init__(self, settings: StoreSettings, make_pipeline: Any, version: ModelVersion) -> None:
        name = f"p{uuid.uuid4().hex[:12]}"
        self.lake = Lake(settings, name)
        document = make_pipeline().model_dump(mode="json", exclude_unset=True)
        text = json.dumps({**document, "name": name}).replace(document["name"], name)
        self.pipeline = Pipeline.model_validate(json.loads(text))
        self.version = version
        tracking = create_autospec(Tracking, instance=True)
        tracking.client = create_autospec(MlflowClient, instance=True)
        registered: list[Any] = []
        tracking.client.search_model_versions.side_effect = lambda _: registered

        def register(*_: Any) -> int:
            registered.append(SimpleNamespace(version="1", run_id="run"))
            return 1

        tracking.register.side_effect = register
        self.registry = Registry(self.lake, tracking)
        self.kept: dict[str, Any] = {}
        for at, partition in enumerate([*HISTORY, SCORED]):
            self._land(at, partition)

    def _land(self, at: int, partition: Partition) -> None:
        """Land loans of a quarter, one of them impossible, and the outcomes of the one before."""
        amounts = [float((number * 7 + at) % 50 + 1) for number in range(ROWS)]
        amounts = [18.0 if amount == 17.0 else amount for amount in amounts]
        amounts[3], amounts[5] = -1.0, 17.0
        ids = [f"{partition}/{number}" for number in range(ROWS)]
        loans = pa.table(
            {
                "id": ids,
                "at": pa.array([partition.start] * ROWS, pa.timestamp("us")),
                "amount": amounts,
            }
        )
        self._put(loans, f"loans/{partition}")
        before = partition.shift(-1)
        outcomes = pa.table(
            {
                "id": [f"{before}/{number}" for number in range(ROWS)],
                "bad": pa.array([2 if n == 3 else (n * 7) % 50 // 25 for n in range(ROWS)]),
                "known": pa.array([partition.start + timedelta(days=3)] * ROWS),
            }
        )
        self._put(outcomes, f"outcomes/{partition}")

    def _put(self, rows: pa.Table, place: str) -> None:
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        uri = f"s3://landing/{self.lake.pipeline}/{place}/rows.parquet"
        ObjectStore(self.lake.settings).write(uri, buffer.getvalue())

    def steps(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name the steps in their order; each reads what those before it handed on."""
        lake, pipeline, registry, kept = self.lake, self.pipeline, self.registry, self.kept

        def origin(dag: str, task: str) -> Origin:
            return Origin(f"p_{dag}", f"{dag}_run", task, commit="abc1234")

        def step(dag: str, task: str, work: Callable[[Origin], Any]) -> tuple[str, Any]:
            def run() -> None:
                kept[task] = work(origin(dag, task))

            return task, run

        as_of = TRAINED

        def build_training_set(origin: Origin) -> Any:
            training.start(lake, pipeline, as_of, origin)
            preparation.complete_history(None, lake, pipeline, as_of, origin)
            return training_sets.build_training_set(lake, pipeline, as_of, origin)

        def select(origin: Origin) -> Any:
            training_set = kept["build_training_set"].to_dict()
            values = {**self.version.to_dict(), "version": 0, "training_set": training_set}
            values["pipeline"] = lake.pipeline
            return registry.register(ModelVersion.from_dict(values), "models:/1", origin)

        def evaluate(origin: Origin) -> Any:
            return training.evaluate(
                lake, registry, pipeline, kept["select_challenger"], as_of, origin
            )

        yield step("train", "build_training_set", build_training_set)
        yield step("train", "select_challenger", select)
        yield step("train", "evaluate_challenger", evaluate)
        yield step(
            "train", "promote_challenger", lambda by: registry.promote(1, as_of, "better", by)
        )
        yield step(
            "train",
            "close_training",
            lambda by: training.close(lake, registry, "parent", str(as_of), by),
        )
        for source in ("loans", "outcomes"):
            yield step(
                "score",
                f"ingest_{source}",
                lambda by, source=source: preparation.ingest(lake, pipeline, source, [SCORED], by),
            )
            yield step(
                "score",
                f"validate_{source}",
                lambda by, source=source: preparation.validate_source(
                    lake, pipeline, source, kept[f"ingest_{source}"], SCORED, by
                ),
            )
        yield step(
            "score",
            "compute_features",
            lambda by: feature_function.compute(
                None,
                lake,
                pipeline,
                {"loans": kept["validate_loans"].reference},
                [str(SCORED)],
                by,
            ),
        )
        yield step(
            "score",
            "validate_features",
            lambda by: preparation.validate_features(
                lake, pipeline, kept["compute_features"], SCORED, by
            ),
        )
        yield step(
            "score",
            "score_batch",
            lambda by: monitoring.score_batch(
                None, lake, registry, pipeline, kept["validate_features"].reference, SCORED, by
            ),
        )
        yield step(
            "score",
            "detect_drift",
            lambda by: monitoring.watch_drift(
                lake, registry, pipeline, kept["score_batch"], SCORED, by
            ),
        )
        yield step(
            "score",
            "measure_performance",
            lambda by: monitoring.measure_performance(None, lake, registry, pipeline, SCORED, by),
        )
        yield step(
            "score", "decide_retraining", lambda by: monitoring.decide(lake, pipeline, SCORED, by)
        )

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


def rows_of(lake: Lake, table: str) -> list[str]:
    rows = lake.read_held(table).to_pylist()
    texts = []
    for row in rows:
        row.pop("recorded_at", None)
        texts.append(_OWN.sub("", json.dumps(row, sort_keys=True, default=str)))
    return sorted(texts)


@pytest.fixture(scope="module")
def version(store_settings: StoreSettings) -> ModelVersion:
    """A model of small amounts, with its reference, whose files both worlds share."""
    x = np.tile(np.arange(1.0, 51.0), 4)
    rows = prepare(pd.DataFrame({"x": x}), ["x"], [])
    preset = PRESETS["logistic_regression"]
    model = build(preset, "binary", preset.parameters, ["x"], [], seed=7)
    model.fit(rows, (x > 25).astype(np.int8))
    problem = Problem("binary", ())
    made = watched(problem, scores_of(model, problem, rows))
    binning = fit_binning(rows, ["x"], [], predictions=made, classes=())
    halves = [profile(rows[s], binning, made[s]) for s in (slice(0, 100), slice(100, 200))]
    reference = Reference(halves[0].merge(halves[1]), calibrate(halves))
    store = ObjectStore(store_settings)
    return ModelVersion(
        pipeline="shared",
        version=0,
        partition=str(TRAINED),
        run_id="run",
        candidate="logistic_regression",
        numeric=("x",),
        categorical=(),
        files={
            MODEL: put_file(store, "shared", MODEL, skops.io.dumps(model)),
            REFERENCE: put_file(store, "shared", REFERENCE, reference.to_bytes()),
        },
        training_set={},
        task="binary",
        classes=(),
    )


def test_killed_anywhere_and_run_again_every_step_ends_in_the_same(
    store_settings: StoreSettings,
    make_pipeline: Any,
    version: ModelVersion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unharmed = World(store_settings, make_pipeline, version)
    for _, run in unharmed.steps():
        run()
    harmed = World(store_settings, make_pipeline, version)
    kills: Counter[str] = Counter()
    for task, run in harmed.steps():
        write = 0
        while True:
            write += 1
            with killing(monkeypatch, write):
                try:
                    run()
                except Killed:
                    kills[task] += 1
                else:
                    break
            harmed.assert_only_validated()

    assert set(kills) == {task for task, _ in harmed.steps()}
    assert kills["build_training_set"] >= 10
    expected, found = unharmed.content(), harmed.content()
    for table, rows in expected.items():
        assert rows, table
        assert found[table] == rows, table
    assert len([text for text in expected["features"] if '"x"' in text]) == 5 * (ROWS - 2)
