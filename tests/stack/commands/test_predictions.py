"""`./relevo predictions`, `decisions`, `history`, `withdraw` and `airflow`, as they are typed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from include.scoring.batch_scoring import TABLE
from include.storage import ledger
from include.storage.data_files import write_files
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from stack.cli import app

PIPELINE = "telco_churn"
ORIGIN = Origin("telco_churn_train", "run_1", "task")


def relevo(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture
def lake(store: ObjectStore) -> Iterator[Lake]:
    """The tables of a shipped pipeline, empty again afterwards."""
    yield Lake(store.settings, PIPELINE)
    for name in (PIPELINE, f"{PIPELINE}_dev"):
        store.delete_below(f"s3://lake/{name}/")


def score(lake: Lake, partition: str, rows: int) -> None:
    table = pa.table(
        {
            "row_id": [f"[row] {number}" for number in range(rows)],
            "score": [1 / 3] * rows,
            "partition": [partition] * rows,
        }
    )
    lake.write(TABLE, table, partitions=[partition], origin=ORIGIN)


def test_the_latest_partition_is_shown_in_short(lake: Lake) -> None:
    score(lake, "snapshot-0001", 2)
    score(lake, "snapshot-0002", 1234)
    done = relevo("predictions", PIPELINE)
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[1].split() == ["row_id", "score"]
    assert lines[3] == "[row] 0   0.333333"
    assert lines[-2:] == [
        "the first 10 of 1,234 rows of snapshot-0002; scored: 2 partitions, snapshot-0001 to "
        "snapshot-0002",
        "s3://lake/telco_churn/predictions/ at version 2; --to writes every row to a file",
    ]
    one = relevo("predictions", PIPELINE, "--partition", "snapshot-0001").stdout
    assert "all of 2 rows of snapshot-0001; scored: partition snapshot-0001" in one


def test_all_rows_or_those_of_a_partition_go_to_a_file(lake: Lake, shell: Path) -> None:
    score(lake, "snapshot-0001", 2)
    score(lake, "snapshot-0002", 30)
    file = str(shell / "all.parquet")
    done = relevo("predictions", PIPELINE, "--to", file)
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        f"wrote 32 rows of 2 partitions, snapshot-0001 to snapshot-0002 to {file}\n"
    )
    assert pq.read_metadata(file).num_rows == 32
    words = ("--partition", "snapshot-0002", "--to", file)
    assert relevo("predictions", PIPELINE, *words).exit_code == 0
    assert pq.read_metadata(file).num_rows == 30


def test_what_was_predicted_before_a_corrected_file(lake: Lake, shell: Path) -> None:
    def predict(name: str, rows: int, *, again: bool = False, **details: str) -> None:
        table = pa.table(
            {
                "row_id": [str(number) for number in range(rows)],
                "back_scored": [again] * rows,
                "partition": [name] * rows,
            }
        )
        files = write_files(lake.settings, lake.uri(TABLE), table)
        lake.commit(TABLE, files, table.schema, partitions=[name], origin=ORIGIN, details=details)

    first, second = "snapshot-0001", "snapshot-0002"
    words = ("predictions", PIPELINE, "--partition", first, "--made-then")
    predict(first, 2)
    assert "all of 2 rows of snapshot-0001" in relevo(*words).stdout
    version = str(lake.reference(TABLE, first).version)
    predict(first, 3, again=True, made_then=version)
    predict(second, 4, again=True)
    assert "all of 3 rows of snapshot-0001" in relevo(*words[:-1]).stdout
    assert "all of 2 rows of snapshot-0001" in relevo(*words).stdout
    assert relevo(*words, "--to", str(shell / "then.parquet")).exit_code == 0
    assert pq.read_metadata(shell / "then.parquet").num_rows == 2
    never = relevo("predictions", PIPELINE, "--partition", second, "--made-then")
    assert "must have been scored by its own run, got predictions that were made later" in (
        never.stderr
    )


def test_decisions_of_some_versions_stand_beside_scores_of_others(lake: Lake, shell: Path) -> None:
    some: dict[str, list[int]] = {"prediction": [1, 0]}
    for number, decided in enumerate(({}, some), 1):
        name = f"snapshot-000{number}"
        columns = {"row_id": ["a", "b"], "score": [0.5, 0.25], **decided}
        table = pa.table({**columns, "partition": [name] * 2})
        files = write_files(lake.settings, lake.uri(TABLE), table)
        lake.commit(
            *(TABLE, files, table.schema),
            partitions=[name],
            origin=ORIGIN,
            optional=["prediction"],
        )
    lines = [line.split() for line in relevo("predictions", PIPELINE).stdout.splitlines()]
    assert (lines[1], lines[3]) == (["row_id", "score", "prediction"], ["a", "0.5", "1"])
    for ending in ("parquet", "csv"):
        done = relevo("predictions", PIPELINE, "--to", str(shell / f"all.{ending}"))
        assert done.exit_code == 0, done.output
    held = pq.read_table(shell / "all.parquet").sort_by([("partition", "ascending")])
    assert held["prediction"].to_pylist() == [None, None, 1, 0]
    # The column came last to this table; without a decision its cell is empty.
    lines = (shell / "all.csv").read_text().splitlines()
    assert lines[1::2] == ['"a",0.5,"snapshot-0001",', '"a",0.5,"snapshot-0002",1']


def test_what_a_run_without_airflow_scored(lake: Lake) -> None:
    score(Lake(lake.settings, f"{PIPELINE}_dev"), "snapshot-0001", 3)
    done = relevo("predictions", PIPELINE)
    assert done.exit_code == 1
    assert "must have been scored, got none" in done.stderr
    assert "--dev shows what ./relevo run scored" in done.stderr
    assert "all of 3 rows" in relevo("predictions", PIPELINE, "--dev").stdout


def test_decisions_with_champion_and_reason(lake: Lake) -> None:
    nothing = relevo("decisions", PIPELINE)
    assert nothing.exit_code == 1
    assert "got nothing. Trigger telco_churn_train" in nothing.stderr
    evidence = {"champion": None, "challenger": 1}
    for kind in ("promotion", "training"):
        ledger.record(
            lake, kind, "snapshot-0001", "promoted", "[0.8, 0.9]", origin=ORIGIN, evidence=evidence
        )
    done = relevo("decisions", PIPELINE)
    assert done.exit_code == 0, done.output
    row = done.stdout.splitlines()[3].split()
    assert row == ["snapshot-0001", "training", "promoted", *["none", "->", "v1", "[0.8,", "0.9]"]]


def test_the_history_of_the_champion(lake: Lake) -> None:
    nothing = relevo("history", PIPELINE)
    assert nothing.exit_code == 1
    assert "got nothing. Trigger telco_churn_train" in nothing.stderr
    ledger.record(
        lake, "rollback", "snapshot-0001", "rolled back", "[too high]",
        origin=ORIGIN, evidence={"by": "Ada", "champion": 2, "restored": 1},
    )  # fmt: skip
    done = relevo("history", PIPELINE)
    assert done.exit_code == 0, done.output
    row = done.stdout.splitlines()[3].split()
    assert row[2:] == ["snapshot-0001", "rollback", "rolled", "back", "Ada", "[too", "high]"]
    assert "rolled back" in relevo("decisions", PIPELINE).stdout


def test_a_request_is_withdrawn_and_may_be_made_again(lake: Lake) -> None:
    words = ("withdraw", PIPELINE, "snapshot-0001", "--reason", "[the data are wrong]")
    nothing = relevo(*words)
    assert nothing.exit_code == 1
    assert "must be requested, got no request." in nothing.stderr
    ledger.record(lake, "retraining", "snapshot-0001", "yes", "", origin=ORIGIN)
    done = relevo(*words)
    assert done.exit_code == 0, done.output
    assert "withdrew the training of telco_churn as of snapshot-0001" in done.stdout
    (entry,) = ledger.entries(lake, "training")
    assert entry.decision == "withdrawn"
    assert entry.reason == f"Withdrawn by {entry.evidence['by']}: [the data are wrong]"
    assert entry.evidence["requested_by"] == "run_1"
    assert "withdrawn" in relevo("decisions", PIPELINE).stdout
    twice = relevo(*words)
    assert (twice.exit_code, twice.stdout) == (
        *(0, "The training as of snapshot-0001 is withdrawn already: nothing changed.\n"),
    )
    assert len(ledger.entries(lake, "training")) == 1
    again = replace(ORIGIN, dag_run_id="run_2")
    ledger.record(lake, "retraining", "snapshot-0001", "yes", "", origin=again)
    assert relevo(*words).exit_code == 0
    assert ledger.training_states(lake) == {"snapshot-0001": "withdrawn"}


def test_the_history_of_a_wrong_name(store: ObjectStore) -> None:
    done = relevo("history", "telco_chrun")
    assert done.exit_code == 1
    assert "did you mean 'telco_churn'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predictions", "telco_chrun"), "did you mean 'telco_churn'?"),
        (("decisions", "telco_chrun"), "did you mean 'telco_churn'?"),
        (("predictions", PIPELINE), "must be set, got nothing usable. Start the stack"),
        (("decisions", PIPELINE), "Or add --local to start just the store."),
        (("predictions", PIPELINE, "--made-then"), "must come with --partition, got none."),
        (("withdraw", PIPELINE, "2005-Q1", "--reason", "x"), "a snapshot reads like"),
        (("withdraw", PIPELINE, "snapshot-0001", "--reason", " "), "must say why, got nothing."),
        (("predictions", PIPELINE, "--to", "x.xls"), "must end in .csv or .parquet, got '.xls'"),
        (("airflow", "dags", "list", "--help"), "must be running, got down. Run `./relevo up`."),
    ],
)
def test_what_is_wrong_is_told(shell: Path, words: tuple[str, ...], message: str) -> None:
    done = relevo(*words)
    assert done.exit_code == 1
    assert message in done.stderr
