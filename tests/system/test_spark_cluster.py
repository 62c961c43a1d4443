"""A Spark cluster does what two local cores do, and loses workers without losing rows."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
import skops.io
from pydantic import SecretStr
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql import functions as f

from include.features.feature_function import compute
from include.features.point_in_time import join_labels
from include.monitoring.binning import fit_binning
from include.monitoring.drift import calibrate
from include.monitoring.profiles import profile
from include.registry.model_files import (
    MODEL,
    REFERENCE,
    ModelVersion,
    Reference,
    prepare,
    put_file,
)
from include.scoring import batch_scoring
from include.spark import lake_source
from include.spark.session import connect
from include.specification.candidate_defaults import PRESETS
from include.specification.pipeline import Pipeline
from include.storage import drafts
from include.storage.data_files import write_files
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings
from include.training.candidates import build
from stack.embedded.ports import LOOPBACK
from tests.system.spark_cluster import CONNECT, MASTER, WORKERS, SparkCluster, until

pytestmark = pytest.mark.system

BATCH, BEFORE = "2005-Q1", "2004-Q4"
STARTS = {BEFORE: datetime(2004, 10, 1), BATCH: datetime(2005, 1, 1)}
FILES, ROWS = 12, 8_000
ON_BOTH = {"0", "1"}  # Spark's names of the executors of a cluster that has lost none
ORIGIN = Origin("p_score", "run_1", "task_1", commit="abc1234")


@pytest.fixture(scope="module")
def cluster(services: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A cluster whose executors reach the store of the local Spark."""
    made = SparkCluster(tmp_path_factory.mktemp("cluster"), services.store)
    try:
        made.start(MASTER, *WORKERS, CONNECT)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def remotes(services: Settings, cluster: SparkCluster) -> dict[str, SecretStr]:
    """Addresses of the local Spark and of the cluster."""
    return {"local": services.spark_remote, "cluster": cluster.remote}


@dataclass(frozen=True)
class Batch:
    """A batch of several files, the model that scores it, and what comes out undisturbed."""

    pipeline: Pipeline
    lake: Lake
    features: TableReference
    champion: ModelVersion
    expected: batch_scoring.Scores
    rows: pd.DataFrame

    def score(self, remote: SecretStr) -> batch_scoring.Scores:
        """Score it again, as a task does."""
        with connect(remote) as spark:
            return batch_scoring.score(
                spark, self.lake, self.pipeline, self.features, self.champion, ORIGIN
            )

    def check(self, scored: batch_scoring.Scores) -> None:
        """Require the undisturbed result: each row once, and every bit of it."""
        files = self.lake.files(scored.predictions)
        assert (len(files), sum(file.rows for file in files)) == (FILES, FILES * ROWS)
        assert scored.predictions.rows == FILES * ROWS
        assert_same(predictions(self.lake, scored), self.rows)
        assert scored.profile.to_dict() == self.expected.profile.to_dict()

    def objects(self) -> set[str]:
        """Addresses of the prediction files on the store, committed or not."""
        folder = f"{self.lake.uri(batch_scoring.TABLE)}/partition={BATCH}"
        return {item.uri for item in ObjectStore(self.lake.settings).list(folder)}


@pytest.fixture(scope="module")
def batch(services: Settings) -> Batch:
    """The batch, scored by the local Spark."""
    lake = Lake(services.store, f"p{uuid.uuid4().hex[:12]}")
    parts = [
        with_partition(pa.Table.from_pandas(records(ROWS, seed), preserve_index=False), BATCH)
        for seed in range(FILES)
    ]
    files = [
        file for part in parts for file in write_files(lake.settings, lake.uri("features"), part)
    ]
    features = lake.commit("features", files, parts[0].schema, partitions=[BATCH], origin=ORIGIN)
    pipeline, champion = make_pipeline(lake), train(lake)
    with connect(services.spark_remote) as spark:
        expected = batch_scoring.score(spark, lake, pipeline, features, champion, ORIGIN)
    return Batch(pipeline, lake, features, champion, expected, predictions(lake, expected))


def records(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"{seed}/{number}" for number in range(rows)],
            "at": pd.Series([STARTS[BATCH]] * rows, dtype="datetime64[us]"),
            "x": random.normal(size=rows),
            "c": random.choice(["a", "b", None], size=rows),
        }
    )


def make_pipeline(lake: Lake, function: str = "include.pipelines.x:features") -> Pipeline:
    landing = f"s3://landing/{lake.pipeline}"
    source = {"uri": f"{landing}/loans/{{partition}}/", "suite": "s"}
    payments = {"uri": f"{landing}/payments/{{partition}}/", "suite": "s", "history": 1}
    labels = {"column": "bad", "known_at": "known"}
    outcomes = {"uri": f"{landing}/outcomes/{{partition}}/", "suite": "s", "labels": labels}
    return Pipeline.model_validate(
        {
            "name": lake.pipeline,
            "description": "Tests.",
            "owner": "tests",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "partition": "quarterly",
            "schedule": {"cron": "0 6 5 1,4,7,10 *", "start": "2004-01-01"},
            "sources": {"loans": source, "payments": payments, "outcomes": outcomes},
            "features": {"function": function, "suite": "f"},
            "training": {"window": 3, "candidates": {"hist_gradient_boosting": {}}},
            "promotion": {"require": {"roc_auc": 0.6}},
        }
    )


def train(lake: Lake) -> ModelVersion:
    """A champion with its reference; many trees, so that scoring takes a while."""
    rows = prepare(records(4000, 1000), ["x"], ["c"])
    preset = PRESETS["hist_gradient_boosting"]
    parameters = {**preset.parameters, "max_iter": 400, "early_stopping": False}
    model = build(preset, "binary", parameters, ["x"], ["c"], seed=7)
    random = np.random.default_rng(1)
    model.fit(rows, (rows["x"] + random.normal(size=len(rows)) > 0).to_numpy(np.int8))
    made = model.predict_proba(rows)[:, 1]
    binning = fit_binning(rows, ["x"], ["c"], predictions=made)
    halves = [profile(rows[s], binning, made[s]) for s in (slice(0, 2000), slice(2000, 4000))]
    reference = Reference(halves[0].merge(halves[1]), calibrate(halves))
    store = ObjectStore(lake.settings)
    return ModelVersion(
        pipeline=lake.pipeline,
        version=5,
        partition=BEFORE,
        run_id="run",
        candidate="hist_gradient_boosting",
        numeric=("x",),
        categorical=("c",),
        files={
            MODEL: put_file(store, lake.pipeline, MODEL, skops.io.dumps(model)),
            REFERENCE: put_file(store, lake.pipeline, REFERENCE, reference.to_bytes()),
        },
        training_set={},
        task="binary",
        classes=(),
    )


def predictions(lake: Lake, scored: batch_scoring.Scores) -> pd.DataFrame:
    table = lake.read(batch_scoring.TABLE, version=scored.predictions.version)
    return by_key(table.to_pandas())


def by_key(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("id", ignore_index=True)


def assert_same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Require equal rows; numbers to the last bit."""
    pd.testing.assert_frame_equal(left, right, check_exact=True)


class TestTheSame:
    """Row for row what the local Spark gives."""

    @pytest.mark.proof  # its short form: scores, which are read and written in the same way
    def test_features_with_a_shuffle_and_a_point_in_time_join(
        self,
        services: Settings,
        cluster: SparkCluster,
        remotes: dict[str, SecretStr],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        module = ModuleType(f"include.pipelines.p{uuid.uuid4().hex}")
        module.features = paid_before  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        results, joined = [], []
        for remote in remotes.values():
            lake = Lake(services.store, f"p{uuid.uuid4().hex[:12]}")
            pipeline = make_pipeline(lake, f"{module.__name__}:features")
            sources = put_sources(lake)
            done = len(cluster.executors_of_tasks())
            with connect(remote) as spark:
                draft = compute(spark, lake, pipeline, sources, [BEFORE, BATCH], ORIGIN)
                held = drafts.load(lake, draft)
                made = lake.commit(
                    "features", held.files, held.schema, partitions=[BEFORE, BATCH], origin=ORIGIN
                )
                read = lake_source.read(
                    spark,
                    lake,
                    "features",
                    version=made.version,
                    partitions=[BATCH],
                    columns=["id", "paid"],
                ).toPandas()
            rows = by_key(lake.read("features").to_pandas())
            assert_same(
                by_key(read),
                by_key(rows.loc[rows["partition"] == BATCH, ["id", "paid"]]),
            )
            results.append(rows)
            joined.append(join_labels(rows, known_labels(rows), pipeline, datetime(2005, 6, 1)))
        assert len(results[0]) == 8000
        assert results[0]["paid"].nunique() > 100
        assert 0 < len(joined[0]) < len(results[0])
        assert_same(results[0], results[1])
        assert_same(joined[0], joined[1])
        assert set(cluster.executors_of_tasks()[done:]) == ON_BOTH

    def test_scores_of_several_files(self, batch: Batch, cluster: SparkCluster) -> None:
        done = len(cluster.executors_of_tasks())
        batch.check(batch.score(cluster.remote))
        executors = cluster.executors_of_tasks()[done:]
        assert len(executors) == FILES  # a task for each file, and no shuffle before
        assert set(executors) == ON_BOTH

    def test_python_of_executors_runs_below_the_workers(self, cluster: SparkCluster) -> None:
        def where(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            import os

            names = [parent.pid for parent in psutil.Process(os.getpid()).parents()]
            for _ in batches:
                pass
            yield pa.RecordBatch.from_pylist([{"parents": names}])

        with connect(cluster.remote) as spark:
            rows = spark.range(0, 8, 1, 8).mapInArrow(where, "parents array<long>").collect()
        executors = cluster.executors()
        assert len(executors) == 2
        assert all(executors & set(row.parents) for row in rows)


def paid_before(loans: Any, payments: Any) -> Any:
    """Add up what was paid before each loan; whole cents, so that no order of adding matters."""
    earlier = (loans["id"] == payments["payer"]) & (payments["paid_at"] < loans["at"])
    both = loans.join(payments, earlier, "left")
    return both.groupBy("id", "at", "amount").agg(
        f.coalesce(f.sum("cents"), f.lit(0)).alias("paid"),
        f.count("cents").alias("payments"),
        f.log1p("amount").alias("log_amount"),
    )


def put_sources(lake: Lake) -> dict[str, TableReference]:
    """Write loans and payments of two quarters, four files a quarter."""
    random = np.random.default_rng(3)
    for table in ("raw_loans", "raw_payments"):
        files, schema = [], None
        for name, start in STARTS.items():
            for part in range(4):
                ids = [f"{name}/{part}/{number}" for number in range(1000)]
                days = pa.array(
                    [start + timedelta(days=int(d)) for d in random.integers(0, 89, 1000)]
                )
                columns = (
                    {"id": ids, "at": days, "amount": random.gamma(2.0, 1000.0, 1000)}
                    if table == "raw_loans"
                    else {
                        "payer": random.choice(ids, 1000),
                        "paid_at": days,
                        "cents": random.integers(1, 100_000, 1000),
                    }
                )
                rows = with_partition(pa.table(columns), name)
                schema = rows.schema
                files += write_files(lake.settings, lake.uri(table), rows)
        lake.commit(table, files, schema, partitions=[*STARTS], origin=ORIGIN)
    return {name: lake.reference(f"raw_{name}") for name in ("loans", "payments")}


def known_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """Two labels for each loan, the second a correction that comes after the join's moment."""
    first = pd.DataFrame(
        {"id": rows["id"], "label": 0, "known_at": rows["at"] + timedelta(days=90)}
    )
    second = first.assign(label=1, known_at=first["known_at"] + timedelta(days=30))
    return pd.concat([first, second], ignore_index=True)


class TestLosses:
    """What is killed in the middle, by SIGKILL, changes nothing."""

    @pytest.fixture
    def scoring_begun(
        self, batch: Batch, cluster: SparkCluster
    ) -> Iterator[Callable[[], Future[batch_scoring.Scores]]]:
        """Start scoring; returns when the first of the files is on the store."""
        with ThreadPoolExecutor(max_workers=1) as thread:

            def begin() -> Future[batch_scoring.Scores]:
                before = batch.objects()
                running = thread.submit(batch.score, cluster.remote)
                until(lambda: running.done() or batch.objects() > before, "a file", cluster.logs)
                assert not running.done()
                return running

            yield begin

    def test_a_worker_and_its_executor(
        self, batch: Batch, cluster: SparkCluster, scoring_begun: Any
    ) -> None:
        before = batch.objects()
        running = scoring_begun()
        cluster.kill(WORKERS[0])
        assert len(batch.objects() - before) < FILES
        assert not running.done()
        batch.check(running.result(timeout=600))
        assert "ExecutorLostFailure" in cluster.events()  # a task was in the middle of its file
        cluster.start(WORKERS[0])

    @pytest.mark.proof  # its short form is the loss of a worker
    def test_the_master_and_then_all_workers_until_one_is_back(
        self, batch: Batch, cluster: SparkCluster, scoring_begun: Any
    ) -> None:
        cluster.kill(MASTER)
        with connect(cluster.remote) as spark:
            assert spark.range(3).count() == 3  # the executors need no master
        cluster.start(MASTER)
        running = scoring_begun()
        for name in WORKERS:
            cluster.kill(name)
        until(lambda: not cluster.workers(), "the master to notice", cluster.logs)
        assert not running.done()
        cluster.start(WORKERS[1])
        batch.check(running.result(timeout=600))
        cluster.start(WORKERS[0])

    @pytest.mark.proof  # its short form is the loss of a worker
    def test_the_connect_server_between_two_calls(
        self, batch: Batch, cluster: SparkCluster
    ) -> None:
        with connect(cluster.remote) as spark:
            assert spark.range(3).count() == 3
        cluster.kill(CONNECT)
        cluster.start(CONNECT)
        batch.check(batch.score(cluster.remote))


class TestWhoMayJoin:
    @pytest.mark.parametrize("token", ["", ";token=wrong"])
    def test_no_client_without_the_token(self, cluster: SparkCluster, token: str) -> None:
        with (
            pytest.raises(SparkConnectGrpcException, match="UNAUTHENTICATED"),
            connect(SecretStr(f"{cluster.address}{token}")),
        ):
            pass

    def test_no_worker_without_the_secret(self, cluster: SparkCluster) -> None:
        cluster.launch("stranger", cluster_secret="f" * 64)
        until(
            lambda: "Failed to connect to master" in cluster.log("stranger"),
            "a refusal",
            lambda: cluster.log("stranger"),
        )
        assert len(cluster.workers()) == len(WORKERS)
        cluster.kill("stranger")

    def test_only_loopback_is_served(self, cluster: SparkCluster) -> None:
        listening = [
            connection
            for process in cluster.processes()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) > 6
        assert {connection.laddr.ip.removeprefix("::ffff:") for connection in listening} == {
            LOOPBACK
        }

    def test_no_secret_where_others_can_read(self, cluster: SparkCluster) -> None:
        with connect(cluster.remote) as spark:
            settings = {row.key: row.value for row in spark.sql("SET").collect()}
        places = {
            "command lines": "\n".join(" ".join(item.cmdline()) for item in cluster.processes()),
            "settings": str(settings),
            "event log": cluster.events(),
            "logs": cluster.logs(),
        }
        assert "spark.authenticate.secret" in places["settings"]
        assert "SparkListenerEnvironmentUpdate" in places["event log"]
        hidden = (cluster.cluster_secret, cluster.token, cluster.store.keys[1])
        found = [name for name, text in places.items() if any(str(s) in text for s in hidden)]
        assert not found
        assert not re.search("executorEnv", places["settings"])
