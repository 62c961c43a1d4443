"""Connections, the template macro, and links: what operators share."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.errors import PartitionError, RelevoError, SettingsError
from include.storage.connections import from_environment
from relevo.failures import REASON
from relevo.hooks import RelevoHook
from relevo.links import DataDocsLink, MlflowRunLink, ledger_path, report_path
from relevo.macros import partition_of
from relevo.operators.base import PARTITION_TEMPLATE, PipelineOperator
from relevo_plugin import RelevoPlugin
from tests.operators.running import TaskInstance


class TestHook:
    def test_all_three_connections(self) -> None:
        settings = RelevoHook().get_conn()
        assert settings.store.endpoint_url == "http://127.0.0.1:1"
        assert settings.store.access_key == "key"
        assert settings.store.secret_key.get_secret_value() == "secret"
        assert settings.store.region == "eu-west-1"
        assert settings.mlflow.uri == "http://mlflow:5000"
        assert settings.spark_remote.get_secret_value() == "sc://spark:15002/;token=token"

    def test_secrets_do_not_show(self) -> None:
        shown = repr(RelevoHook().get_conn())
        assert "secret'" not in shown.replace("secret_key", "")
        assert "token=token" not in shown

    def test_what_may_be_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        aws = {"conn_type": "aws", "login": "key", "password": "secret"}
        monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", json.dumps(aws))
        monkeypatch.setenv(
            "AIRFLOW_CONN_RELEVO_MLFLOW", json.dumps({"conn_type": "http", "host": "https://m"})
        )
        monkeypatch.setenv(
            "AIRFLOW_CONN_RELEVO_SPARK", json.dumps({"conn_type": "generic", "host": "sc://s:1"})
        )
        settings = RelevoHook().get_conn()
        assert (settings.store.endpoint_url, settings.store.region) == (None, "us-east-1")
        assert settings.mlflow.uri == "https://m"
        assert settings.spark_remote.get_secret_value() == "sc://s:1"

    def test_a_spark_address_with_parameters_of_its_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = {
            **{"conn_type": "generic", "host": "sc://spark:15002/;use_ssl=false"},
            "password": "a=b;c",
        }
        monkeypatch.setenv("AIRFLOW_CONN_RELEVO_SPARK", json.dumps(parts))
        assert RelevoHook().get_conn().spark_remote.get_secret_value() == (
            "sc://spark:15002/;use_ssl=false;token=a%3Db%3Bc"
        )

    def test_a_store_without_keys_takes_the_role_of_the_machine(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        aws = {"conn_type": "aws", "extra": {"region_name": "eu-west-1"}}
        monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", json.dumps(aws))
        monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", "of the command line")
        store = RelevoHook().store()
        assert store.keys == (None, None)
        assert store.storage_options() == {"AWS_REGION": "eu-west-1"}

    def test_a_bucket_prefix_comes_from_the_connection_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RELEVO_STORE_BUCKET_PREFIX", "of-the-command-line-")
        assert RelevoHook().store().bucket("lake") == "lake"
        aws = {"conn_type": "aws", "extra": {"bucket_prefix": "acme-"}}
        monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", json.dumps(aws))
        assert RelevoHook().store().bucket("lake") == "acme-lake"

    @pytest.mark.parametrize(
        ("name", "parts", "missing"),
        [
            ("store", {"conn_type": "aws", "password": "secret"}, "login"),
            ("store", {"conn_type": "aws", "login": "key"}, "password"),
            ("mlflow", {"conn_type": "http", "port": 5000}, "host"),
            ("spark", {"conn_type": "generic", "password": "token"}, "host"),
        ],
    )
    def test_a_part_that_is_missing_is_named(
        self, monkeypatch: pytest.MonkeyPatch, name: str, parts: Any, missing: str
    ) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_RELEVO_{name.upper()}", json.dumps(parts))
        with pytest.raises(SettingsError) as caught:
            RelevoHook().get_conn()
        assert str(caught.value) == (
            f"connection relevo_{name}: {missing} must be set, got nothing. "
            "Set it in Admin > Connections."
        )

    def test_an_mlflow_with_a_login_and_a_public_address(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = {
            **{"conn_type": "http", "host": "http://mlflow", "port": 5000},
            **{"login": "tasks", "password": "secret"},
            "extra": {"ui_url": "https://mlflow.example.com"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_RELEVO_MLFLOW", json.dumps(connection))
        mlflow = RelevoHook().mlflow()
        assert (mlflow.uri, mlflow.username) == ("http://mlflow:5000", "tasks")
        assert mlflow.password is not None
        assert mlflow.password.get_secret_value() == "secret"
        assert mlflow.page_url == "https://mlflow.example.com"
        assert "secret'" not in repr(mlflow)

    def test_other_connections(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = {"conn_type": "aws", "login": "other", "password": "secret"}
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(other))
        assert RelevoHook(store_conn_id="other").store().access_key == "other"


class TestSqlUrl:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            (
                "postgres://u:p%40ss@db.example:5433/risk?sslmode=require",
                "postgresql+psycopg://u:p%40ss@db.example:5433/risk?sslmode=require",
            ),
            ("sqlite:////data/loans.db", "sqlite:////data/loans.db"),
            (json.dumps({"conn_type": "sqlite", "host": "/l.db"}), "sqlite:////l.db"),
            ("mysql://u:p@h:3306/db", "mysql://u:p@h:3306/db"),
        ],
    )
    def test_it_says_the_same_as_the_library(
        self, monkeypatch: pytest.MonkeyPatch, text: str, url: str
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", text)
        assert RelevoHook().sql_url("warehouse") == from_environment("warehouse")
        assert from_environment("warehouse") == url

    def test_a_file_that_is_not_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "sqlite://")
        with pytest.raises(SettingsError, match="must name the file of the database"):
            RelevoHook().sql_url("warehouse")


def run(**facts: Any) -> Any:
    return SimpleNamespace(**{"partition_key": None, "logical_date": None, **facts})


class TestPartitionOf:
    @pytest.mark.parametrize(
        ("facts", "params", "partition"),
        [
            ({"logical_date": datetime(2005, 4, 5, 6, tzinfo=UTC)}, {}, "2005-Q1"),
            ({"partition_key": "2005-Q2"}, {"partition": None}, "2005-Q2"),
            ({"partition_key": "2005-Q2"}, {"partition": "2004-Q4"}, "2004-Q4"),
        ],
    )
    def test_from_date_key_or_parameter(self, facts: Any, params: Any, partition: str) -> None:
        assert partition_of("loan_default", run(**facts), params) == partition

    def test_none_of_them(self) -> None:
        # Of the kind that Airflow does not try again.
        with pytest.raises(AirflowFailException, match="run without a partition"):
            partition_of("loan_default", run(), {})

    def test_one_that_has_not_closed(self) -> None:
        with pytest.raises(AirflowFailException, match="2962-Q1: must have closed"):
            partition_of("loan_default", run(), {"partition": "2962-Q1"})

    def test_an_unknown_pipeline(self) -> None:
        with pytest.raises(AirflowFailException, match="did you mean 'loan_default'"):
            partition_of("loan_defaut", run(), {})

    def test_the_template_of_every_operator_reaches_it(self) -> None:
        assert partition_of in RelevoPlugin.macros
        macros = SimpleNamespace(**{RelevoPlugin.name: SimpleNamespace(partition_of=partition_of)})
        task = Step(task_id="step", pipeline="loan_default")
        assert task.partition == PARTITION_TEMPLATE
        context: Any = {
            "macros": macros,
            "task": task,
            "dag_run": run(partition_key="2005-Q2"),
            "params": {},
        }
        assert task.render_template(task.partition, context) == "2005-Q2"

    def test_why_it_cannot_be_found_out_is_kept(self, ti: TaskInstance) -> None:
        macros = SimpleNamespace(**{RelevoPlugin.name: SimpleNamespace(partition_of=partition_of)})
        task = Step(task_id="step", pipeline="loan_defaut")
        context: Any = {"macros": macros, "task": task, "ti": ti, "dag_run": run(), "params": {}}
        with pytest.raises(AirflowFailException, match="loan_defaut"):
            task.render_template_fields(context)
        assert ti.pushed[REASON]["kind"] == "gate"
        assert "did you mean 'loan_default'" in ti.pushed[REASON]["told"]


class Step(PipelineOperator):
    """An operator that does what the test says."""

    def run(self, context: Any) -> Any:
        """Raise what the context holds, or return it."""
        if isinstance(context["outcome"], Exception):
            raise context["outcome"]
        return context["outcome"]


class TestErrors:
    def test_an_error_of_the_library_fails_at_once_with_its_words(self) -> None:
        step = Step(task_id="step", pipeline="loan_default")
        error = PartitionError("partition 'x': must be y, got z. Do that.")
        with pytest.raises(AirflowFailException) as caught:
            step.execute({"outcome": error})
        assert str(caught.value) == str(error)
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("kind", RelevoError.__subclasses__())
    def test_that_is_so_for_every_kind(self, kind: type[Exception]) -> None:
        step = Step(task_id="step", pipeline="loan_default")
        with pytest.raises(AirflowFailException, match=r"^told$"):
            step.execute({"outcome": kind("told")})

    @pytest.mark.parametrize("error", [ConnectionError("store"), OSError(), ValueError("bug")])
    def test_any_other_error_is_retried(self, error: Exception) -> None:
        step = Step(task_id="step", pipeline="loan_default")
        with pytest.raises(type(error)) as caught:
            step.execute({"outcome": error})
        assert caught.value is error

    def test_a_partition_of_another_form_is_told(self) -> None:
        step = Step(task_id="step", pipeline="loan_default", partition="2005-03")
        with pytest.raises(PartitionError, match="reads like '2005-Q3', got '2005-03'"):
            step.slice_of_time()


def test_the_origin_is_the_running_task(context: dict[str, Any]) -> None:
    origin = Step(task_id="step", pipeline="loan_default").origin(context)
    assert (origin.dag_id, origin.dag_run_id, origin.task_id) == (
        "loan_default_score",
        "manual__1",
        "a_task",
    )


class TestLinks:
    def test_an_address_is_kept_under_the_links_key(self, context: Any, ti: Any) -> None:
        DataDocsLink.persist(context, "/relevo/reports/p/index.html")
        MlflowRunLink.persist(context, "http://mlflow/#/runs/1")
        assert ti.pushed == {
            "relevo_data_docs": "/relevo/reports/p/index.html",
            "relevo_mlflow_run": "http://mlflow/#/runs/1",
        }

    def test_pages_of_the_plugin(self) -> None:
        assert report_path("s3://reports/p/drift/2005-Q1.html") == (
            "/relevo/reports/p/drift/2005-Q1.html"
        )
        assert ledger_path("p") == "/relevo/decisions/p"
