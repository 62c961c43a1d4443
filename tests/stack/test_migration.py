"""The job that migrates a deployment's databases, on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from tests.postgres import running_postgres

PROJECT = Path(__file__).parents[2]
DATABASES = ("airflow", "mlflow", "mlflow_auth")
# The last but one revision of MLflow, without two of the newest one's tables.
OLDER = "75868b020152"


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    with running_postgres() as (server, folder):
        for name in DATABASES:
            server.psql(f"create database {name};")
        base = f"postgresql+psycopg2://postgres@/{{}}?host={folder}"
        yield {name: base.format(name) for name in DATABASES}


@pytest.fixture
def job(
    addresses: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the job as the container does."""

    def run(**changed: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__AUTH_MANAGER": (
                "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
            ),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": addresses["airflow"],
            "MLFLOW_BACKEND_STORE_URI": addresses["mlflow"],
            "MLFLOW_AUTH_DATABASE_URI": addresses["mlflow_auth"],
            "PYTHONPATH": str(PROJECT),
            **changed,
        }
        return subprocess.run(
            [sys.executable, "-m", "stack.migration"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def mlflow_migrations(address: str) -> Config:
    import mlflow.store.db_migrations as migrations

    config = Config()
    config.set_main_option("script_location", next(iter(migrations.__path__)))
    config.set_main_option("sqlalchemy.url", address)
    return config


def execute(address: str, statement: str) -> Any:
    from sqlalchemy import create_engine, text

    engine = create_engine(address)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        rows = result.fetchall() if result.returns_rows else None
    engine.dispose()
    return rows


def test_new_databases_are_made_and_older_ones_wait_for_a_backup(
    job: Callable[..., subprocess.CompletedProcess[str]], addresses: dict[str, str]
) -> None:
    made = job()
    assert made.returncode == 0, made.stderr[-3000:]
    names = ("Airflow", "Airflow's accounts", "MLflow", "MLflow's accounts")
    assert made.stdout.splitlines()[-4:] == [f"{name}: was new" for name in names]
    assert execute(addresses["airflow"], "select count(*) from ab_user") == [(0,)]
    assert execute(addresses["mlflow_auth"], "select count(*) from users") == [(0,)]

    again = job()
    assert again.stdout.splitlines()[-4:] == [f"{name}: was current" for name in names]

    execute(addresses["mlflow"], "insert into registered_models(name) values ('kept')")
    command.downgrade(mlflow_migrations(addresses["mlflow"]), OLDER)
    refused = job()
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        "Database MLflow: must be of the installed release, got an older one. Run "
        "`./relevo upgrade --compose`, which backs up first."
    )
    revision = "select version_num from alembic_version"
    assert execute(addresses["mlflow"], revision) == [(OLDER,)]

    upgraded = job(RELEVO_UPGRADE="yes")
    assert upgraded.returncode == 0, upgraded.stderr[-3000:]
    assert upgraded.stdout.splitlines()[-4:] == [
        f"{name}: was {'of an older release' if name == 'MLflow' else 'current'}" for name in names
    ]
    assert execute(addresses["mlflow"], revision) != [(OLDER,)]
    assert execute(addresses["mlflow"], "select name from registered_models") == [("kept",)]

    execute(addresses["mlflow_auth"], "update alembic_version_auth set version_num = 'later'")
    refused = job(RELEVO_UPGRADE="yes")
    assert refused.returncode == 1
    assert "Database MLflow's accounts: must be of the installed release or an older one" in (
        refused.stderr
    )


def test_missing_address_is_named(job: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    refused = job(MLFLOW_AUTH_DATABASE_URI="")
    assert refused.returncode == 1
    assert "Variable MLFLOW_AUTH_DATABASE_URI: must be the address" in refused.stderr
