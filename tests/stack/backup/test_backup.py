"""The backup: what it keeps, what it refuses, and the commands of docker that it runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from botocore.exceptions import ClientError

from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from stack.backup import archive, manifest, transfer
from stack.backup.archive import Contents
from stack.backup.compose import ComposeInstallation
from stack.backup.embedded import EmbeddedInstallation
from stack.backup.installation import Report
from stack.backup.manifest import Kind, Manifest
from stack.embedded import databases
from stack.embedded.configuration import Configuration
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import BackupError, ConfigurationError
from tests.stack import dummies

OBJECTS = {
    "table/partition=2005-Q1/part 1.parquet": b"PAR1",
    "table/_delta_log/00000000000000000000.json": b"{}",
    "empty": b"",
    "Zürich/été/\N{SNOWMAN}": b"snow",
    "long/" + "/".join(["x" * 90] * 6): b"far down",
    "..hidden/%2e%2e/a+b&c=d": b"odd",
    "large": os.urandom(archive.IN_MEMORY_BYTES + 12_345),
    "folder/": b"",
}


@pytest.fixture
def client(store_settings: StoreSettings) -> Any:
    return ObjectStore(store_settings).client


@pytest.fixture
def bucket(client: Any) -> Iterator[Callable[[str], str]]:
    """Make buckets that are gone after the test."""
    made = []

    def make(name: str) -> str:
        client.create_bucket(Bucket=name)
        made.append(name)
        return name

    yield make
    for name in made:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in page.get("Contents", ()):
                client.delete_object(Bucket=name, Key=item["Key"])
        client.delete_bucket(Bucket=name)


def test_objects_come_back_with_key_content_type_and_metadata(
    store_settings: StoreSettings, client: Any, bucket: Callable[[str], str]
) -> None:
    source, target = bucket("backup-source"), bucket("backup-target")
    for key, data in OBJECTS.items():
        client.put_object(Bucket=source, Key=key, Body=data, ContentType="text/x-test")
    client.put_object(
        Bucket=source,
        Key="described.html",
        Body=b"<p>",
        ContentType="text/html; charset=utf-8",
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="a.html"',
        Metadata={"origin": "test", "rows": "3"},
    )
    for number in range(40):  # more than are fetched at a time
        client.put_object(Bucket=source, Key=f"many/{number:04}", Body=b"%d" % number)

    stream = io.BytesIO()
    saved = archive.save_bucket(store_settings, source, stream)
    stream.seek(0)
    assert archive.measure_archive(stream) == saved
    stream.seek(0)
    assert archive.load_bucket(store_settings, target, stream) == saved

    assert archive.measure_bucket(store_settings, target) == saved
    assert saved.objects == len(OBJECTS) + 1 + 40
    assert _described(client, target) == _described(client, source)
    for key, data in OBJECTS.items():
        assert client.get_object(Bucket=target, Key=key)["Body"].read() == data, key


def _described(client: Any, bucket: str) -> dict[str, Any]:
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            head = client.head_object(Bucket=bucket, Key=item["Key"])
            found[item["Key"]] = (item["ETag"], {name: head.get(name) for name in archive.KEPT})
    return found


def test_store_that_has_just_started_is_asked_again(
    store_settings: StoreSettings,
    bucket: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = bucket("slow-start")
    client = ObjectStore(store_settings).client
    client.put_object(Bucket=source, Key="a", Body=b"x")
    answers = {"refused": 0}

    def refuse_once(**_: Any) -> Any:
        answers["refused"] += 1
        if answers["refused"] == 1:
            status = {"HTTPStatusCode": 500}
            error = {"Error": {"Code": "InternalError"}, "ResponseMetadata": status}
            raise ClientError(error, "GetObject")

    client.meta.events.register("before-call.s3.GetObject", refuse_once)
    monkeypatch.setattr(archive, "_client", lambda settings: client)
    assert archive.save_bucket(store_settings, source, io.BytesIO()) == Contents(1, 1)
    assert answers["refused"] == 2


def test_bucket_that_does_not_exist_is_an_error(store_settings: StoreSettings) -> None:
    with pytest.raises(BackupError, match="Bucket no-such-bucket: must be copied whole"):
        archive.save_bucket(store_settings, "no-such-bucket", io.BytesIO())


def test_archive_of_something_else_is_refused(store_settings: StoreSettings) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("README"), io.BytesIO())
    stream.seek(0)
    with pytest.raises(BackupError, match="'README': must be an object with its header"):
        archive.load_bucket(store_settings, "lake", stream)


def test_archive_goes_through_the_standard_streams(
    store_settings: StoreSettings, client: Any, bucket: Callable[[str], str]
) -> None:
    source, target = bucket("stream-source"), bucket("stream-target")
    client.put_object(Bucket=source, Key="a/b", Body=b"x" * 1000)
    environment = {
        **os.environ,
        "RELEVO_STORE_ENDPOINT_URL": str(store_settings.endpoint_url),
        "RELEVO_STORE_ACCESS_KEY": str(store_settings.access_key),
        "RELEVO_STORE_SECRET_KEY": client._request_signer._credentials.secret_key,
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }

    def run(action: str, name: str, data: bytes = b"") -> bytes:
        command = [sys.executable, "-m", "stack.backup.archive", action, name]
        return subprocess.run(
            command, input=data, env=environment, check=True, capture_output=True
        ).stdout

    answer = run("load", target, run("save", source))
    assert json.loads(answer) == {"objects": 1, "bytes": 1000}
    assert client.get_object(Bucket=target, Key="a/b")["Body"].read() == b"x" * 1000


class Memory:
    """An installation in memory; its buckets are made of the bytes in them."""

    kind: Kind = "embedded"

    def __init__(self, found: str = "") -> None:
        self.buckets = ("lake", "landing")
        self.found = found
        self.loaded: dict[str, bytes] = {}
        self.steps: list[str] = []
        self.broken = ""

    def releases(self) -> dict[str, str]:
        return manifest.installed_releases()

    def database_server(self) -> str:
        return "none"

    @contextlib.contextmanager
    def quiet(self, report: Report) -> Iterator[None]:
        self.steps.append("quiet")
        yield
        self.steps.append("as before")

    def save_databases(self, folder: Path) -> None:
        (folder / "airflow.db").write_bytes(b"history")

    def save_bucket(self, bucket: str, stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            tar.addfile(tarfile.TarInfo(bucket))

    def save_files(self, directory: Path) -> None:
        (directory / "configuration").mkdir()
        (directory / "configuration" / "stack.json").write_bytes(b"secret")

    def refuse_unless_empty(self, backup: Path) -> None:
        if self.found:
            raise BackupError(f"not empty: {self.found}")

    @contextlib.contextmanager
    def filling(self, backup: Path, report: Report) -> Iterator[None]:
        self.steps.append("filling")
        yield

    def load_databases(self, backup: Path, manifest: Manifest) -> None:
        self.loaded["databases"] = (backup / "databases" / "airflow.db").read_bytes()

    def load_bucket(self, bucket: str, stream: IO[bytes]) -> Contents:
        self.loaded[bucket] = stream.read()
        return Contents(1, 0) if bucket != self.broken else Contents(0, 0)

    def stop(self, report: Report) -> None:
        self.steps.append("stop")

    def migrate(self, report: Report) -> None:
        self.steps.append("migrate")
        if self.broken:
            raise BackupError("Database x: is broken.")

    def start(self, report: Report) -> None:
        self.steps.append("start")

    def way_back(self, backup: Path) -> str:
        return f"Restore {backup.name}."


def no_report(line: str) -> None:
    pass


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    directory = tmp_path / "backup"
    transfer.back_up(Memory(), directory, no_report)
    return directory


def test_backup_is_private_and_describes_itself(backup: Path) -> None:
    made = Manifest.model_validate_json((backup / "manifest.json").read_text())
    assert made.format == manifest.FORMAT
    assert made.data_format == manifest.DATA_FORMAT
    assert made.releases.keys() == {"apache-airflow-core", "mlflow"}
    assert made.buckets == {"lake": Contents(1, 0), "landing": Contents(1, 0)}
    assert set(made.files) == {
        "buckets/lake.tar",
        "buckets/landing.tar",
        "configuration/stack.json",
        "databases/airflow.db",
    }
    for path in (backup, backup / "databases", backup / "buckets"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for name in ("manifest.json", "buckets/lake.tar"):
        assert stat.S_IMODE((backup / name).stat().st_mode) == 0o600, name


def test_restore_gets_everything(backup: Path) -> None:
    target = Memory()
    transfer.restore(target, backup, no_report)
    assert target.loaded["databases"] == b"history"
    assert target.loaded["lake"] == (backup / "buckets" / "lake.tar").read_bytes()


@pytest.mark.parametrize("content", [b"", b"mine"])
def test_backup_into_a_directory_in_use_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    installation = Memory()
    for directory in (tmp_path, tmp_path / "file"):
        with pytest.raises(BackupError, match="must be new or empty for a backup"):
            transfer.back_up(installation, directory, no_report)
    assert installation.steps == []


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    moved = path.with_suffix(".moved")
    path.rename(moved)
    path.symlink_to(moved)


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (alter, "buckets/lake.tar", "buckets/lake.tar: .* its content was altered"),
        (alter, "databases/airflow.db", "databases/airflow.db: .* its content was altered"),
        (truncate, "databases/airflow.db", "airflow.db: .* got 6 bytes instead of 7"),
        (Path.unlink, "buckets/landing.tar", "buckets/landing.tar: .* it is missing"),
        (Path.unlink, "manifest.json", "must hold manifest.json, got none"),
        (truncate, "manifest.json", "manifest.json: must describe the backup"),
        (lambda path: path.write_bytes(b""), "buckets/more.tar", "more.tar: .* does not belong"),
        (link, "databases/airflow.db", "databases/airflow.db: must be a plain file"),
    ],
)
def test_changed_backup_is_refused_before_anything_is_touched(
    backup: Path, change: Callable[[Path], None], name: str, said: str
) -> None:
    (backup / "manifest.json").write_text((backup / "manifest.json").read_text().strip())
    change(backup / name)
    target = Memory()
    with pytest.raises(BackupError, match=said):
        transfer.restore(target, backup, no_report)
    assert (target.steps, target.loaded) == ([], {})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": 2, "invented": True}, "its format must be 1 or earlier, got 2"),
        ({"data_format": 7}, "its data format must be 1 or earlier, got 7"),
        ({"kind": "compose"}, "must be of an embedded stack, .* Restore it with --compose"),
        (
            {"releases": {"apache-airflow-core": "99.0", "mlflow": "1.0"}},
            "its databases must be of apache-airflow-core .* or earlier, got 99.0",
        ),
    ],
)
def test_backup_that_does_not_fit_is_refused(
    backup: Path, changed: dict[str, Any], said: str
) -> None:
    path = backup / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    target = Memory()
    with pytest.raises(BackupError, match=said):
        transfer.restore(target, backup, no_report)
    assert (target.steps, target.loaded) == ([], {})


def test_restore_into_something_is_refused(backup: Path) -> None:
    target = Memory(found="a stack")
    with pytest.raises(BackupError, match="not empty: a stack"):
        transfer.restore(target, backup, no_report)
    assert (target.steps, target.loaded) == ([], {})


def test_bucket_that_lacks_objects_after_the_restore_is_an_error(backup: Path) -> None:
    target = Memory()
    target.broken = "landing"
    with pytest.raises(BackupError, match=r"Bucket landing: must hold 1 objects .* got 0"):
        transfer.restore(target, backup, no_report)


def test_upgrade_backs_up_between_stopping_and_migrating(tmp_path: Path) -> None:
    installation = Memory()
    transfer.upgrade(installation, tmp_path / "before", no_report)
    assert installation.steps == ["stop", "quiet", "as before", "migrate", "start"]
    manifest.verify(tmp_path / "before", "embedded")


def test_failed_upgrade_tells_the_way_back(tmp_path: Path) -> None:
    installation = Memory()
    installation.broken = "x"
    with pytest.raises(BackupError, match=r"is broken\.\n\nThe upgrade failed\. Restore before\."):
        transfer.upgrade(installation, tmp_path / "before", no_report)
    assert "start" not in installation.steps


def test_embedded_restore_asks_for_an_empty_state(layout: Layout, backup: Path) -> None:
    with pytest.raises(BackupError, match="must be empty for a restore, got airflow, logs") as no:
        EmbeddedInstallation(layout).refuse_unless_empty(backup)
    assert f"(mv {layout.state} {layout.state}.old)" in str(no.value)
    EmbeddedInstallation(Layout(layout.state / "new")).refuse_unless_empty(backup)


def test_way_back_of_the_embedded_stack_follows_the_moved_backup(layout: Layout) -> None:
    said = EmbeddedInstallation(layout).way_back(layout.state / "backups" / "b")
    assert f"`mv {layout.state} {layout.state}.failed`" in said
    assert f"`./relevo restore {layout.state}.failed/backups/b`" in said


def test_backup_of_a_release_that_kept_sqlite_is_refused(layout: Layout, tmp_path: Path) -> None:
    old = tmp_path / "backup"
    (old / "databases").mkdir(parents=True)
    (old / "databases" / "airflow.db").touch()
    installation = EmbeddedInstallation(layout)
    with (
        pytest.raises(BackupError, match=r"got SQLite's files .* Restore it with the release"),
        installation.filling(old, no_report),
    ):
        pass
    assert not layout.configuration_file.exists()


def test_start_refuses_databases_of_another_release(layout: Layout) -> None:
    databases.refuse_outdated(layout)  # there are none yet
    for database in databases.DATABASES:
        database.mark(layout, database.installed())
    databases.refuse_outdated(layout)

    databases.AIRFLOW.mark(layout, "3.2.1")
    with pytest.raises(ConfigurationError, match=r"of Airflow in .* must be of .* got 3\.2\.1"):
        databases.refuse_outdated(layout)
    databases.AIRFLOW.mark(layout, databases.AIRFLOW.installed())
    databases.MLFLOW.mark(layout, "3.16.0")
    with pytest.raises(ConfigurationError, match=r"of MLflow .* Run `./relevo upgrade`"):
        Stack(layout, dummies.PARTS, dummies.LAUNCHER).up(no_report)


def test_only_some_parts_run_for_a_while(layout: Layout) -> None:
    stack = Stack(layout, (dummies.FIRST, dummies.STEP, dummies.SECOND), dummies.LAUNCHER)

    def running() -> set[str]:
        states = stack.supervisor.states().values()
        return {part.name for part in states if part.pid}

    with stack.only(("first",), no_report):
        assert running() == {"first"}
    assert not stack.is_running()

    stack.up(no_report)
    try:
        before = stack.supervisor.states()["first"].pid
        with stack.only(("first",), no_report) as configuration:
            assert configuration == Configuration.load(layout)
            assert running() == {"first"}
        assert running() == {"first", "second"}
        assert stack.supervisor.states()["first"].pid == before
    finally:
        stack.down(no_report)


class Docker:
    """Answers as `docker` would, and keeps what it was asked."""

    def __init__(self, **answers: str) -> None:
        self.asked: list[str] = []
        self.answers = {
            "ps --services": "api-server mlflow postgres scheduler store worker",
            "exec -T api-server": '{"apache-airflow-core": "3.3.2", "mlflow": "3.17.2"}',
            "exec -T postgres psql": "17.6\n",
            "config": '{"name": "relevo"}',
            "load": '{"objects": 1, "bytes": 0}',
            **answers,
        }

    def __call__(
        self, *arguments: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> str:
        asked = " ".join(arguments)
        self.asked.append(asked)
        if stdout is not None and "archive save" in asked:
            with tarfile.open(fileobj=stdout, mode="w|") as tar:
                tar.addfile(tarfile.TarInfo("key"))
        elif stdout is not None:
            stdout.write(b"PGDMP")
        elif stdin is not None and "pg_restore" in asked:
            assert stdin.read() == b"PGDMP"
        return next((answer for part, answer in self.answers.items() if part in asked), "")


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    directory = tmp_path / "deployment"
    directory.mkdir()
    (directory / ".env").write_text("POSTGRES_PASSWORD=secret\n")
    return directory


def test_compose_backup_stops_what_writes_and_starts_it_again(
    deployment: Path, tmp_path: Path
) -> None:
    docker = Docker()
    made = transfer.back_up(ComposeInstallation(deployment, docker), tmp_path / "b", no_report)

    assert made.database_server == "PostgreSQL 17.6"
    assert set(made.buckets) == {"landing", "lake", "mlflow", "reports", "logs"}
    assert {name for name in made.files if name.startswith(("conf", "data"))} == {
        "configuration/.env",
        *(f"databases/{name}.dump" for name in ("airflow", "mlflow", "mlflow_auth")),
    }
    dump = "compose exec -T postgres pg_dump --format=custom --username=postgres"
    order = [
        "compose stop scheduler",
        "compose stop api-server mlflow worker",
        f"{dump} airflow",
        f"{dump} mlflow_auth",
        "compose run --rm -T buckets python -m stack.backup.archive save lake",
        "compose start api-server mlflow scheduler worker",
    ]
    assert [docker.asked.index(command) for command in order] == sorted(
        docker.asked.index(command) for command in order
    )
    assert not [command for command in docker.asked if "secret" in command]


def test_compose_restore_fills_an_empty_deployment(deployment: Path, tmp_path: Path) -> None:
    transfer.back_up(ComposeInstallation(deployment, Docker()), tmp_path / "b", no_report)
    new, docker = tmp_path / "new", Docker()
    new.mkdir()
    transfer.restore(ComposeInstallation(new, docker), tmp_path / "b", no_report)

    assert (new / ".env").read_text() == "POSTGRES_PASSWORD=secret\n"
    assert stat.S_IMODE((new / ".env").stat().st_mode) == 0o600
    restored = [command for command in docker.asked if "pg_restore" in command]
    assert [command.split("--dbname=")[1] for command in restored] == [
        f"{name} --exit-on-error --single-transaction"
        for name in ("airflow", "mlflow", "mlflow_auth")
    ]
    assert docker.asked.index("compose run --rm -T databases") < docker.asked.index(restored[0])
    assert docker.asked[-1] == "compose stop"


def test_compose_restore_is_refused_where_something_is(deployment: Path, tmp_path: Path) -> None:
    transfer.back_up(ComposeInstallation(deployment, Docker()), tmp_path / "b", no_report)
    with pytest.raises(BackupError, match=r"\.env: must not exist for a restore"):
        transfer.restore(ComposeInstallation(deployment, Docker()), tmp_path / "b", no_report)
    docker = Docker(**{"volume ls": "relevo_postgres relevo_store"})
    with pytest.raises(BackupError, match=r"2 volumes \(relevo_postgres, relevo_store"):
        transfer.restore(ComposeInstallation(tmp_path / "new", docker), tmp_path / "b", no_report)
    assert not [command for command in docker.asked if "up" in command.split()]


def test_compose_backup_of_a_database_elsewhere_is_refused(
    deployment: Path, tmp_path: Path
) -> None:
    with (deployment / ".env").open("a") as settings:
        settings.write("AIRFLOW_DATABASE_URL=postgresql+psycopg2://a:b@rds:5432/airflow\n")
    with pytest.raises(BackupError, match="AIRFLOW_DATABASE_URL must not be set"):
        transfer.back_up(ComposeInstallation(deployment, Docker()), tmp_path / "b", no_report)


def test_compose_upgrade_migrates_with_the_new_image(deployment: Path, tmp_path: Path) -> None:
    docker = Docker()
    transfer.upgrade(ComposeInstallation(deployment, docker), tmp_path / "b", no_report)
    assert docker.asked[-2:] == [
        "compose run --rm -T --build --env=RELEVO_UPGRADE=yes migrate",
        "compose up --detach --wait",
    ]
