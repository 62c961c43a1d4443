"""A deployment whose buckets have a prefix: everything goes there, and nothing tells of it."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from include.development.local_run import LocalRun, run
from include.ingestion.landing import land
from include.registry.champions import TABLE as REGISTRY
from include.spark.session import connect
from include.specification.pipeline import Pipeline
from include.storage.lake_tables import Lake
from include.storage.ledger import TABLE as LEDGER
from include.storage.object_store import ObjectStore
from include.storage.settings import BUCKETS, Settings, StoreSettings
from stack.backup import archive
from stack.compose import buckets
from stack.doctor import spark as spark_doctor
from stack.doctor.checkup import Verdict, examine
from stack.embedded import health, parts
from stack.embedded.configuration import Configuration, prepare
from stack.embedded.environment import store_environment
from stack.embedded.layout import Layout
from stack.embedded.processes import end_orphans

PREFIX = "acme-relevo-"
THEIRS = "bucket-of-another-team"
CUSTOMERS = Path(__file__).parents[2] / "data" / "telco_churn_ibm.parquet"
PIPELINE = Pipeline.model_validate(
    {
        "name": "prefixed_customers",
        "description": "Tests.",
        "owner": "tests",
        "task": "binary",
        "partition": "none",
        "sources": {
            "customers": {
                "uri": "s3://landing/prefixed_customers/{partition}/",
                "suite": "telco_churn_customers",
                "labels": {"column": "churn", "positive": "Yes"},
            }
        },
        "features": {
            "function": "include.pipelines.telco_churn:features",
            "suite": "telco_churn_features",
        },
        "training": {
            "window": 1,
            "holdout": 0.3,
            "candidates": {"logistic_regression": {"trials": 1}},
        },
        "promotion": {"require": {"roc_auc": 0.6}, "guard": {"calibration": 0.3}},
    }
)


@pytest.fixture(scope="module")
def prefixed(services: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a store that has none of our buckets without the prefix, and of a Spark."""
    layout = Layout(tmp_path_factory.mktemp("prefixed") / "state")
    layout.create()
    configuration = prepare(layout, {})
    parts.prepare_files(layout, configuration)
    store = StoreSettings.model_validate(
        {
            "endpoint_url": configuration.store_url,
            "access_key": configuration.credentials.store_access_key,
            "secret_key": configuration.credentials.store_secret_key,
            "bucket_prefix": PREFIX,
        }
    )

    def with_prefix(configuration: Configuration) -> dict[str, str]:
        return {**store_environment(configuration), "RELEVO_STORE_BUCKET_PREFIX": PREFIX}

    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for module in (parts, health):
            patch.setattr(module, "BUCKETS", (THEIRS,))
        patch.setattr(parts, "store_environment", with_prefix)
        stack.callback(end_orphans, layout)  # Spark's workers
        for part, launch, check in (
            ("store", parts.launch_store, health.check_store),
            ("spark", parts.launch_spark, health.check_spark),
        ):
            server = start(launch(layout, configuration), layout.log_of(part))
            stack.callback(server.wait)
            stack.callback(server.kill)
            wait(server, check, configuration, layout.log_of(part))
        assert buckets.ensure(store, BUCKETS) == [f"{PREFIX}{name}" for name in BUCKETS]
        yield services.model_copy(
            update={
                "store": store,
                "spark_remote": SecretStr(configuration.spark_remote),
            }
        )


def start(launch: parts.Launch, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            launch.command,
            env=launch.environment,
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def wait(
    server: subprocess.Popen[bytes],
    check: Callable[[Configuration], str | None],
    configuration: Configuration,
    log: Path,
) -> None:
    deadline = time.monotonic() + 120
    while (trouble := check(configuration)) is not None:
        assert server.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, trouble
        time.sleep(0.2)


@pytest.fixture(scope="module")
def lived(prefixed: Settings, imported: None) -> LocalRun:
    """Land a file, train on it, score and watch it."""
    assert land(ObjectStore(prefixed.store), PIPELINE, CUSTOMERS).rows == {"snapshot-0001": 7043}
    with connect(prefixed.spark_remote) as spark:
        return run(spark, prefixed, PIPELINE, lambda *told: None, sample=1000)


def test_a_whole_life_needs_no_bucket_without_the_prefix(
    prefixed: Settings, lived: LocalRun
) -> None:
    assert (lived.promoted, lived.scored) == (True, "snapshot-0001")
    assert Lake(prefixed.store, lived.pipeline).row_counts("predictions") == {"snapshot-0001": 1000}
    store = ObjectStore(prefixed.store)
    found = {bucket["Name"] for bucket in store.client.list_buckets()["Buckets"]}
    assert found == {THEIRS, *(f"{PREFIX}{name}" for name in BUCKETS)}
    assert len(lived.pages) > 3
    assert all(b"<html" in store.read(page) for page in lived.pages)


def test_what_is_kept_has_addresses_without_the_prefix(prefixed: Settings, lived: LocalRun) -> None:
    store, lake = ObjectStore(prefixed.store), Lake(prefixed.store, lived.pipeline)
    objects = [
        item.uri for name in ("landing", "lake", "reports") for item in store.list(f"s3://{name}")
    ]
    tables = str([lake.read(name).to_pylist() for name in (REGISTRY, LEDGER)])
    assert f"s3://lake/{lived.pipeline}/models/" in tables
    assert PREFIX not in tables
    # delta-rs notes in a table's first commit where it was made, which nobody reads.
    told = {
        uri: [x for x in store.read(uri).splitlines() if b'"commitInfo"' not in x]
        for uri in objects
    }
    assert [uri for uri in objects if PREFIX in f"{uri}{told[uri]}"] == []


def test_a_backup_holds_the_buckets_by_their_plain_names(
    prefixed: Settings, lived: LocalRun
) -> None:
    stream = io.BytesIO()
    saved = archive.save_bucket(prefixed.store, "reports", stream)
    assert saved.objects >= len(lived.pages)
    stream.seek(0)
    assert archive.load_bucket(prefixed.store, "logs", stream) == saved
    assert archive.measure_bucket(prefixed.store, "logs") == saved
    assert archive.measure_bucket(prefixed.store, "lake").objects > 0


def test_the_bucket_of_somebody_else_keeps_its_name(prefixed: Settings) -> None:
    store = ObjectStore(prefixed.store)
    store.write(f"s3://{THEIRS}/a.txt", b"theirs")
    assert [item.uri for item in store.list(f"s3://{THEIRS}")] == [f"s3://{THEIRS}/a.txt"]
    path = prefixed.store.path(f"s3://{THEIRS}/a.txt")
    assert prefixed.store.filesystem().open_input_stream(path).read() == b"theirs"


def test_the_doctor_finds_workers_that_have_the_prefix(prefixed: Settings) -> None:
    found: list[Any] = list(
        examine(spark_doctor.visit(prefixed.spark_remote, prefixed.store), frozenset())
    )
    assert {f.check: f.found for f in found if f.verdict is not Verdict.OK} == {}
    assert ObjectStore(prefixed.store).list("s3://lake/_doctor") == ()
