"""A real standalone Spark cluster on loopback, with the settings of docs/spark-cluster.md."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import psutil
from pydantic import SecretStr

from include.storage.settings import StoreSettings
from stack.embedded.java import choose_java
from stack.embedded.layout import REPOSITORY, Layout
from stack.embedded.ports import LOOPBACK, PORT_RANGE, is_free
from stack.private_files import write_private

PAGE = REPOSITORY / "docs" / "spark-cluster.md"
MASTER, WORKERS, CONNECT = "master", ("worker-1", "worker-2"), "connect"
# Tests alone: the log in which tests look for executors and secrets, and a quick end of waiting.
_TEST_SETTINGS = """
spark.eventLog.enabled    true
spark.eventLog.compress   false
spark.eventLog.dir        file://{folder}/events
spark.sql.warehouse.dir   {folder}/warehouse
spark.worker.timeout      10
"""


def documented(name: str) -> Template:
    """Read a file from the page; its parts in ``${...}`` are the deployment's own."""
    pattern = rf"```\w+\n# {re.escape(name)}\n(.*?)```"
    (text,) = re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return Template(text)


class SparkCluster:
    """One master, two workers of one core each, and a Connect server in front.

    Args:
        folder: Where it keeps everything.
        store: What the executors read and write.
    """

    def __init__(self, folder: Path, store: StoreSettings) -> None:
        self.folder = folder
        self.cluster_secret, self.token = secrets.token_hex(32), secrets.token_urlsafe(24)
        self.store = store
        self._processes: dict[str, psutil.Popen] = {}
        pool = secrets.SystemRandom().sample(PORT_RANGE, len(PORT_RANGE))
        free = (port for port in pool if is_free(port))
        self._ports = {name: next(free) for name in (MASTER, "master-ui", CONNECT)}
        for name in ("events", "recovery", "logs"):
            (folder / name).mkdir()
        layout = Layout(folder / "state")
        self._java_home = choose_java(layout, os.environ)
        specification = importlib.util.find_spec("pyspark")
        assert specification is not None
        assert specification.origin is not None
        self._spark_home = Path(specification.origin).parent

    @property
    def remote(self) -> SecretStr:
        """Address of the Connect server with its token, without TLS."""
        return SecretStr(f"{self.address};token={self.token}")

    @property
    def address(self) -> str:
        """Address of the Connect server without its token."""
        return f"sc://{LOOPBACK}:{self._ports[CONNECT]}/;use_ssl=false"

    def start(self, *names: str) -> None:
        """Start parts and wait until they serve."""
        for name in names:
            self.launch(name)
        if MASTER in names or set(names) & set(WORKERS):
            running = sum(self._runs(name) for name in WORKERS)
            until(lambda: len(self.workers()) == running, f"{running} workers", self.logs)
        if CONNECT in names:
            until(lambda: not is_free(self._ports[CONNECT]), "the Connect server", self.logs)

    def launch(self, name: str, *, cluster_secret: str | None = None) -> None:
        """Start a part, with another secret than that of the cluster if one is given."""
        configuration = self.folder / name
        configuration.mkdir(exist_ok=True)
        settings = documented("spark-defaults.conf").substitute(
            MASTER_HOST=LOOPBACK,
            MASTER_PORT=self._ports[MASTER],
            CLUSTER_SECRET=cluster_secret or self.cluster_secret,
            RECOVERY_DIRECTORY=self.folder / "recovery",
            CONNECT_HOST=LOOPBACK,
            CONNECT_ADDRESS=LOOPBACK,
            CONNECT_PORT=self._ports[CONNECT],
            DRIVER_MEMORY="1g",
            EXECUTOR_MEMORY="512m",
        )
        write_private(
            configuration / "spark-defaults.conf",
            settings + _TEST_SETTINGS.format(folder=self.folder),
        )
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self._processes[name] = psutil.Popen(
                self._command(name),
                env=self._environment(name, configuration),
                cwd=configuration,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """Kill a part by SIGKILL, a worker together with its executors' JVMs."""
        process = self._processes.pop(name)
        for victim in (*(process.children() if name in WORKERS else ()), process):
            victim.kill()
        process.wait()

    def stop(self) -> None:
        """End every process; nothing of it is needed again."""
        for process in self._processes.values():
            family = [process, *process.children(recursive=True)] if process.is_running() else []
            for member in family:
                try:
                    member.kill()
                except psutil.NoSuchProcess:
                    continue
            process.wait()
        self._processes.clear()

    def workers(self) -> list[dict[str, Any]]:
        """Ask the master which workers are alive; none while it does not answer, or not yet so."""
        try:
            with urllib.request.urlopen(
                f"http://{LOOPBACK}:{self._ports['master-ui']}/json"
            ) as page:
                known = json.load(page)["workers"]
        except (OSError, ValueError):
            return []
        return [worker for worker in known if worker["state"] == "ALIVE"]

    def processes(self) -> list[psutil.Process]:
        """List every process of the cluster: JVMs and Python workers."""
        return [
            member
            for process in self._processes.values()
            for member in (process, *process.children(recursive=True))
            if member.status() != psutil.STATUS_ZOMBIE
        ]

    def executors(self) -> set[int]:
        """List the executors' process ids."""
        return {
            member.pid
            for member in self.processes()
            if "org.apache.spark.executor.CoarseGrainedExecutorBackend" in member.cmdline()
        }

    def executors_of_tasks(self) -> list[str]:
        """List by which executor each Spark task was done, from the event log."""
        until(
            lambda: (
                self.events().count("SparkListenerJobStart")
                == self.events().count("SparkListenerJobEnd")
            ),
            "the event log",
        )
        return [
            event["Task Info"]["Executor ID"]
            for line in self.events().splitlines()
            if (event := json.loads(line))["Event"] == "SparkListenerTaskEnd"
        ]

    def events(self) -> str:
        """Read the event logs."""
        return "\n".join(file.read_text() for file in (self.folder / "events").rglob("events_*"))

    def log(self, name: str) -> str:
        """Read what a part printed."""
        return (self.folder / "logs" / f"{name}.log").read_text()

    def logs(self) -> str:
        """Read what the parts and the executors printed."""
        files = [*(self.folder / "logs").iterdir(), *self.folder.glob("worker-*/work/**/std*")]
        return "\n".join(f"{file}:\n{file.read_text()}" for file in files)

    def _runs(self, name: str) -> bool:
        return name in self._processes and self._processes[name].is_running()

    def _command(self, name: str) -> list[str]:
        program = self._spark_home / "bin"
        if name == CONNECT:
            server = "org.apache.spark.sql.connect.service.SparkConnectServer"
            return [str(program / "spark-submit"), "--class", server, "--name", "relevo"]
        place = ["--host", LOOPBACK]
        if name == MASTER:
            place += ["--port", str(self._ports[MASTER])]
            place += ["--webui-port", str(self._ports["master-ui"])]
            return [str(program / "spark-class"), "org.apache.spark.deploy.master.Master", *place]
        return [
            str(program / "spark-class"),
            "org.apache.spark.deploy.worker.Worker",
            *place,
            *("--cores", "1", "--memory", "512m", "--webui-port", "0"),
            *("--work-dir", str(self.folder / name / "work")),
            f"spark://{LOOPBACK}:{self._ports[MASTER]}",
        ]

    def _environment(self, name: str, configuration: Path) -> dict[str, str]:
        access_key, secret_key = self.store.keys
        lines = documented("environment").substitute(
            STORE_URL=self.store.endpoint_url,
            STORE_ACCESS_KEY=access_key,
            STORE_SECRET_KEY=secret_key,
            CONNECT_TOKEN=self.token,
        )
        private = dict(line.split("=", 1) for line in lines.splitlines() if line[0] != "#")
        if name != CONNECT:
            del private["SPARK_CONNECT_AUTHENTICATE_TOKEN"]
        return {
            **({} if name == MASTER else private),
            **({} if name == CONNECT else {"SPARK_DAEMON_MEMORY": "256m"}),
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "JAVA_TOOL_OPTIONS": os.environ["JAVA_TOOL_OPTIONS"],
            "JAVA_HOME": str(self._java_home),
            "SPARK_HOME": str(self._spark_home),
            "SPARK_CONF_DIR": str(configuration),
            "SPARK_LOCAL_DIRS": str(configuration / "local"),
            "SPARK_LOCAL_IP": LOOPBACK,
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "TZ": "UTC",
        }


def until(
    condition: Callable[[], bool],
    what: str,
    explain: Callable[[], str] = str,
    seconds: float = 600,
) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}\n{explain()[-8000:]}"
        time.sleep(0.05)
