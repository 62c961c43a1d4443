"""No secret lies where others may read it: searched for, after runs, in all that a stack writes."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import boto3
import pytest

from stack.embedded import postgres
from stack.embedded.configuration import BUCKETS, REGION
from stack.embedded.layout import Layout
from stack.embedded.processes import find_processes
from tests.system.conftest import SystemStack
from tests.system.secret_search import Finding, Source, command_lines, database, files, search
from tests.system.secret_search import objects as objects_of

SECRET = {"door": "p@ss/word-0123456789abc"}
VALUE = SECRET["door"]


class TestTheSearch:
    """The search finds what is there."""

    @pytest.mark.parametrize(
        ("text", "form"),
        [
            (f"x{VALUE}y", "plain"),
            (f"postgres://u:{quote(VALUE, safe='')}@host", "quoted"),
            (f"postgres://u:{quote(VALUE)}@host", "quoted"),
            *(
                (base64.b64encode(f"{before}{VALUE}{behind}".encode()).decode(), "base64")
                for before in ("", "u", "us", "use:")
                for behind in ("", "x", "xy")
            ),
        ],
    )
    def test_a_value_in_a_form(self, text: str, form: str) -> None:
        assert search(SECRET, [("here", text.encode())]) == [Finding("here", "door", form)]

    def test_a_value_with_characters_that_json_escapes(self) -> None:
        value = 'quote"and\\backslash'
        source = ("here", json.dumps({"password": value}).encode())
        assert search({"door": value}, [source]) == [Finding("here", "door", "escaped")]

    def test_what_is_not_there(self) -> None:
        assert search(SECRET, [("here", VALUE[:-1].encode()), ("there", b"")]) == []

    def test_nothing_to_search_is_no_success(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="must have something to search"):
            search(SECRET, files(tmp_path))

    def test_a_value_that_is_found_by_chance(self) -> None:
        with pytest.raises(ValueError, match="secret door: must have 8 characters"):
            search({"door": "short"}, [("here", b"short")])

    def test_files(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "log").write_text(f"said {VALUE}")
        (tmp_path / "known").write_text(VALUE)
        found = search(SECRET, files(tmp_path, leave_out=[tmp_path / "known"]))
        assert found == [Finding("a/log", "door", "plain")]

    def test_a_value_that_crosses_the_pages_of_a_database(self, tmp_path: Path) -> None:
        paths = [_hold(tmp_path, dots) for dots in range(900, 940, 5)]
        split = [path for path in paths if not search(SECRET, [("file", path.read_bytes())])]
        assert split, "no file holds the value in two pieces: try other numbers of dots"
        assert search(SECRET, database(f"sqlite:///{split[0]}")) == [
            Finding("table kept", "door", "plain")
        ]


def _hold(folder: Path, dots: int) -> Path:
    path = folder / f"{dots}.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table kept (text)")
        connection.execute(
            "insert into kept values (?)", ["." * dots + VALUE + "." * (9086 - dots)]
        )
    connection.close()
    return path


# The files of the embedded stack that hold secrets on purpose; each is readable by its owner only.
PRIVATE = {
    "stack.json": "where the stack's own secrets are kept",
    "airflow/passwords.json": "the simple auth manager reads passwords from nowhere else",
    "store-configuration/security.toml": "SeaweedFS reads its signing keys from nowhere else",
}


@pytest.fixture(scope="module")
def layout(stack: SystemStack) -> Layout:
    """The paths of the stack."""
    return stack.layout


@pytest.fixture(scope="module")
def values(stack: SystemStack) -> dict[str, str]:
    """Every secret of the stack."""
    return dict(stack.configuration.credentials.model_dump())


@pytest.mark.system
def test_no_file_holds_a_secret(layout: Layout, values: dict[str, str]) -> None:
    """Logs, databases, the store's volumes, and whatever else a part writes."""
    private = [layout.state / name for name in PRIVATE]
    # The id of a key is a name, not a secret; SeaweedFS logs whose requests it serves.
    known = {Finding("logs/store.log", "store_access_key", "plain")}
    assert set(search(values, files(layout.state, leave_out=private))) <= known


@pytest.mark.system
@pytest.mark.parametrize("name", PRIVATE)
def test_what_holds_secrets_is_private(layout: Layout, values: dict[str, str], name: str) -> None:
    """The exceptions are needed, and for the owner only."""
    path = layout.state / name
    assert search(values, [(name, path.read_bytes())])
    assert path.stat().st_mode & 0o077 == 0
    assert layout.state.stat().st_mode & 0o077 == 0


@pytest.mark.system
@pytest.mark.parametrize("name", postgres.DATABASES)
def test_no_table_holds_a_secret(layout: Layout, values: dict[str, str], name: str) -> None:
    """XCom, rendered templates, serialised DAGs, run parameters, connections; runs and models."""
    assert search(values, database(postgres.address(layout, name))) == []


@pytest.mark.system
def test_no_object_holds_a_secret(stack: SystemStack, values: dict[str, str]) -> None:
    """Reports, models, tables and what was landed."""
    client = boto3.client(
        "s3",
        endpoint_url=stack.configuration.store_url,
        aws_access_key_id=stack.configuration.credentials.store_access_key,
        aws_secret_access_key=stack.configuration.credentials.store_secret_key,
        region_name=REGION,
    )
    assert search(values, objects_of(client, BUCKETS)) == []
    client.put_object(Bucket="reports", Key="planted", Body=VALUE.encode())
    try:
        found = search(SECRET, objects_of(client, ["reports"]))
    finally:
        client.delete_object(Bucket="reports", Key="planted")
    assert found == [Finding("s3://reports/planted", "door", "plain")]


@pytest.mark.system
def test_no_answer_of_the_api_holds_a_secret(stack: SystemStack, values: dict[str, str]) -> None:
    """Runs, rendered templates, XCom and logs of every task, as an admin gets them."""
    assert search(values, _answers(stack)) == []


@pytest.mark.system
def test_no_command_line_holds_a_secret(layout: Layout, values: dict[str, str]) -> None:
    """What everybody on the machine sees with `ps`."""
    processes = find_processes(layout)
    assert {"weed", "java"} <= {process.name() for process in processes}
    assert search(values, command_lines(processes)) == []


def _answers(stack: SystemStack) -> Iterator[Source]:
    api = stack.api
    for run in api.dag_runs():
        dag_id, run_id = run["dag_id"], run["dag_run_id"]
        yield f"run {dag_id} {run_id}", json.dumps(run).encode()
        for task in api.task_instances(dag_id, run_id):
            place = f"{dag_id} {run_id} {task['task_id']} {task['map_index']}"
            yield f"task {place}", json.dumps(task).encode()
            entries = api.xcom_entries(dag_id, run_id, task["task_id"], task["map_index"])
            yield f"xcom {place}", json.dumps(entries).encode()
            if task["try_number"]:
                yield f"log {place}", stack.log(dag_id, run_id, task).encode()
