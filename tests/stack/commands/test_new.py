"""`./relevo new` and `./relevo land`: what they write, say and refuse."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from include.specification.pipeline_file import load
from include.storage.object_store import ObjectStore
from stack.cli import app
from stack.commands import new as new_command

ROWS = "\n".join(
    f"{n},{n % 7},{'yes' if n % 3 else 'no'},2020-{1 + n % 8:02}-01" for n in range(800)
)
CSV = f"id,visits,bought,day\n{ROWS}\n"


@pytest.fixture
def project(shell: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that files are written into, a stack that is down, and data."""
    monkeypatch.setattr(new_command, "REPOSITORY", shell / "project")
    (shell / "visits.csv").write_text(CSV)
    return shell


def relevo(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def new(project: Path, *words: str) -> Result:
    return relevo("new", "visits", "--from", str(project / "visits.csv"), *words)


def test_it_writes_six_files_and_says_how_to_go_on(project: Path) -> None:
    done = new(project, "--target", "bought", "--time", "day", "--entity", "id")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        "wrote include/pipelines/visits.yaml",
        "wrote include/pipelines/visits.py",
        "wrote expectations/visits_records.json",
        "wrote expectations/visits_features.json",
        "wrote dags/visits.py",
        "wrote tests/pipelines/test_visits.py",
    ]
    assert lines[6].startswith("binary target bought; entity id; monthly from 2020-05;")
    assert lines[-3:] == [
        "  ./relevo check visits",
        f"  ./relevo land visits {project / 'visits.csv'} --local",
        "  ./relevo run visits --local",
    ]
    pipeline = load("visits", project / "project" / "include" / "pipelines")
    assert pipeline.sources["records"].format == "csv"
    assert pipeline.sources["records"].uri == "s3://landing/visits/records/{partition}/"


def test_with_the_stack_up_the_next_commands_use_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_command.Stack, "is_running", lambda self: True)
    (project / "my visits.csv").write_text(CSV)
    origin = str(project / "my visits.csv")
    done = relevo("new", "visits", "--from", origin, "--target", "bought")
    assert done.stdout.splitlines()[-2:] == [
        f"  ./relevo land visits '{origin}'",
        "  ./relevo run visits",
    ]


def test_columns_that_are_left_out_or_odd_are_told(project: Path) -> None:
    rows = [f"{n},{n % 7},{'yes' if n % 3 else 'no'},{n % 3},x" for n in range(800)]
    text = "\n".join(["id,visits,bought,bought_before,site", *rows])
    (project / "visits.csv").write_text(f"{text}\n")
    done = new(project, "--target", "bought", "--entity", "id")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    left_out, odd = lines.index("Left out:"), lines.index("Kept, for you to look at:")
    assert lines[left_out + 1].startswith("  bought_before: looks like the target in disguise")
    assert lines[left_out + 2] == "  site: constant"
    assert lines[odd + 1] == "  visits: 7 whole numbers, perhaps codes"


def test_it_overwrites_only_when_told(project: Path) -> None:
    assert new(project, "--target", "bought").exit_code == 0
    again = new(project, "--target", "bought")
    assert again.exit_code == 1
    assert "must not exist yet, got include/pipelines/visits.yaml" in again.stderr
    assert new(project, "--target", "bought", "--force").exit_code == 0


def test_a_query_is_read_through_its_connection(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = project / "visits.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table visits (id integer, visits integer, bought text)")
        connection.executemany(
            "insert into visits values (?, ?, ?)",
            [(n, n % 7, "yes" if n % 3 else "no") for n in range(800)],
        )
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"sqlite:///{database}")
    query = "select * from visits"
    done = relevo(
        *("new", "visits", "--from", "sql://shop", "--query", query, "--target", "bought"),
    )
    assert done.exit_code == 0, done.output
    assert "land" not in done.stdout
    source = load("visits", project / "project" / "include" / "pipelines").sources["records"]
    assert (source.connection, source.query, source.uri) == ("shop", query, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "bougth"), "did you mean 'bought'"),
        (("--target", "bought", "--query", "select 1"), "Option --query: needs --from sql://"),
        (("--target", "bought", "--partition", "daily"), "--partition daily: needs --time"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    project: Path, words: tuple[str, ...], message: str
) -> None:
    done = new(project, *words)
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (project / "project").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("new", "Visits", "--from", "x.csv", "--target", "y"), "pipeline 'Visits': a name must"),
        (("new", "visits", "--from", "x.csv", "--target", "y"), "must be an existing file"),
        (("new", "visits", "--from", "sql://shop", "--target", "y"), "and --query"),
        (
            ("new", "visits", "--from", "s3://landing/x/", "--target", "y"),
            "RELEVO_STORE_ENDPOINT_URL, or RELEVO_STORE_REGION for AWS, must be set",
        ),
        (("land", "loan_default", "x.parquet"), "RELEVO_STORE_ENDPOINT_URL"),
        (("land", "loan_defualt", "x.parquet"), "did you mean 'loan_default'"),
    ],
)
def test_wrong_commands(project: Path, words: tuple[str, ...], message: str) -> None:
    done = relevo(*words)
    assert done.exit_code == 1
    assert message in done.stderr


def test_data_on_the_store_stay_where_they_are(project: Path, store: ObjectStore) -> None:
    uri = "s3://landing/new_command/visits.csv"
    store.write(uri, CSV.encode())
    done = relevo("new", "visits", "--from", uri, "--target", "bought", "--time", "day")
    assert done.exit_code == 0, done.output
    assert "land" not in done.stdout.partition("Review")[2]
    source = load("visits", project / "project" / "include" / "pipelines").sources["records"]
    assert (source.uri, source.time) == (uri, "day")


def test_a_file_lands_and_the_answer_says_where(project: Path, store: ObjectStore) -> None:
    loans = pa.table({"loan_id": ["1", "2"], "ApprovalDate": [datetime(1999, 1, 1)] * 2})
    pq.write_table(loans, project / "loans.parquet")
    done = relevo("land", "loan_default", str(project / "loans.parquet"))
    assert done.exit_code == 0, done.output
    assert done.stdout == ("landed 2 rows in 1 partition (1999-Q1): 1 written, 0 there already\n")
    assert store.exists("s3://landing/loan_default/loans/1999-Q1/loans.parquet")
    store.delete("s3://landing/loan_default/loans/1999-Q1/loans.parquet")


def test_a_column_renamed_in_a_later_delivery_is_told_when_it_lands(
    project: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert new(project, "--target", "bought", "--entity", "id").exit_code == 0
    folder = project / "project" / "include" / "pipelines"
    monkeypatch.setattr("include.specification.pipeline_file.load", lambda name: load(name, folder))
    file = project / "visits.csv"
    first = relevo("land", "visits", str(file))
    assert (first.exit_code, len(first.stdout.splitlines())) == (0, 1), first.output
    file.write_text(CSV.replace("visits", "visits_made", 1))
    second = relevo("land", "visits", str(file))
    assert second.exit_code == 0, second.output
    landed, warning = second.stdout.splitlines()
    assert "(snapshot-0002): 1 written" in landed
    assert "It has landed, but ingesting it will stop. source records snapshot-0002:" in warning
    assert "called visits (perhaps now 'visits_made') among id, visits_made" in warning
    store.delete_below("s3://landing/visits/")


def test_an_older_history_with_other_columns_is_told_when_it_lands(
    project: Path, store: ObjectStore
) -> None:
    for year, term in ((2005, "Term"), (1999, "Terms")):
        table = pa.table(
            {"loan_id": ["1"], "ApprovalDate": [datetime(year, 1, 1)], term: [float(year)]}
        )
        pq.write_table(table, project / f"{year}.parquet")
        done = relevo("land", "loan_default", str(project / f"{year}.parquet"))
        assert done.exit_code == 0, done.output
    store.delete_below("s3://landing/loan_default/")
    _, warning = done.stdout.splitlines()
    assert "ingesting it will stop. source loans 2005-Q1: " in warning
    assert "1 missing: Terms (perhaps now 'Term')" in warning
