"""Both DAGs on the real stack: what a run leaves behind, and what it does not touch."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from include.calendar.partitions import Frequency, parse
from include.features.feature_function import TABLE as FEATURES
from include.registry.champions import CHAMPION, Registry
from include.reports import decisions_page
from include.reports.history import history
from include.specification.generations import quarantine_table
from include.steps import monitoring, training
from include.steps.stale import find_stale
from include.storage import ledger
from include.storage.lineage import Origin
from include.storage.settings import BUCKETS, LOGS
from stack.cli import app
from stack.embedded import postgres
from tests.system import secret_search
from tests.system.conftest import (
    FIRST_SCORED,
    FIRST_TRAINING,
    PIPELINE,
    SCORE,
    TRAIN,
    SystemStack,
    backfill_runs,
)

pytestmark = pytest.mark.system

BAD = "2006-Q1"
ROLLBACK, REPROCESS = "platform_rollback", "platform_reprocess"
ALERTS = "platform_alerts"
TABLES = (
    "raw_loans",
    "raw_outcomes",
    "features",
    "labels",
    "training_sets",
    "predictions",
    "profiles",
    "drift",
    "performance",
    "ledger",
    "registry",
    "quarantine_loans",
    "quarantine_outcomes",
    "quarantine_features",
)


def test_training_run_leaves_one_closed_parent_and_nested_candidates(stack: SystemStack) -> None:
    runs = _mlflow_runs(stack)
    parents = [run for run in runs if run["parent"] is None]
    nested = [run for run in runs if run["parent"] is not None]

    assert [run["status"] for run in runs] == ["FINISHED"] * 3
    assert len(parents) == 1
    assert {run["name"] for run in nested} == {"hist_gradient_boosting", "logistic_regression"}
    assert {run["parent"] for run in nested} == {parents[0]["id"]}


def test_first_champion_is_effective_from_the_next_partition(stack: SystemStack) -> None:
    registry = Registry(stack.lake)
    quarter = parse(FIRST_SCORED, Frequency.QUARTERLY)

    champion = registry.champion_as_of(quarter)

    assert registry.champion_as_of(quarter.shift(-1)) is None
    assert champion is not None
    assert champion.version == 1
    assert champion.partition == FIRST_TRAINING
    assert _alias(stack) == "1"


def test_rows_in_are_rows_scored_plus_rows_quarantined(stack: SystemStack) -> None:
    landed = pd.read_parquet(
        io.BytesIO(stack.store.read(f"s3://landing/{PIPELINE}/loans/{FIRST_SCORED}/loans.parquet"))
    )
    counts = {table: stack.lake.row_counts(table).get(FIRST_SCORED, 0) for table in TABLES}

    assert counts["predictions"] == counts["features"]
    assert counts["features"] + counts["quarantine_features"] == counts["raw_loans"]
    assert counts["raw_loans"] + counts["quarantine_loans"] == len(landed)
    predictions = stack.lake.read("predictions", partitions=[FIRST_SCORED]).to_pandas()
    assert predictions["loan_id"].is_unique
    assert predictions["score"].between(0, 1).all()
    assert not predictions["back_scored"].any()


def test_matured_partition_is_back_scored_and_compared_with_the_held_out_metric(
    stack: SystemStack,
) -> None:
    (row,) = [
        row
        for row in decisions_page.rows(stack.lake, stack.pipeline)
        if row.partition == FIRST_SCORED
    ]
    (record,) = row.performance

    assert record.partition == "2003-Q1"
    assert record.back_scored
    evidence = ledger.held_out_evidence(stack.lake, 1)
    assert evidence is not None
    assert record.held_out == evidence["challenger"]["roc_auc"]["value"]
    assert row.retrain == "no"
    assert row.reason


def test_reports_are_on_the_store(stack: SystemStack) -> None:
    for path, text in (
        (f"data_docs/{FIRST_SCORED}/loans/index.html", "loan_default_loans"),
        (f"data_docs/{FIRST_SCORED}/features/index.html", "loan_default_features"),
        (f"drift/{FIRST_SCORED}/index.html", "guaranteed_share"),
        ("evidence/version-1/index.html", "promoted"),
    ):
        page = stack.store.read(f"s3://reports/{PIPELINE}/{path}").decode()
        assert text in page, path


def test_history_answers_who_wrote_this(stack: SystemStack) -> None:
    (run_id,) = backfill_runs(stack)
    commits = [
        commit
        for commit in stack.lake.open("predictions").history()
        if (commit.get("dag_run_id"), commit.get("task_id")) == (run_id, "score_batch")
    ]

    (latest, *_) = commits
    assert latest["dag_id"] == SCORE
    (features,) = json.loads(latest["inputs"])
    assert (features["table"], features["partition"]) == (FEATURES, FIRST_SCORED)


def test_clearing_any_single_task_changes_nothing(stack: SystemStack) -> None:
    """One task of each run at a time: both write again, and neither changes a thing."""
    training = next(run["dag_run_id"] for run in stack.api.dag_runs(TRAIN))
    runs = ((SCORE, backfill_runs(stack)[0]), (TRAIN, training))
    tasks = [
        [(dag_id, run_id, task_id) for task_id in sorted(_task_ids(stack, dag_id, run_id))]
        for dag_id, run_id in runs
    ]
    before = _state(stack)
    for together in zip_longest(*tasks):
        cleared = [task for task in together if task is not None]
        for dag_id, run_id, task_id in cleared:
            stack.api.clear_task_instances(dag_id, run_id, [task_id])
        for dag_id, run_id, _ in cleared:
            stack.wait(dag_id, run_id)
        assert _state(stack) == before, f"after clearing {cleared}"


def test_drift_starts_a_training_and_the_next_partition_waits_for_it(stack: SystemStack) -> None:
    """2005-Q2 to 2005-Q4 at once: drift in two quarters starts it, and it delays the next."""
    # Airflow allows one backfill at a time, and looks every half minute whether one has ended.
    stack.until(
        lambda: all(made["completed_at"] for made in stack.api.backfills(SCORE)),
        "the first backfill to end",
        90,
    )
    stack.api.create_backfill(
        SCORE,
        datetime(2005, 7, 5, 6, tzinfo=UTC),
        datetime(2006, 1, 5, 6, tzinfo=UTC),
        max_active_runs=2,
    )
    stack.until(lambda: len(backfill_runs(stack)) == 4, "the backfill's runs", 60)
    for run_id in backfill_runs(stack):
        stack.wait(SCORE, run_id)

    rows = {row.partition: row for row in decisions_page.rows(stack.lake, stack.pipeline)}
    assert [rows[f"2005-Q{n}"].drift for n in (1, 2, 3)] == ["drift"] * 3
    assert [rows[f"2005-Q{n}"].retrain for n in (1, 2, 3, 4)] == ["no", "yes", "no", "no"]
    assert [rows[f"2005-Q{n}"].champion for n in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert [run["partition_key"] for run in _started_by_event(stack)] == ["2005-Q2"]
    assert rows["2005-Q2"].training == "promoted"
    drifted = _drifted_features(stack, "2005-Q2")
    assert {"RevLineCr", "LowDoc", "guaranteed_share"} <= drifted


def test_an_older_model_is_refused_with_the_reason_on_record(stack: SystemStack) -> None:
    """The gate compares with the better champion on the challenger's held-out rows."""
    registry = Registry(stack.lake, stack.tracking)
    partition = parse("2005-Q4", Frequency.QUARTERLY)
    assert registry.require_champion(partition).version == 2

    evaluation = training.evaluate(
        stack.lake,
        registry,
        stack.pipeline,
        registry.get(1),
        partition,
        Origin("test", "refusal", "evaluate_challenger"),
    )

    assert not evaluation.decision.promoted
    (entry,) = [e for e in ledger.entries(stack.lake, "promotion") if e.dag_run_id == "refusal"]
    assert entry.decision == "refused"
    assert "lower bound of the difference" in entry.reason
    assert _alias(stack) == "2"


def test_a_person_goes_back_to_the_version_before(stack: SystemStack) -> None:
    """From the next partition on, once, on record; what was scored keeps its champion."""
    registry = Registry(stack.lake, stack.tracking)
    scored = parse("2005-Q4", Frequency.QUARTERLY)
    conf = {"pipeline": PIPELINE, "version": None, "reason": "it scores too high"}
    run_id = stack.api.trigger(ROLLBACK, conf)["dag_run_id"]
    stack.wait(ROLLBACK, run_id)

    assert _alias(stack) == "1"
    assert registry.require_champion(scored).version == 2
    assert registry.require_champion(scored.shift(1)).version == 1
    (entry,) = ledger.entries(stack.lake, "rollback")
    assert entry.reason == (
        "Version 1 is in use again instead of version 2, from 2006-Q1 on. admin: it scores too high"
    )
    before = _state(stack)
    again = stack.api.trigger(ROLLBACK, conf)["dag_run_id"]
    stack.wait(ROLLBACK, again)
    (task,) = stack.api.task_instances(ROLLBACK, again)
    assert task["state"] == "skipped"
    assert "is in use since a rollback already: nothing changed" in stack.log(ROLLBACK, again, task)
    stack.api.clear_task_instances(ROLLBACK, run_id, ["roll_back"])
    stack.wait(ROLLBACK, run_id)
    assert _state(stack) == before
    told = [(item.what, item.outcome, item.who) for item in history(stack.lake)]
    assert told[-2:] == [
        ("champion", "v2 -> v1 from 2006-Q1 on", run_id),
        ("rollback", "rolled back", "admin"),
    ]


def test_a_corrected_partition_is_made_anew_and_nothing_else(stack: SystemStack) -> None:
    partition = "2005-Q4"
    uri = f"s3://landing/{PIPELINE}/loans/{partition}/loans.parquet"
    held = pd.read_parquet(io.BytesIO(stack.store.read(uri)))
    before, then = _state(stack), stack.lake.reference("predictions", partition)
    stack.land("loans", partition, "loans.parquet", _bytes(held.iloc[50:]))
    found = find_stale(stack.lake, stack.pipeline)
    assert [(item.partition, item.what) for item in found.corrections] == [
        (partition, "loans.parquet changed")
    ]
    assert [(run.partition, run.kind) for run in found.runs] == [(partition, "score")]

    conf = {"pipeline": PIPELINE, "partitions": [partition], "reason": "sent again"}
    run_id = stack.api.trigger(REPROCESS, conf)["dag_run_id"]
    stack.wait(REPROCESS, run_id)

    assert find_stale(stack.lake, stack.pipeline).is_nothing
    after = _state(stack)
    # Every other partition is as it was, and so is who is champion.
    for table in set(TABLES) - {"ledger"}:
        assert _others(before["rows"][table]) == _others(after["rows"][table]), table
    assert (after["alias"], after["versions"], after["runs"]) == (
        *(before["alias"], before["versions"], before["runs"]),
    )
    assert stack.lake.row_counts("raw_loans")[partition] == len(held) - 50
    now = stack.lake.read("predictions", partitions=[partition])
    kept = stack.lake.read("predictions", partitions=[partition], version=then.version)
    assert now.num_rows < kept.num_rows == then.rows
    assert now["model_version"].unique() == kept["model_version"].unique()
    asked, done = ledger.entries(stack.lake, "reprocessing")
    assert asked.reason == f"admin: sent again (loans {partition}: loans.parquet changed)"
    assert done.reason == f"1 run repeated; predictions replaced of {partition}."
    again = stack.api.trigger(REPROCESS, {**conf, "partitions": None})["dag_run_id"]
    stack.wait(REPROCESS, again)
    assert {task["state"] for task in stack.api.task_instances(REPROCESS, again)} == {"skipped"}


def test_a_frozen_champion_stays_and_then_a_person_promotes_what_was_refused(
    stack: SystemStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the commands: each is a run of its DAG, and says what came of it."""
    monkeypatch.setenv("RELEVO_STATE", str(stack.layout.state))

    def relevo(*words: str, exit_code: int = 0) -> str:
        done = CliRunner().invoke(app, (*words, "--reason", "an audit"))
        assert done.exit_code == exit_code, done.output
        return done.output.strip()

    told = "Version 1 is frozen: nothing takes its place. admin: an audit"
    assert relevo("freeze", PIPELINE) == told
    assert relevo("freeze", PIPELINE).endswith("UTC by admin: an audit: nothing changed.")
    refused = relevo("promote", PIPELINE, "2", exit_code=1)
    assert "the champion must not be frozen to put another version in use, got: the" in refused

    stack.run(TRAIN, "2005-Q4")
    (*_, ended) = ledger.entries(stack.lake, "training")
    assert ended.decision == "refused"
    assert ended.reason.startswith("refused: the champion, version 1, is frozen since ")
    assert _alias(stack) == "1"

    assert relevo("unfreeze", PIPELINE) == "Version 1 is not frozen any more. admin: an audit"
    promoted = relevo("promote", PIPELINE, "3")
    assert promoted.startswith("Version 3 is in use by hand instead of version 1, from 2006-Q1 on.")
    assert _alias(stack) == "3"
    assert relevo("refuse", PIPELINE, "2").startswith("Version 2 is refused: it is not promoted")
    by_hand = ledger.entries(stack.lake, "freeze", "by_hand")
    assert [(entry.decision, entry.evidence["by"]) for entry in by_hand] == [
        (name, "admin") for name in ("frozen", "unfrozen", "promoted", "refused")
    ]


@pytest.mark.parametrize(
    ("task_id", "damage", "expected"),
    [
        ("ingest_loans", lambda good: {"loans.parquet": b"PAR1 not parquet"}, ["loans.parquet"]),
        ("ingest_loans", lambda good: {"loans.parquet": b""}, ["loans.parquet"]),
        (
            "ingest_loans",
            lambda good: {"loans.parquet": _bytes(good.head(0))},
            ["empty batch", "loans/2006-Q1"],
        ),
        (
            "ingest_loans",
            lambda good: {"loans.parquet": _bytes(good.drop(columns=["GrAppv"]))},
            ["loans.parquet", "GrAppv"],
        ),
        (
            "ingest_loans",
            lambda good: {"loans.parquet": _bytes(good.assign(GrAppv="many"))},
            ["loans.parquet", "GrAppv", "string"],
        ),
        (
            "validate_loans",
            lambda good: {"loans.parquet": _bytes(_spoil(good, 0.2))},
            ["loans.parquet", "GrAppv", "600 of 3000 rows"],
        ),
    ],
    ids=["corrupt", "zero bytes", "no rows", "missing column", "wrong type", "20 % bad"],
)
def test_bad_landing_fails_with_a_clear_message_and_keeps_what_was_good(
    stack: SystemStack,
    task_id: str,
    damage: Callable[[pd.DataFrame], dict[str, bytes]],
    expected: list[str],
) -> None:
    before = stack.lake.row_counts(FEATURES)
    for name, data in damage(_good_loans(stack)).items():
        stack.land("loans", BAD, name, data)

    run_id = stack.run(SCORE, BAD, expect="failed")

    (task,) = [t for t in stack.api.task_instances(SCORE, run_id) if t["task_id"] == task_id]
    assert task["state"] == "failed"
    assert task["try_number"] == 1, "an error in the data must not be tried again"
    log = stack.log(SCORE, run_id, task)
    for text in expected:
        assert text in log, log[-3000:]
    assert stack.lake.row_counts(FEATURES) == before


def test_each_failure_is_told_once_and_so_is_the_next_one_after_a_clear(
    stack: SystemStack,
) -> None:
    assert stack.told is not None
    failed = [
        run["dag_run_id"]
        for run in stack.api.dag_runs(SCORE)
        if (run["state"], run["conf"].get("partition")) == ("failed", BAD)
    ]
    last = max(failed)
    for again in ([], [last]):
        for run_id in again:
            stack.api.clear_failed_tasks(SCORE, run_id)
            stack.wait(SCORE, run_id, expect="failed")
        stack.wait(ALERTS, stack.api.trigger(ALERTS)["dag_run_id"])
        # The labels of these runs failed as well, for none had landed.
        told = [
            alert
            for document in stack.told.documents
            for alert in document["alerts"]
            if (document["kind"], alert["partition"]) == ("gate", BAD)
            and alert["key"].split("/")[3].endswith("_loans")
        ]
        runs = [alert["key"].split("/")[2] for alert in told]
        assert sorted(runs) == sorted([*failed, *again])
    assert len({alert["key"] for alert in told}) == len(told)
    (first, second) = (alert for alert in told if last in alert["key"])
    assert first["reason"] == second["reason"]
    assert "600 of 3000 rows" in first["reason"]
    root = stack.configuration.airflow_url
    assert first["links"]["task"] == f"{root}/dags/{SCORE}/runs/{last}/tasks/validate_loans"
    page = f"reports/{PIPELINE}/data_docs/{BAD}/loans/index.html"
    assert first["links"]["report"] == f"{root}/relevo/{page}"
    assert stack.store.exists(f"s3://{page}")


def test_duplicated_keys_go_to_quarantine_with_the_reason(stack: SystemStack) -> None:
    good = _good_loans(stack)
    twice = pd.concat([good, good.head(5)], ignore_index=True)
    stack.land("loans", BAD, "loans.parquet", _bytes(twice))
    outcomes = pd.DataFrame(
        {
            "loan_id": good["loan_id"].head(100),
            "bad24": 1,
            "label_time_24": pd.Timestamp("2006-02-01"),
        }
    ).astype({"label_time_24": "datetime64[us]"})
    stack.land("outcomes", BAD, "outcomes.parquet", _bytes(outcomes))

    stack.run(SCORE, BAD)

    quarantined = stack.lake.read(quarantine_table("loans"), partitions=[BAD]).to_pandas()
    assert len(quarantined) == 10
    assert quarantined["reasons"].str.contains("loan_id").all()
    scored = stack.lake.read("predictions", partitions=[BAD])
    assert scored.num_rows == len(good) - 5
    # What a person put in use is what scores.
    assert scored["model_version"].unique().to_pylist() == [3]


def test_who_is_erased_is_found_nowhere(
    stack: SystemStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = stack.lake.read("training_sets")["loan_id"].to_pylist()
    doubled = stack.lake.read(quarantine_table("loans"), partitions=[BAD])["row"].to_pylist()
    people = {
        "trained on": trained[0],
        "doubled": max(json.loads(row)["loan_id"] for row in doubled),
    }
    held = {finding.name for finding in secret_search.search(people, _everything(stack))}
    assert held == people.keys()
    before = _state(stack)["rows"]
    file = tmp_path / "ids.txt"
    file.write_text("\n".join(people.values()))
    monkeypatch.setenv("RELEVO_STATE", str(stack.layout.state))
    told = CliRunner().invoke(app, ["erase", PIPELINE, str(file), "--reason", "a letter"])
    assert told.exit_code == 0, told.output

    assert secret_search.search(people, _everything(stack)) == []
    begun, done = ledger.entries(stack.lake, "erasure")
    assert (begun.decision, done.decision) == ("begun", "done")
    assert done.reason.startswith("admin: a letter. 2 ids: ")
    assert told.stdout.splitlines()[-1] == done.reason.removeprefix("admin: a letter. ")
    assert done.evidence["found"]["versions"][0] == 1
    assert find_stale(stack.lake, stack.pipeline).is_nothing
    after = _state(stack)["rows"]
    lost = {
        (table, name): count - after[table][name]
        for table in before
        for name, count in before[table].items()
        if table != "ledger" and count != after[table][name]
    }
    assert lost["quarantine_loans", BAD] == 2
    assert sum(lost.values()) == len(lost) + 1
    # The next run finds everything as it must be.
    stack.run(SCORE, BAD)


def _everything(stack: SystemStack) -> Iterator[secret_search.Source]:
    """Read all objects, with what Parquet packs, Airflow's database and its logs."""
    yield from secret_search.unpacked(stack.store.client, set(BUCKETS) - {LOGS})
    yield from secret_search.database(postgres.address(stack.layout, postgres.AIRFLOW_DATABASE))
    yield from secret_search.files(stack.layout.airflow / "logs")


def _task_ids(stack: SystemStack, dag_id: str, run_id: str) -> set[str]:
    return {task["task_id"] for task in stack.api.task_instances(dag_id, run_id)}


def _good_loans(stack: SystemStack) -> pd.DataFrame:
    """Take 3,000 loans of another quarter, with new keys and the dates of the bad one."""
    data = stack.store.read(f"s3://landing/{PIPELINE}/loans/2005-Q3/loans.parquet")
    loans = pd.read_parquet(io.BytesIO(data)).dropna(subset=["Bank"]).head(3_000)
    loans["loan_id"] = [f"9{number:09d}" for number in range(len(loans))]
    loans["ApprovalDate"] = pd.Series(
        pd.Timestamp("2006-01-15"), index=loans.index, dtype="datetime64[us]"
    )
    return loans


def _others(rows: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in rows.items() if name != "2005-Q4"}


def _spoil(good: pd.DataFrame, share: float) -> pd.DataFrame:
    bad = good.copy()
    bad.loc[bad.index[: int(share * len(bad))], "GrAppv"] = -1.0
    return bad


def _bytes(frame: pd.DataFrame) -> bytes:
    data = io.BytesIO()
    frame.to_parquet(data, index=False)
    return data.getvalue()


def _state(stack: SystemStack) -> dict[str, Any]:
    """What clearing a task must not change."""
    return {
        "rows": {table: stack.lake.row_counts(table) for table in TABLES},
        "alias": _alias(stack),
        "versions": len(stack.tracking.client.search_model_versions(f"name = '{PIPELINE}'")),
        "runs": sorted(_mlflow_runs(stack), key=lambda run: str(run["id"])),
        "overview": [row.cells() for row in decisions_page.rows(stack.lake, stack.pipeline)],
        "scores": float(
            stack.lake.read("predictions").to_pandas().sort_values("loan_id")["score"].sum()
        ),
    }


def _mlflow_runs(stack: SystemStack) -> list[dict[str, Any]]:
    experiment = stack.tracking.client.get_experiment_by_name(PIPELINE)
    return [
        {
            "id": run.info.run_id,
            "name": run.info.run_name,
            "status": run.info.status,
            "parent": run.data.tags.get("mlflow.parentRunId"),
            "metrics": dict(run.data.metrics),
        }
        for run in stack.tracking.client.search_runs([experiment.experiment_id])
    ]


def _alias(stack: SystemStack) -> str:
    return str(stack.tracking.client.get_model_version_by_alias(PIPELINE, CHAMPION).version)


def _started_by_event(stack: SystemStack) -> list[dict[str, Any]]:
    return [run for run in stack.api.dag_runs(TRAIN) if run["partition_key"] is not None]


def _drifted_features(stack: SystemStack, partition: str) -> set[str]:
    (row,) = [
        row
        for row in monitoring.rows(stack.lake, monitoring.DRIFT)
        if row["partition"] == partition
    ]
    return set(json.loads(row["details"])["drifted"])
