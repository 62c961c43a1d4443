"""Who gets which variables: secrets reach tasks as Airflow connections only."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stack.embedded.configuration import Configuration
from stack.embedded.environment import (
    airflow_environment,
    base_environment,
    code_commit,
    library_environment,
    supervisor_environment,
)
from stack.embedded.layout import Layout
from stack.embedded.parts import PARTS, Part, prepare_files

AIRFLOW_PARTS = ("migrate", "api-server", "dag-processor", "triggerer", "scheduler")


def part(name: str) -> Part:
    return next(part for part in PARTS if part.name == name)


@pytest.fixture(autouse=True)
def prepared(layout: Layout, configuration: Configuration) -> None:
    prepare_files(layout, configuration)


@pytest.mark.parametrize("name", AIRFLOW_PARTS)
def test_airflow_parts_get_connections_and_no_plain_secret(
    name: str, layout: Layout, configuration: Configuration
) -> None:
    environment = part(name).launch(layout, configuration).environment
    relevo = {key for key in environment if key.startswith("RELEVO_")}
    assert relevo == {"RELEVO_STATE", "RELEVO_PART", "RELEVO_COMMIT"}
    assert not {key for key in environment if key.startswith("AWS_")}
    credentials = configuration.credentials
    secret = (credentials.store_access_key, credentials.store_secret_key, credentials.spark_token)
    holders = {key for key, value in environment.items() if any(s in value for s in secret)}
    assert holders == {"AIRFLOW_CONN_RELEVO_STORE", "AIRFLOW_CONN_RELEVO_SPARK"}


def test_connections_have_the_shape_the_hooks_expect(
    layout: Layout, configuration: Configuration
) -> None:
    environment = airflow_environment(layout, configuration, "scheduler", {})
    store = json.loads(environment["AIRFLOW_CONN_RELEVO_STORE"])
    assert store["conn_type"] == "aws"
    assert store["extra"] == {
        "endpoint_url": configuration.store_url,
        "region_name": "us-east-1",
    }
    mlflow = json.loads(environment["AIRFLOW_CONN_RELEVO_MLFLOW"])
    assert f"{mlflow['host']}:{mlflow['port']}" == configuration.mlflow_url
    spark = json.loads(environment["AIRFLOW_CONN_RELEVO_SPARK"])
    assert spark["host"] == f"sc://localhost:{configuration.port('spark')}"
    assert spark["password"] == configuration.credentials.spark_token


def test_spark_reaches_the_store_without_airflow(
    layout: Layout, configuration: Configuration
) -> None:
    environment = part("spark").launch(layout, configuration).environment
    assert environment["RELEVO_STORE_SECRET_KEY"] == configuration.credentials.store_secret_key
    assert environment["RELEVO_STORE_ENDPOINT_URL"] == configuration.store_url
    assert not {key for key in environment if key.startswith("AIRFLOW")}


@pytest.mark.parametrize("each", PARTS, ids=lambda each: each.name)
def test_no_secret_on_a_command_line(
    each: Part, layout: Layout, configuration: Configuration
) -> None:
    command = " ".join(each.launch(layout, configuration).command)
    for name, secret in configuration.credentials:
        assert secret not in command, name


@pytest.mark.parametrize("each", PARTS, ids=lambda each: each.name)
def test_every_part_carries_the_marker_and_utc(
    each: Part, layout: Layout, configuration: Configuration
) -> None:
    environment = each.launch(layout, configuration).environment
    assert environment["RELEVO_STATE"] == str(layout.state)
    assert environment["RELEVO_PART"] == each.name
    assert environment["TZ"] == "UTC"
    assert environment["SPT_NOENV"] == "1"


def test_only_the_scheduler_preloads(layout: Layout, configuration: Configuration) -> None:
    preloading = [
        each.name
        for each in PARTS
        if "preload" in each.launch(layout, configuration).environment["PYTHONPATH"]
    ]
    assert preloading == ["scheduler"]


def test_shell_settings_of_other_projects_stay_outside(layout: Layout) -> None:
    shell = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "theirs",
        "AIRFLOW__CORE__DAGS_FOLDER": "theirs",
        "MLFLOW_TRACKING_URI": "theirs",
        "PYTHONPATH": "theirs",
        "LC_ALL": "C.UTF-8",
    }
    environment = base_environment(layout, "store", shell)
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment["PATH"].endswith(":/bin")
    assert "theirs" not in environment.values()


def test_connections_of_the_shell_reach_airflow_but_do_not_replace_ours(
    layout: Layout, configuration: Configuration
) -> None:
    shell = {
        "AIRFLOW_CONN_WAREHOUSE": "postgres://theirs",
        "AIRFLOW_CONN_RELEVO_STORE": "aws://theirs",
        "RELEVO_DAGS_FOLDER": "/elsewhere",
    }
    handed_on = supervisor_environment(layout, shell)
    environment = airflow_environment(layout, configuration, "scheduler", handed_on)
    assert environment["AIRFLOW_CONN_WAREHOUSE"] == "postgres://theirs"
    assert "theirs" not in environment["AIRFLOW_CONN_RELEVO_STORE"]
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == "/elsewhere"


def test_supervisord_gets_no_secret(layout: Layout, configuration: Configuration) -> None:
    values = " ".join(supervisor_environment(layout, {}).values())
    for name, secret in configuration.credentials:
        assert secret not in values, name


def test_library_environment_names_every_service(
    layout: Layout, configuration: Configuration
) -> None:
    environment = library_environment(layout, configuration)
    assert environment["RELEVO_MLFLOW_URI"] == configuration.mlflow_url
    assert environment["RELEVO_SPARK_REMOTE"] == (
        f"sc://localhost:{configuration.port('spark')}/"
        f";token={configuration.credentials.spark_token}"
    )


def test_commit_is_that_of_git(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    assert code_commit(tmp_path) == git("rev-parse", "HEAD")


def test_commit_outside_of_git_is_a_digest_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    module = tmp_path / "include" / "module.py"
    module.parent.mkdir()
    module.write_text("a = 1\n")
    before = code_commit(tmp_path)
    assert len(before) == 64
    assert code_commit(tmp_path) == before
    module.write_text("a = 2\n")
    assert code_commit(tmp_path) != before
