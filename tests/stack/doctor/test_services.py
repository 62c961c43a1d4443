"""The doctor on a real MLflow server and a real Spark, and as it is typed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient
from pydantic import SecretStr

from include.storage.object_store import ObjectStore
from include.storage.settings import MlflowSettings
from stack.doctor import spark, tracking
from stack.doctor.checkup import Verdict, examine
from stack.embedded.layout import REPOSITORY
from tests.stack.proxy import Answer, in_front_of

MLFLOW_CHECKS = 7
SPARK_CHECKS = 7


def mlflow_visit(settings):
    return {f.check: f for f in examine(tracking.visit(settings), ())}


@pytest.fixture(scope="module")
def workers(services):
    """The answers of real workers, to be compared with another side."""
    probe = spark.SparkProbe(services.spark_remote, services.store)
    probe.join()
    probe.ask_workers()
    yield probe
    probe.close()


def troubles(found):
    return {f.check: f.found for f in found.values() if f.verdict is not Verdict.OK}


class TestMlflow:
    @pytest.fixture(autouse=True)
    def credentials(self, monkeypatch):
        # The library leaves them in the environment, where MLflow reads them.
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "")

    def test_a_good_server_passes_and_is_left_clean(self, services):
        for _ in range(2):  # the second visit meets the deleted experiment of the first
            found = mlflow_visit(services.mlflow)
            assert troubles(found) == {}
            assert len(found) == MLFLOW_CHECKS
        client = MlflowClient(services.mlflow.uri)
        assert client.get_experiment_by_name(tracking.EXPERIMENT).lifecycle_stage == "deleted"
        assert client.search_registered_models(f"name = '{tracking.EXPERIMENT}'") == []
        left = ObjectStore(services.store).list("s3://mlflow")
        assert [item.uri for item in left if item.name == "probe.txt"] == []

    @pytest.mark.parametrize(
        ("password", "asks", "troubled"),
        [
            ("right", True, set()),
            ("wrong", True, {"version", "credentials", "the rest"}),
            ("right", False, {"anonymous access"}),
        ],
    )
    def test_a_server_with_a_login(self, services, password, asks, troubled):
        expected = "Basic " + base64.b64encode(b"tasks:right").decode()

        def ask(request):
            if not asks or request.path == "/health":
                return None
            return None if request.headers.get("Authorization") == expected else Answer(401)

        with in_front_of(services.mlflow.uri, intercept=ask) as address:
            login = {"username": "tasks", "password": SecretStr(password)}
            found = mlflow_visit(MlflowSettings(uri=address, **login))
        assert set(troubles(found)) == troubled

    def test_another_release(self, services):
        def older(request):
            return Answer(200, b"2.22.0") if request.path == "/version" else None

        with in_front_of(services.mlflow.uri, intercept=older) as address:
            found = mlflow_visit(MlflowSettings(uri=address))
        assert troubles(found) == {"version": "2.22.0 there, 3.17.2 here"}
        assert found["version"].verdict is Verdict.FAILED

    def test_a_server_that_is_down(self):
        found = mlflow_visit(MlflowSettings(uri="http://127.0.0.1:9"))
        assert list(found) == ["reachable", "the rest"]
        assert "Connection refused" in found["reachable"].found


class TestSpark:
    def test_good_workers_pass_and_leave_nothing(self, services):
        found = {
            f.check: f for f in examine(spark.visit(services.spark_remote, services.store), ())
        }
        assert troubles(found) == {}
        assert len(found) == SPARK_CHECKS
        assert "on 1 hosts answered" in found["workers"].found
        assert ObjectStore(services.store).list("s3://lake/_doctor") == ()

    def test_a_server_that_is_down(self):
        visit = spark.visit(SecretStr("sc://127.0.0.1:9/;token=t"), None)
        assert [f.check for f in examine(visit, ())] == ["reachable", "the rest"]

    def test_a_wrong_token(self, services):
        address = services.spark_remote.get_secret_value().partition("/;")[0]
        visit = spark.visit(SecretStr(f"{address}/;token=wrong-token"), None)
        found = {f.check: f for f in examine(visit, {"wrong-token"})}
        assert found["session"].verdict is Verdict.FAILED
        assert "wrong-token" not in str(found)

    def test_a_job_that_does_not_end_is_cancelled(self, services, monkeypatch):
        def hang(batches):
            import time

            time.sleep(600)
            yield from batches

        monkeypatch.setattr(spark, "examination", lambda packages, folder: hang)
        probe = spark.SparkProbe(services.spark_remote, None)
        probe.join()
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(probe.ask_workers)
            deadline = time.monotonic() + 60
            while not job.done() and time.monotonic() < deadline:
                probe.cancel()  # has no effect before the server knows the job
                time.sleep(0.2)
            with pytest.raises(Exception, match=r"(?i)cancel"):
                job.result(0)
        probe.close()

    def test_other_releases_on_the_workers(self, workers, monkeypatch):
        monkeypatch.setattr(spark, "version", {name: "1.0" for name in spark.PACKAGES}.__getitem__)
        found = workers.compare_packages()
        assert found.verdict is Verdict.FAILED
        assert "skops 0.16.0 there, 1.0 here" in found.found

    def test_another_python_on_the_workers(self, workers, monkeypatch):
        monkeypatch.setattr(sys, "version_info", (3, 12, 1))
        assert workers.compare_python().found == "3.11 there, 3.12 here"

    def test_other_code_on_the_workers(self, workers, monkeypatch):
        monkeypatch.setattr(spark, "include_digest", lambda folder: "other")
        assert workers.compare_code().found == "`include` differs from the one here"

    def test_workers_with_another_store(self, workers, store_settings):
        assert workers.reach_store().verdict is Verdict.OK
        other = spark.SparkProbe(workers.remote, store_settings)
        other.join()
        other.ask_workers()
        other.close()
        assert other.reach_store().found == "0 of 8 objects that workers wrote are seen from here"


class TestCommand:
    def doctor(self, tmp_path, *arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "stack.cli", "doctor", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "RELEVO_STATE": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def test_a_good_deployment_ends_with_0_and_shows_no_secret(self, services, tmp_path):
        done = self.doctor(tmp_path, "--json")
        findings = json.loads(done.stdout)
        verdicts = {(f["part"], f["check"]): f["verdict"] for f in findings}
        assert {f["check"]: f["found"] for f in findings if f["verdict"] == "FAILED"} == {}
        assert done.returncode == 0
        assert verdicts[("airflow", "settings")] == "not configured"
        assert verdicts[("database", "settings")] == "not configured"
        assert verdicts[("spark", "store from workers")] == "ok"
        _, token = services.spark_remote.get_secret_value().split("token=")
        secret_key = services.store.secret_key.get_secret_value()
        for secret in (token, secret_key):
            assert secret not in done.stdout + done.stderr

    def test_a_dead_deployment_ends_with_1_and_a_table(self, tmp_path):
        password = "of-the-" + "database"
        done = self.doctor(
            tmp_path,
            RELEVO_STORE_ENDPOINT_URL="http://127.0.0.1:9",
            RELEVO_STORE_ACCESS_KEY="key",
            RELEVO_STORE_SECRET_KEY="of-the-store",
            RELEVO_MLFLOW_URI="http://127.0.0.1:9",
            RELEVO_SPARK_REMOTE="sc://127.0.0.1:9/;token=of-spark",
            RELEVO_AIRFLOW_URL="http://127.0.0.1:9",
            RELEVO_AIRFLOW_USER="admin",
            RELEVO_AIRFLOW_PASSWORD="of-airflow",
            RELEVO_DATABASE_URL=f"postgresql+psycopg2://u:{password}@127.0.0.1:9/airflow",
        )
        assert done.returncode == 1
        assert "5 FAILED" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        for secret in ("of-the-store", "of-spark", "of-airflow", password):
            assert secret not in done.stdout + done.stderr
