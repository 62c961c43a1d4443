"""The commands that list quarantine and release from it: rows go to the store, never to Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from include.errors import RetiredError
from include.quality.quarantine import QUARANTINE_SCHEMA
from include.registry.champions import Registry
from include.steps.release import releases, rows_uri
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from stack.airflow_api import AirflowApi
from stack.cli import app
from stack.commands import platform_run
from stack.commands.platform_run import demand_unpaused

NAME, PARTITION = "loan_default", "2001-Q1"
WHERE = ("--dataset", "loans", "--partition", PARTITION)


@pytest.fixture
def asked(
    store: ObjectStore, store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[dict[str, Any]]]:
    """What Airflow is asked for, beside a partition with one row in quarantine."""
    told: list[dict[str, Any]] = []

    def follow(api: AirflowApi, dag_id: str, conf: dict[str, Any], waits_for: str = "") -> str:
        told.append({"dag_id": dag_id, **conf})
        return "1 of 1 rows released."

    monkeypatch.setattr(platform_run, "follow", follow)
    monkeypatch.setattr(platform_run, "demand_unpaused", create_autospec(demand_unpaused))
    for name, value in (("URL", "http://airflow:8080"), ("USER", "ada"), ("PASSWORD", "secret")):
        monkeypatch.setenv(f"RELEVO_AIRFLOW_{name}", value)
    lake, origin = Lake(store_settings, NAME), Origin("d", "run_1", "validate_loans")
    own = {"partition": [PARTITION], "_file": ["a.parquet"], "_row": [0]}
    row = json.dumps({"loan_id": 2**53 + 1, "amount": -1.0})
    bad = {**own, "source": ["loans"], "reasons": ["amount: must be >= 0, got -1"], "row": [row]}
    kept = pa.table({"loan_id": [7], "amount": [1.0], **own})
    for table, rows in (
        ("quarantine_loans", pa.table(bad, schema=QUARANTINE_SCHEMA)),
        ("raw_loans", kept),
    ):
        lake.write(table, rows, partitions=[PARTITION], origin=origin)
    yield told
    store.delete_below(f"s3://lake/{NAME}")


def run(*words: str) -> Any:
    return CliRunner().invoke(app, [words[0], NAME, *words[1:]])


def test_rows_are_listed_exported_repaired_and_handed_in(
    asked: list[dict[str, Any]], store: ObjectStore, tmp_path: Path
) -> None:
    listed = run("quarantine")
    assert listed.exit_code == 0, listed.output
    assert "loans: 1 row in quarantine" in listed.stdout
    assert "amount: must be >= 0, got -1" in listed.stdout
    file = tmp_path / "bad.csv"
    assert run("quarantine", *WHERE, "--export", str(file)).exit_code == 0
    file.write_text(file.read_text().replace("-1.0", "2.5"))

    done = run("release", *WHERE, "--file", str(file), "--reason", " a call ")

    assert done.exit_code == 0, done.output
    (conf,) = asked
    request = conf.pop("request")
    assert conf == {
        "dag_id": "platform_release",
        "pipeline": NAME,
        "reason": "a call",
        "dataset": "loans",
        "partition": PARTITION,
    }
    assert done.stdout == (
        f"handed in 1 row as {request}, which its run deletes when it is done\n"
        "1 of 1 rows released.\n"
    )
    held = json.loads(store.read(rows_uri(NAME, request)))
    assert list(held["rows"].values()) == [{"amount": "2.5"}]


def test_what_is_wrong_is_told_before_anything_is_handed_in(
    asked: list[dict[str, Any]], store: ObjectStore, tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    run("quarantine", *WHERE, "--export", str(file))
    good, unread = file.read_text(), tmp_path / "unread.csv"
    unread.write_text(good.replace("-1.0", "much"))
    for words, message in (
        ((*WHERE, "--file", str(file)), "Option --reason: must say why"),
        (
            (*WHERE, "--file", f"{file}x", "--reason", "x"),
            "must be there to be read, got No such file or directory. Correct",
        ),
        ((*WHERE, "--file", str(unread), "--reason", "x"), "column amount: must be double, got"),
        (
            ("--dataset", "lones", *WHERE[2:], "--file", str(file), "--reason", "x"),
            "did you mean 'loans'? Correct the name.",
        ),
        (
            (*WHERE[:3], "2001", "--file", str(file), "--reason", "x"),
            "2001",
        ),
    ):
        done = run("release", *words)
        assert done.exit_code == 1, done.output
        assert message in done.stderr
    for words, message in (
        (("--export", str(file)), "Option --dataset: must name one to export"),
        ((*WHERE, "--export", str(tmp_path / "bad.xlsx")), "must end in .csv or .parquet"),
        (("--dataset", "lones"), "did you mean 'loans'"),
    ):
        done = run("quarantine", *words)
        assert done.exit_code == 1, done.output
        assert message in done.stderr
    done = run("quarantine", "--partition", "2025-13")
    assert done.exit_code == 1
    assert "2025-13" in done.stderr
    assert asked == []
    assert store.list(releases(NAME)) == ()


def test_of_a_retired_pipeline_nothing_is_released(
    asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bad.csv"
    run("quarantine", *WHERE, "--export", str(file))
    refused = RetiredError(f"pipeline {NAME}: must not be retired, got: retired since yesterday.")
    demand = create_autospec(Registry.demand_in_service, side_effect=refused)
    monkeypatch.setattr(Registry, "demand_in_service", demand)
    done = run("release", *WHERE, "--file", str(file), "--reason", "x")
    assert (done.exit_code, done.stderr) == (1, f"{refused}\n")
    assert asked == []


def test_nothing_in_quarantine(asked: list[dict[str, Any]]) -> None:
    done = run("quarantine", "--partition", "2009-Q1")
    assert (done.exit_code, done.stdout) == (0, f"{NAME}: no row is in quarantine\n")
