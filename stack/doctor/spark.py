"""Spark Connect: releases, and whether executors find our code and the store by themselves."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from include.storage.settings import LAKE, StoreSettings
from stack.doctor import web
from stack.doctor.checkup import Check, Outcome, Visit, failed, not_checked, ok
from stack.doctor.store import PROBES, make_client
from stack.doctor.tracking import same_release
from stack.errors import StackError

DEFAULT_PORT = 15002
PARTITIONS = 8
# What a model or a table passes through on both sides.
PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "skops")


@dataclass(frozen=True)
class Worker:
    """What a Python worker of an executor said.

    Args:
        host: Its host.
        pid: Its process.
        python: Release of Python.
        packages: Releases by package; None where it is not installed.
        code: Digest of the Python files of `include`; None if it cannot be imported.
        store: Why it does not reach the store; None if it does.
    """

    host: str
    pid: int
    python: str
    packages: dict[str, str | None] = field(default_factory=dict)
    code: str | None = None
    store: str | None = None


def visit(remote: SecretStr, store: StoreSettings | None) -> Visit:
    """List what Spark must do."""
    probe = SparkProbe(remote, store)
    install = "Give the workers the image, or the environment of requirements.txt."
    return Visit(
        "spark",
        (
            Check(
                "reachable", probe.reach, "Start Spark Connect, or correct the address.", 10, True
            ),
            Check(
                "session",
                probe.join,
                "Check the token, whether the server speaks TLS, and its log.",
                45,
                True,
            ),
            Check(
                "workers",
                probe.ask_workers,
                "Check that workers are registered and have free cores, and an executor's log.",
                90,
                True,
            ),
            Check("Python of workers", probe.compare_python, install),
            Check("packages of workers", probe.compare_packages, install),
            Check("code of workers", probe.compare_code, install),
            Check("store from workers", probe.reach_store, "See the log of an executor."),
        ),
        probe.close,
    )


class SparkProbe:
    """Asks one Spark Connect server, and the workers behind it.

    Args:
        remote: Address with its token.
        store: Where the doctor looks for what the workers wrote.
    """

    def __init__(self, remote: SecretStr, store: StoreSettings | None) -> None:
        self.remote = remote
        self.store = store
        self._tag = f"relevo-doctor-{uuid.uuid4().hex}"
        self._stack = contextlib.ExitStack()
        self._spark: Any = None
        self._workers: tuple[Worker, ...] = ()
        self._seen: frozenset[str] = frozenset()

    def close(self) -> None:
        """Cancel what still runs, and leave the session, which is everybody's."""
        with self._stack:
            self.cancel()

    def cancel(self) -> None:
        """End our own jobs, e.g. one that waits for workers that never come."""
        if self._spark is not None:
            self._spark.interruptTag(self._tag)

    def reach(self) -> Outcome:
        """Open a TCP connection."""
        address = urlsplit(self.remote.get_secret_value())
        host, port = address.hostname or "", address.port or DEFAULT_PORT
        try:
            socket.create_connection((host, port), web.ANSWER_SECONDS).close()
        except OSError as error:
            raise StackError(f"{host}:{port}: no connection, {error}.") from error
        return ok(f"{host}:{port}")

    def join(self) -> Outcome:
        """Join the session that all tasks share, and compare releases."""
        from include.spark.session import connect

        self._spark = self._stack.enter_context(connect(self.remote))
        theirs = self._spark.version
        zone = self._spark.conf.get("spark.sql.session.timeZone")
        if zone != "UTC":
            return failed(
                f"the session's time zone is {zone}", "Let clients set spark.sql.session.timeZone."
            )
        outcome = same_release(theirs, version("pyspark"))
        return Outcome(outcome.verdict, f"Spark {outcome.found}", outcome.remedy)

    def ask_workers(self) -> Outcome:
        """Run one small task for each of a few partitions."""
        folder = f"{PROBES}/{uuid.uuid4().hex}"
        self._spark.addTag(self._tag)
        frame = self._spark.range(0, PARTITIONS, 1, PARTITIONS)
        try:
            answers = frame.mapInArrow(
                examination(PACKAGES, f"s3://{LAKE}/{folder}"), "answer string"
            ).collect()
            self._seen = self._probes(folder, remove=False)
        finally:
            self._probes(folder, remove=True)
        self._workers = tuple(Worker(**json.loads(row["answer"])) for row in answers)
        hosts = {worker.host for worker in self._workers}
        pids = {(worker.host, worker.pid) for worker in self._workers}
        return ok(f"{len(pids)} Python processes on {len(hosts)} hosts answered")

    def compare_python(self) -> Outcome:
        """Compare Python's release, to the minor one."""
        ours = ".".join(map(str, sys.version_info[:2]))
        theirs = {worker.python for worker in self._workers}
        if theirs != {ours}:
            return failed(
                f"{', '.join(sorted(theirs))} there, {ours} here",
                "Set PYSPARK_PYTHON of the workers to the same Python.",
            )
        return ok(ours)

    def compare_packages(self) -> Outcome:
        """Compare what models and tables pass through."""
        other = sorted(
            f"{name} {worker.packages[name] or 'none'} there, {version(name)} here"
            for worker in self._workers
            for name in PACKAGES
            if worker.packages[name] != version(name)
        )
        if other:
            return failed(
                "; ".join(dict.fromkeys(other)),
                "Install requirements.txt on the workers: a model predicts otherwise or cannot be "
                "loaded under other releases.",
            )
        return ok(", ".join(f"{name} {version(name)}" for name in PACKAGES))

    def compare_code(self) -> Outcome:
        """Compare the Python files of `include`."""
        import include

        ours = include_digest(next(iter(include.__path__)))
        if any(worker.code is None for worker in self._workers):
            return failed(
                "`include` cannot be imported",
                "Put the project on the workers and on their PYTHONPATH.",
            )
        if any(worker.code != ours for worker in self._workers):
            return failed(
                "`include` differs from the one here",
                "Deploy the same commit to the workers, and start them again.",
            )
        return ok("the same as here")

    def reach_store(self) -> Outcome:
        """Judge what the workers did on the store with their own settings."""
        troubles = sorted({worker.store for worker in self._workers if worker.store})
        if troubles:
            return failed(
                "; ".join(troubles),
                "Set RELEVO_STORE_* in the environment of the workers, with the key of `tasks`.",
            )
        if self.store is None:
            return not_checked("workers wrote and read; this side has no store to compare with")
        if len(self._seen) != PARTITIONS:
            return failed(
                f"{len(self._seen)} of {PARTITIONS} objects that workers wrote are seen from here",
                "Point the workers and the tasks at the same store.",
            )
        return ok("every task wrote and read an object that is seen from here")

    def _probes(self, folder: str, *, remove: bool) -> frozenset[str]:
        if self.store is None:
            return frozenset()
        client = make_client(self.store)
        lake = self.store.bucket(LAKE)
        page = client.list_objects_v2(Bucket=lake, Prefix=f"{folder}/")
        keys = frozenset(item["Key"] for item in page.get("Contents", ()))
        for key in keys if remove else ():
            client.delete_object(Bucket=lake, Key=key)
        return keys


def include_digest(folder: str) -> str:
    """Digest names and contents of the Python files below a folder."""
    import hashlib
    from pathlib import Path

    digest = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def examination(packages: tuple[str, ...], folder: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Make the function that runs on workers, which may know neither `stack` nor `include`.

    Args:
        packages: Whose releases to tell.
        folder: Address of the folder to write probes to.
    """
    # Spark sends a function of an importable module by name; a nested one goes with its code.
    code = include_digest.__code__

    def examine(batches: Iterator[Any]) -> Iterator[Any]:
        import importlib.metadata
        import json
        import os
        import socket
        import sys
        import types

        import pyarrow as pa

        def release(name: str) -> str | None:
            try:
                return importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                return None

        def code_digest() -> str | None:
            try:
                import include
            except ImportError:
                return None
            digest: str = types.FunctionType(code, {"__builtins__": __builtins__})(
                next(iter(include.__path__))
            )
            return digest

        def store_trouble(name: str) -> str | None:
            try:
                from include.storage.settings import StoreSettings

                settings = StoreSettings.from_environment()
                filesystem, path = settings.filesystem(), settings.path(f"{folder}/{name}")
                with filesystem.open_output_stream(path) as sink:
                    sink.write(name.encode())
                with filesystem.open_input_stream(path) as source:
                    if source.read() != name.encode():
                        return "an object came back with other content"
            except Exception as error:
                return f"{type(error).__name__}: {error}"
            return None

        for batch in batches:
            for number in batch.column(0).to_pylist():
                answer = {
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "python": ".".join(map(str, sys.version_info[:2])),
                    "packages": {name: release(name) for name in packages},
                    "code": code_digest(),
                    "store": store_trouble(str(number)),
                }
                yield pa.record_batch({"answer": [json.dumps(answer)]})

    return examine
