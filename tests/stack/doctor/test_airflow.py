"""The doctor on a real Airflow without scheduler and triggerer, and with a broken DAG file."""

from __future__ import annotations

import json
import time

import pytest
from pydantic import SecretStr

from stack.airflow_api import AirflowApi
from stack.doctor import airflow, database
from stack.doctor.checkup import Verdict, Visit, examine
from stack.doctor.deployment import AirflowAccess
from stack.embedded import postgres
from stack.embedded.configuration import ADMIN
from stack.embedded.environment import DAGS_VARIABLE
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from tests.stack.proxy import Answer, in_front_of

# Of three tasks one is in a pool that nobody made; other DAGs than a pipeline's do not matter.
POOLED = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

for name, tags in (("mine_score", ["relevo", "mine"]), ("other", [])):
    with DAG(name, tags=tags):
        EmptyOperator(task_id="usual")
        EmptyOperator(task_id="pooled", pool=f"nobody_made_{name}")
"""
PARTS = ("postgres", "migrate", "api-server", "dag-processor")


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The paths of a stack of its own."""
    return Layout(tmp_path_factory.mktemp("airflow") / "state")


@pytest.fixture(scope="module")
def access(state, tmp_path_factory):
    """An api-server and a dag-processor."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / "broken.py").write_text("from airflow.sdk import dag\nimport no_such_module\n")
    (dags / "pooled.py").write_text(POOLED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DAGS_VARIABLE, str(dags))
        with Stack(state).running(PARTS, print) as running:
            _await_import_error(AirflowApi.of(running))
            password = SecretStr(running.credentials.airflow_password)
            yield AirflowAccess(running.airflow_url, ADMIN, password)


def _await_import_error(api):
    deadline = time.monotonic() + 120
    while not api.import_errors():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def visit(access, *wanted):
    found = airflow.visit(access)
    checks = tuple(c for c in found.checks if not wanted or c.name in ("reachable", *wanted))
    return {f.check: f for f in examine(Visit(found.part, checks), ())}


def test_what_does_not_run_and_what_cannot_be_loaded_is_told(access):
    found = visit(access)
    failed = {f.check: f.found for f in found.values() if f.verdict is Verdict.FAILED}
    assert failed == {
        "scheduler": "never seen",
        "triggerer": "never seen",
        "DAG files": "1 cannot be loaded: broken.py",
        "pools": "there is no pool nobody_made_mine_score, and so no task of it begins",
    }
    assert {f.check for f in found.values() if f.verdict is Verdict.OK} == {
        *("reachable", "clock", "version", "metadatabase", "dag_processor"),
        *("credentials", "may trigger"),
    }


def test_a_pool_that_is_there_is_told_with_its_slots(access):
    api = AirflowApi(access.url, access.password.get_secret_value(), access.user)
    api._post("pools", {"name": "nobody_made_mine_score", "slots": 3, "include_deferred": False})
    try:
        found = visit(access, "pools")["pools"]
    finally:
        api._request("DELETE", "pools/nobody_made_mine_score")
    assert found.verdict is Verdict.OK
    assert found.found == "default_pool (128 slots), nobody_made_mine_score (3 slots)"


def test_the_migrations_of_its_database(access, state):
    url = SecretStr(postgres.address(state, postgres.AIRFLOW_DATABASE))
    assert database.check_migrations(url).verdict is Verdict.OK


def test_a_wrong_password(access):
    wrong = AirflowAccess(access.url, access.user, SecretStr("not-the-password"))
    found = visit(wrong, "credentials")["credentials"]
    assert found.verdict is Verdict.FAILED
    assert "401" in found.found
    assert "not-the-password" not in str(found)


def test_a_user_who_may_not_trigger_and_another_release(access):
    def refuse(request):
        if request.path.endswith("/dagRuns"):
            return Answer(403, b'{"detail": "Forbidden"}', {"Content-Type": "application/json"})
        if request.path.endswith("/version"):
            return Answer(200, b'{"version": "2.11.0"}')
        return None

    with in_front_of(access.url, intercept=refuse) as address:
        viewer = AirflowAccess(address, access.user, access.password)
        found = visit(viewer, "may trigger", "version")
    assert found["may trigger"].verdict is Verdict.WARNING
    assert found["version"].verdict is Verdict.FAILED


def test_an_api_server_that_is_down():
    found = visit(AirflowAccess("http://127.0.0.1:9", "admin", SecretStr("p")))
    assert list(found) == ["reachable", "the rest"]


class TestConnections:
    @pytest.fixture(autouse=True)
    def secrets(self, monkeypatch, tmp_path):
        for name in airflow.SECRETS_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        self.file = tmp_path / "connections.json"

    def configure(self, monkeypatch, **changes):
        connections = {
            "relevo_store": {"conn_type": "aws", "login": "key", "password": "hidden"},
            "relevo_mlflow": {"conn_type": "http", "host": "http://mlflow", "port": 5000},
            "relevo_spark": {"conn_type": "generic", "host": "sc://spark-connect:15002"},
        } | changes
        self.file.write_text(json.dumps(connections))
        backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", backend)
        kwargs = json.dumps({"connections_file_path": str(self.file)})
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", kwargs)

    def test_outside_airflow_nothing_is_claimed(self):
        assert airflow.resolve_connections().verdict is Verdict.NOT_CHECKED

    def test_a_secrets_backend(self, monkeypatch):
        self.configure(monkeypatch)
        assert airflow.resolve_connections().found == (
            "relevo_store: AWS; relevo_mlflow: http://mlflow:5000; relevo_spark resolves"
        )

    def test_a_connection_that_lacks_a_part(self, monkeypatch):
        self.configure(monkeypatch, relevo_store={"conn_type": "aws", "password": "hidden"})
        with pytest.raises(Exception, match="relevo_store: login must be set") as caught:
            airflow.resolve_connections()
        assert "hidden" not in str(caught.value)
