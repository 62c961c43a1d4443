"""The user as whom tasks log, made in a real MLflow server with logins, on a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psycopg
import pytest
import requests
from mlflow.exceptions import MlflowException
from pydantic import SecretStr
from sklearn.linear_model import LogisticRegression

from include.registry.mlflow_runs import Tracking
from include.storage.settings import MlflowSettings
from stack.access import __main__ as access
from stack.access import mlflow_users
from stack.embedded.health import check_page
from stack.embedded.ports import LOOPBACK
from stack.errors import ConfigurationError, StackError
from tests.conftest import free_ports
from tests.postgres import running_postgres

START_SECONDS = 180
ANSWER_SECONDS = 60
ADMIN_PASSWORD, TASKS_PASSWORD, READER_PASSWORD = (secrets.token_urlsafe(16) for _ in range(3))


@dataclass
class MlflowServer:
    """An MLflow server with the app `basic-auth`."""

    uri: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while trouble := check_page(f"{self.uri}/health"):
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, trouble
            time.sleep(0.2)

    def kill(self) -> None:
        """End it and its worker at once."""
        assert self.process is not None
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def set_up(self, admin_password: str = ADMIN_PASSWORD) -> list[str]:
        """Make the tasks' user, as the init job does."""
        said: list[str] = []
        mlflow_users.set_up(
            self.uri,
            admin="admin",
            admin_password=admin_password,
            user=mlflow_users.TASKS,
            password=TASKS_PASSWORD,
            report=said.append,
        )
        return said

    def ask(
        self,
        user: str,
        password: str,
        method: str,
        path: str,
        body: dict[str, str] | None = None,
    ) -> int:
        """Call MLflow's interface; returns the status."""
        return requests.request(
            method,
            f"{self.uri}/api/2.0/mlflow/{path}",
            auth=(user, password) if user else None,
            json=body,
            timeout=ANSWER_SECONDS,
        ).status_code

    def tracking(self, user: str, password: str) -> Tracking:
        """Reach the experiment of a pipeline as a user."""
        settings = MlflowSettings(uri=self.uri, username=user, password=SecretStr(password))
        return Tracking(settings, "loan_default")


@pytest.fixture(scope="module")
def socket() -> Iterator[Path]:
    """The folder of a real PostgreSQL's socket."""
    with running_postgres() as (_, folder):
        yield folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, socket: Path) -> Iterator[MlflowServer]:
    """A server of which tasks and a reader are users."""
    home = tmp_path_factory.mktemp("mlflow")
    with psycopg.connect(f"host={socket} user=postgres", autocommit=True) as connection:
        for name in ("mlflow", "mlflow_auth"):
            connection.execute(f"create database {name}")
    address = f"postgresql+psycopg2://postgres@/{{}}?host={socket}"
    (home / "basic_auth.ini").write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = {address.format('mlflow_auth')}\n"
        "admin_username = admin\n"
        f"admin_password = {ADMIN_PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    (port,) = free_ports(1)
    server = MlflowServer(
        uri=f"http://{LOOPBACK}:{port}",
        command=[
            str(Path(sys.executable).parent / "mlflow"),
            "server",
            "--app-name=basic-auth",
            f"--host={LOOPBACK}",
            f"--port={port}",
            "--workers=1",
            f"--allowed-hosts={LOOPBACK}:{port}",
            f"--backend-store-uri={address.format('mlflow')}",
            f"--artifacts-destination={home / 'artifacts'}",
        ],
        environment={
            **os.environ,
            "MLFLOW_AUTH_CONFIG_PATH": str(home / "basic_auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        },
        log=home / "mlflow.log",
    )
    try:
        server.start()
        server.set_up()
        reader = {"username": "reader", "password": READER_PASSWORD}
        assert server.ask("admin", ADMIN_PASSWORD, "POST", "users/create", reader) == 200
        yield server
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType")  # MLflow of its own
def test_tasks_log_and_readers_read(server: MlflowServer) -> None:
    """Tasks own what they log; a reader sees it and changes nothing."""
    tasks = server.tracking(mlflow_users.TASKS, TASKS_PASSWORD)
    parent = tasks.parent("manual__1", {"relevo.partition": "2005-Q1"})
    candidate = tasks.candidate(parent, "logistic_regression", "digest")
    with tasks.active(candidate):
        model = mlflow.sklearn.log_model(
            LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
            name="model",
            pip_requirements=["scikit-learn"],
            serialization_format="skops",
        )
    assert tasks.register(model.model_uri, {"relevo.partition": "2005-Q1"}) == 1
    tasks.client.set_registered_model_alias("loan_default", "champion", "1")
    assert b"skops" in tasks.download(model.model_uri, "MLmodel")
    tasks.close(parent, failed=False)

    reader = server.tracking("reader", READER_PASSWORD)
    assert reader.finished_tags(parent)["relevo.partition"] == "2005-Q1"
    version = reader.client.get_model_version_by_alias("loan_default", "champion")
    assert version.version == "1"
    with pytest.raises(MlflowException, match="Permission denied"):
        reader.log_metrics(parent, {"roc_auc": 1.0})
    with pytest.raises(MlflowException, match="Permission denied"):
        reader.client.set_registered_model_alias("loan_default", "champion", "1")
    with pytest.raises(MlflowException, match="Permission denied"):
        reader.client.delete_registered_model("loan_default")


@pytest.mark.parametrize("path", ["experiments/search?max_results=1", "users/get?username=admin"])
def test_nobody_gets_in_without_a_login(server: MlflowServer, path: str) -> None:
    assert server.ask("", "", "GET", path) == 401
    assert server.ask("admin", "password1234", "GET", path) == 401
    assert server.ask("admin", ADMIN_PASSWORD, "GET", path) == 200


@pytest.mark.parametrize("user", ["reader", mlflow_users.TASKS])
def test_only_the_admin_makes_users(server: MlflowServer, user: str) -> None:
    password = READER_PASSWORD if user == "reader" else TASKS_PASSWORD
    other = {"username": "other", "password": "a-long-password"}
    assert server.ask(user, password, "POST", "users/create", other) == 403
    other = {"username": "admin", "password": "a-long-password"}
    assert server.ask(user, password, "PATCH", "users/update-password", other) == 403


def test_users_survive_a_crash_and_the_job_sets_the_password_again(server: MlflowServer) -> None:
    """What the secret says is the tasks' password, whatever it was before."""
    changed = {"username": mlflow_users.TASKS, "password": "somebody-changed-it"}
    assert server.ask("admin", ADMIN_PASSWORD, "PATCH", "users/update-password", changed) == 200
    server.kill()
    server.start()
    path = f"users/get?username={mlflow_users.TASKS}"
    assert server.ask(mlflow_users.TASKS, TASKS_PASSWORD, "GET", path) == 401
    assert server.set_up() == [
        "user relevo-tasks is there in MLflow, with the password of its secret"
    ]
    assert server.ask(mlflow_users.TASKS, TASKS_PASSWORD, "GET", path) == 200


def test_a_wrong_password_of_the_admin_is_told(server: MlflowServer) -> None:
    with pytest.raises(ConfigurationError, match="must accept the password of admin, got 401"):
        server.set_up("wrong-password-1")


def test_a_server_that_is_not_there_is_told() -> None:
    (port,) = free_ports(1)
    with pytest.raises(StackError, match="must answer, got ConnectionError"):
        mlflow_users.set_up(
            f"http://{LOOPBACK}:{port}",
            admin="admin",
            admin_password="x",
            user="y",
            password="z",
            report=print,
        )


class TestTheJobs:
    """What is missing is told before anything is done."""

    def test_a_password_file_that_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("RELEVO_ADMIN_PASSWORD_FILE", str(tmp_path / "lost"))
        told = access.main([])
        assert told is not None
        assert "must hold the password of the first admin, got FileNotFoundError" in told

    def test_an_empty_password(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_text("\n")
        monkeypatch.setenv("RELEVO_ADMIN_PASSWORD_FILE", str(path))
        told = access.main(["airflow"])
        assert told is not None
        assert "must hold the password of the first admin, got nothing" in told

    def test_a_variable_that_is_not_set(self) -> None:
        told = access.main(["mlflow"])
        assert told is not None
        assert told.startswith("Variable MLFLOW_TRACKING_URI: must be set, got nothing.")
