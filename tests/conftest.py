"""What tests of every kind share. Nothing heavy is imported before a test asks for it."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stack.embedded.environment import ONE_THREAD

if TYPE_CHECKING:
    from include.storage.settings import Settings, StoreSettings

# Airflow reads these when it is imported, which any test may do. Its home is thrown away.
PROJECT = Path(__file__).parent.parent
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(PROJECT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(PROJECT / "plugins")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# On a busy machine, two threads wait for each other ten times as long as one works.
os.environ.update(ONE_THREAD)
# A full collection walks through every library that was ever imported: a tenth of the time.
gc.set_threshold(100_000, 50, 100)
# Servers that live for minutes: compile little, collect garbage on one thread.
os.environ["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

BUCKETS = ("landing", "lake", "mlflow", "reports")
# The server's gRPC ports are these plus 10,000; both ranges stay below the kernel's ports for
# outgoing connections.
_PORTS = range(12_000, 21_000)
_HTTP_PORTS = ("s3", "master", "volume", "filer", "admin")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let workers take whole groups of tests (``./relevo test`` starts two)."""
    from tests.scheduling import SharedServers

    return SharedServers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and mark what is too slow to run after each edit."""
    from tests.scheduling import SLOW_FIXTURES, in_order, misplaced

    wrong = list(misplaced(items))
    if wrong:
        raise pytest.UsageError("\n".join(wrong))
    items[:] = in_order(items)
    for item in items:
        asks = set(getattr(item, "fixturenames", ()))
        if asks & SLOW_FIXTURES or item.get_closest_marker("system"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def store_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    """Settings of a real SeaweedFS with empty buckets, started for this session."""
    from include.storage.settings import StoreSettings

    folder = tmp_path_factory.mktemp("store")
    ports = dict(zip(_HTTP_PORTS, free_ports(len(_HTTP_PORTS)), strict=True))
    settings = StoreSettings(
        endpoint_url=f"http://127.0.0.1:{ports['s3']}",
        access_key=secrets.token_hex(8),
        secret_key=secrets.token_hex(16),
    )
    for name in ("logs", "configuration", "data"):
        (folder / name).mkdir()
    command = [
        str(Path(sys.executable).parent / "weed"),
        f"-logdir={folder / 'logs'}",
        f"-config_dir={folder / 'configuration'}",
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.iam.readOnly=false",  # tests make users with policies
        "-s3.autoCreateBucket=false",
        f"-bucket={','.join(BUCKETS)}",
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key.get_secret_value(),
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, cwd=folder
        )
        try:
            _await_buckets(settings, server, log)
            yield settings
        finally:
            server.kill()  # it would take ten seconds to save what nobody reads again
            server.wait()


@pytest.fixture(autouse=True)
def _environment_of_its_own() -> Iterator[None]:
    """Take back what a test sets: a command finds its store by variables, the next test too.

    Commands may set variables for good, being processes of their own; tests call them in theirs.
    """
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        if port not in found and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _await_buckets(settings: StoreSettings, server: subprocess.Popen[bytes], log: Path) -> None:
    from include.errors import SourceError
    from include.storage.object_store import ObjectStore

    store = ObjectStore(settings)
    deadline = time.monotonic() + 60
    while True:
        try:
            for bucket in BUCKETS:
                store.list(f"s3://{bucket}")
        except SourceError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the store did not start:\n{log.read_text()[-4000:]}"
                ) from error
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a real store, MLflow server and Spark Connect server, without Airflow."""
    from include.storage.settings import Settings
    from stack.embedded.environment import library_environment
    from stack.embedded.layout import Layout
    from stack.embedded.operation import Stack

    layout = Layout(tmp_path_factory.mktemp("services") / "state")
    before = dict(os.environ)
    with Stack(layout).running(("store", "postgres", "mlflow", "spark"), print) as configuration:
        os.environ.update(library_environment(layout, configuration))
        try:
            yield Settings.from_environment()
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="session")
def spark(services: Settings) -> Iterator[Any]:
    """A session on that Spark server."""
    from include.spark.session import connect

    with connect(services.spark_remote) as session:
        yield session


@pytest.fixture(scope="session")
def imported() -> None:
    """Import what warns when it is imported: MLflow, and Evidently's dependency litestar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("mlflow.pyfunc", "evidently.metrics"):
            importlib.import_module(name)
