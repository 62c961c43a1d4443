"""How checks are run and what is shown of them; where the settings come from."""

from __future__ import annotations

import os
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from pydantic import SecretStr

from include.storage.settings import STORE_VARIABLES, MlflowSettings, StoreSettings
from stack.doctor import clock, deployment, disk
from stack.doctor.checkup import Check, Verdict, Visit, examine, failed, not_configured, ok
from stack.doctor.tracking import same_release
from stack.errors import ConfigurationError

Usage = namedtuple("Usage", "free")


def checked(run, **settings):
    return next(examine(Visit("part", (Check("check", run, "Do that.", **settings),)), {"s3cret"}))


def test_an_error_becomes_a_finding_without_its_secrets():
    def explode():
        raise RuntimeError("login with s3cret\n  refused")

    found = checked(explode)
    assert (found.verdict, found.remedy) == (Verdict.FAILED, "Do that.")
    assert found.found == "RuntimeError: login with *** refused"


def test_a_check_that_hangs_is_given_up():
    forever = threading.Event()
    found = checked(lambda: ok(str(forever.wait(60))), seconds=0.01)
    forever.set()
    assert (found.verdict, found.found) == (Verdict.FAILED, "no end within 0 s")


def test_long_findings_are_cut():
    assert len(checked(lambda: ok("x" * 10_000)).found) < 500


def test_a_failed_gate_leaves_the_rest_unchecked_and_closes():
    closed = []
    ran = []
    checks = (
        Check("gate", lambda: failed("shut", "Open it."), "", gate=True),
        Check("behind", lambda: ok(str(ran.append(1))), ""),
    )
    found = list(examine(Visit("part", checks, lambda: closed.append(1)), ()))
    assert [(f.check, f.verdict) for f in found] == [
        ("gate", Verdict.FAILED),
        ("the rest", Verdict.NOT_CHECKED),
    ]
    assert (ran, closed) == ([], [1])


def test_what_is_not_configured_does_not_pass():
    (found,) = examine(not_configured("mlflow", "Set it."), ())
    assert (found.part, found.verdict, found.remedy) == (
        "mlflow",
        Verdict.NOT_CONFIGURED,
        "Set it.",
    )


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        ("3.17.2", Verdict.OK),
        ("3.17.9", Verdict.OK),
        ("3.16.0", Verdict.WARNING),
        ("2.22.0", Verdict.FAILED),
    ],
)
def test_releases(theirs, verdict):
    assert same_release(theirs, "3.17.2").verdict is verdict


def test_no_date_is_no_verdict():
    assert clock.compare({}).verdict is Verdict.NOT_CHECKED


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(10**9 - 1, Verdict.FAILED), (4 * 10**9, Verdict.WARNING), (6 * 10**9, Verdict.OK)],
)
def test_free_space(monkeypatch, tmp_path, free, verdict):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(free))
    assert disk.free(tmp_path).verdict is verdict


class TestDeployment:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch, tmp_path):
        for name in ("MLFLOW_URI", "SPARK_REMOTE", "AIRFLOW_URL", "DATABASE_URL"):
            # To be taken away again after the test, whatever the test reads from files.
            monkeypatch.setenv(f"RELEVO_{name}", "")
        monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", "http://store:8333")
        monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", "key")
        monkeypatch.setenv("RELEVO_STORE_SECRET_KEY", "")
        secret = tmp_path / "secret"
        secret.write_text("from-a-file\n")
        monkeypatch.setenv("RELEVO_STORE_SECRET_KEY_FILE", str(secret))

    def test_secrets_come_from_files_and_parts_may_be_missing(self, layout):
        found = deployment.find(layout)
        assert found.store == StoreSettings(
            endpoint_url="http://store:8333", access_key="key", secret_key=SecretStr("from-a-file")
        )
        assert (found.mlflow, found.spark_remote, found.airflow, found.database_url) == (None,) * 4
        assert found.secrets == {"from-a-file"}

    def test_a_file_that_is_not_there(self, layout, monkeypatch):
        monkeypatch.setenv("RELEVO_DATABASE_URL_FILE", "/nowhere")
        with pytest.raises(ConfigurationError, match=r"RELEVO_DATABASE_URL_FILE: must name"):
            deployment.find(layout)

    def test_airflow_needs_a_user(self, layout, monkeypatch):
        monkeypatch.setenv("RELEVO_AIRFLOW_URL", "http://api-server:8080")
        with pytest.raises(ConfigurationError, match="RELEVO_AIRFLOW_PASSWORD: must be set"):
            deployment.find(layout)

    def test_without_variables_and_without_a_stack(self, layout, monkeypatch):
        for name in [name for name in os.environ if name.startswith(STORE_VARIABLES)]:
            monkeypatch.delenv(name)
        with pytest.raises(ConfigurationError, match=r"must be running, got down.*RELEVO_STORE_"):
            deployment.find(layout)


def test_every_spelling_of_every_secret_is_known():
    found = deployment.Deployment(
        name="d",
        store=StoreSettings(access_key="k", secret_key=SecretStr("store/secret")),
        mlflow=MlflowSettings(uri="http://m", username="u", password=SecretStr("mlflow-1")),
        spark_remote=SecretStr("sc://s:1/;use_ssl=false;token=a%2Bb;x=1"),
        airflow=deployment.AirflowAccess("http://a", "u", SecretStr("airflow-1")),
        database_url=SecretStr("postgresql+psycopg2://u:p%40ss@db/airflow"),
        folders=(Path("/"),),
    )
    assert found.secrets == {
        *("store/secret", "store%2Fsecret", "mlflow-1", "airflow-1"),
        *("a+b", "a%2Bb", "p@ss", "p%40ss"),
    }
    assert not any(secret in repr(found) for secret in found.secrets)
