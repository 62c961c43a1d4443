"""The command that erases somebody: the ids go to the store, their name alone to Airflow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from include.steps.erasure import ids_uri
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from stack.airflow_api import AirflowApi
from stack.cli import app
from stack.commands import platform_run
from stack.commands.platform_run import demand_unpaused
from stack.errors import StackError

NAME = "loan_default"


@pytest.fixture
def asked(
    shell: Path, store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[dict[str, Any]]]:
    """What Airflow is asked for, beside a real store that others use as well."""
    told: list[dict[str, Any]] = []

    def follow(api: AirflowApi, dag_id: str, conf: dict[str, Any], waits_for: str = "") -> str:
        told.append({"dag_id": dag_id, **conf})
        return "2 ids: 0 rows"

    monkeypatch.setattr(platform_run, "follow", follow)
    monkeypatch.setattr(platform_run, "demand_unpaused", create_autospec(demand_unpaused))
    for name, value in (("URL", "http://airflow:8080"), ("USER", "ada"), ("PASSWORD", "secret")):
        monkeypatch.setenv(f"RELEVO_AIRFLOW_{name}", value)
    assert store_settings.secret_key is not None
    monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", str(store_settings.endpoint_url))
    monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", str(store_settings.access_key))
    monkeypatch.setenv("RELEVO_STORE_SECRET_KEY", store_settings.secret_key.get_secret_value())
    yield told
    for bucket in ("landing", "lake"):
        ObjectStore(store_settings).delete_below(f"s3://{bucket}/{NAME}")


def erase(tmp_path: Path, data: bytes, *words: str) -> Any:
    file = tmp_path / "ids.txt"
    file.write_bytes(data)
    return CliRunner().invoke(app, ["erase", NAME, str(file), *words])


def test_ids_are_handed_in_and_airflow_knows_their_name(
    asked: list[dict[str, Any]], store_settings: StoreSettings, tmp_path: Path
) -> None:
    done = erase(tmp_path, b"7590-VHVEG\r\n\n 5575-GNVDE \n", "--reason", " a letter ")
    assert done.exit_code == 0, done.output
    (run,) = asked
    request = run.pop("request")
    assert done.stdout == (
        f"handed in 2 ids as {request}, which its run deletes when it is done\n2 ids: 0 rows\n"
    )
    assert run == {"dag_id": "platform_erase", "pipeline": NAME, "reason": "a letter"}
    held = ObjectStore(store_settings).read(ids_uri(NAME, request))
    assert held == b"7590-VHVEG\n5575-GNVDE"


def test_landed_files_alone(
    asked: list[dict[str, Any]], store_settings: StoreSettings, tmp_path: Path
) -> None:
    store, uri = ObjectStore(store_settings), f"s3://landing/{NAME}/loans/2001-Q1/loans.parquet"
    rows = pa.table({"loan_id": ["7590-VHVEG", "5575-GNVDE"]})
    data = io.BytesIO()
    pq.write_table(rows, data)
    store.write(uri, data.getvalue())
    done = erase(tmp_path, b"7590-VHVEG", "--landed-only")
    assert done.exit_code == 0, done.output
    assert "taken out of 1 landed file;" in done.stdout
    assert pq.read_table(io.BytesIO(store.read(uri))).equals(rows.slice(1))
    assert asked == []


@pytest.mark.parametrize(
    ("data", "words", "message"),
    [
        (b"\n", ("--reason", "x"), "file ids.txt: must hold one id a line, got none"),
        (b"\xff\xfe", ("--reason", "x"), "file ids.txt: must be UTF-8"),
        (b"a", (), "Option --reason: must say why, got nothing"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_handed_in(
    asked: list[dict[str, Any]],
    store_settings: StoreSettings,
    tmp_path: Path,
    data: bytes,
    words: tuple[str, ...],
    message: str,
) -> None:
    before = ObjectStore(store_settings).list(f"s3://lake/{NAME}/erasures")
    done = erase(tmp_path, data, *words)
    assert done.exit_code == 1
    assert message in done.stderr
    assert ObjectStore(store_settings).list(f"s3://lake/{NAME}/erasures") == before
    assert asked == []


def test_rows_that_are_numbered_are_nobodys(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("1")
    done = CliRunner().invoke(app, ["erase", "telco_churn", str(file), "--reason", "x"])
    assert done.exit_code == 1
    assert "pipeline telco_churn: must have an entity for somebody to be found" in done.stderr
    assert asked == []


def test_a_dag_that_is_paused_is_given_no_ids(
    asked: list[dict[str, Any]],
    store_settings: StoreSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = ObjectStore(store_settings).list(f"s3://lake/{NAME}/erasures")
    paused = StackError("DAG platform_erase: must not be paused, got paused.")
    monkeypatch.setattr(
        platform_run, "demand_unpaused", create_autospec(demand_unpaused, side_effect=paused)
    )
    done = erase(tmp_path, b"a", "--reason", "x")
    assert done.exit_code == 1
    assert "must not be paused" in done.stderr
    assert ObjectStore(store_settings).list(f"s3://lake/{NAME}/erasures") == before
    assert asked == []
