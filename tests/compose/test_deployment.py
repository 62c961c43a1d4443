"""docker-compose.yaml on a real engine: started, used, hurt, backed up, restored, taken down.

The tests build on each other in their order: starting a deployment takes minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.deployment import PROJECT, Deployment, run, until

SCORE, TRAIN = "loan_default_score", "loan_default_train"
ONCE = {"databases", "buckets", "migrate", "mlflow-users"}
SERVERS = {
    *("postgres", "redis", "store", "mlflow", "api-server", "scheduler", "dag-processor"),
    *("triggerer", "worker", "spark-master", "spark-worker", "spark-connect"),
}
# Those without which Airflow cannot answer come last, so that the others are watched through it.
KILLED = (
    *("worker", "spark-worker", "spark-connect", "spark-master", "store", "mlflow", "triggerer"),
    *("dag-processor", "scheduler", "redis", "api-server", "postgres"),
)


def service(container: dict[str, object]) -> str:
    """Name the service of a container."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])  # type: ignore[index]


def test_without_settings_nothing_starts(project: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.env"
    empty.touch()
    done = subprocess.run(
        ["docker", "compose", "--env-file", str(empty), "config", "--quiet"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Run ./relevo compose init" in done.stderr


def test_everything_is_healthy(deployment: Deployment) -> None:
    states = {
        service(container): (
            container["State"]["Status"],
            container["State"].get("Health", {}).get("Status", container["State"]["ExitCode"]),
        )
        for container in deployment.containers()
    }
    assert states == {
        **{name: ("running", "healthy") for name in SERVERS},
        **{name: ("exited", 0) for name in ONCE},
    }


def test_only_user_interfaces_are_published_and_on_loopback(deployment: Deployment) -> None:
    published = {
        (service(container), binding["HostIp"])
        for container in deployment.containers(all_states=False)
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published == {("api-server", "127.0.0.1"), ("mlflow", "127.0.0.1")}


def test_containers_are_held_in_bounds(deployment: Deployment) -> None:
    for container in deployment.containers():
        host = container["HostConfig"]
        assert host["Memory"] > 0, service(container)
        assert host["LogConfig"]["Config"].get("max-size"), service(container)
        if container["Config"]["Image"] == f"relevo:{PROJECT}":
            assert container["Config"]["User"] == "relevo", service(container)
            assert host["CapDrop"] == ["ALL"], service(container)


def test_no_description_and_no_command_line_shows_a_secret(deployment: Deployment) -> None:
    texts = {
        f"docker inspect {service(container)}": json.dumps(container)
        for container in deployment.containers()
    }
    texts["docker compose top"] = deployment.compose("top")
    found = [
        (place, name)
        for place, text in texts.items()
        for name, value in deployment.secrets.items()
        if value in text
    ]
    assert found == []


def test_the_image_has_no_build_tools(deployment: Deployment) -> None:
    present = deployment.in_container(
        "worker", "sh", "-c", "command -v gcc cc make uv pip git || true"
    ).split()
    assert [path for path in present if not path.startswith("/usr/local/")] == []


def test_starting_again_changes_nothing(deployment: Deployment) -> None:
    before = {c["Id"] for c in deployment.containers() if service(c) in SERVERS}
    deployment.up()
    assert {c["Id"] for c in deployment.containers() if service(c) in SERVERS} == before
    said = deployment.compose("logs", "--no-color", "--no-log-prefix", *ONCE)
    assert "nothing to do" in said
    assert "buckets made: none" in said


def test_each_key_of_the_store_opens_its_own_buckets(deployment: Deployment) -> None:
    keys = {
        name: (
            deployment.settings[f"STORE_{name.upper()}_ACCESS_KEY"],
            deployment.settings[f"STORE_{name.upper()}_SECRET_KEY"],
        )
        for name in ("tasks", "mlflow", "reader", "landing")
    }
    said = deployment.compose(
        *("run", "--rm", "--no-TTY", "buckets", "python", "-c", KEYS), input=json.dumps(keys)
    )
    assert json.loads(said) == {
        "tasks": {"lake": "rw", "landing": "r", "logs": "rw", "mlflow": "", "reports": "rw"},
        "mlflow": {"lake": "", "landing": "", "logs": "", "mlflow": "rw", "reports": ""},
        "reader": {"lake": "r", "landing": "", "logs": "r", "mlflow": "", "reports": "r"},
        "landing": {"lake": "", "landing": "rw", "logs": "", "mlflow": "", "reports": ""},
    }


# As admin writes a probe into every bucket; then each key tries to read and to write there.
KEYS = """
import json, sys
from include.errors import SourceError
from include.storage.settings import BUCKETS, StoreSettings
from include.storage.object_store import ObjectStore

def allowed(action, *arguments):
    try:
        action(*arguments)
    except SourceError as error:
        if "AccessDenied" not in str(error):
            raise
        return False
    return True

admin = StoreSettings.from_environment()
probe = "s3://{}/_probe/x"
for bucket in BUCKETS:
    ObjectStore(admin).write(probe.format(bucket), b"x")
found = {}
for name, (access_key, secret_key) in json.load(sys.stdin).items():
    store = ObjectStore(
        StoreSettings(
            endpoint_url=admin.endpoint_url, access_key=access_key, secret_key=secret_key
        )
    )
    found[name] = {
        bucket: "r" * allowed(store.read, probe.format(bucket))
        + "w" * allowed(store.write, probe.format(bucket), b"y")
        for bucket in sorted(BUCKETS)
    }
for bucket in BUCKETS:
    ObjectStore(admin).delete(probe.format(bucket))
print(json.dumps(found))
"""


def test_both_dags_run(deployment: Deployment, slices: Path) -> None:
    for source in ("loans", "outcomes"):
        said = deployment.tools(
            *("land", "loan_default", f"/given/{source}.parquet", "--source", source),
            volume=slices,
        )
        assert "landed" in said
    for dag_id in (TRAIN, SCORE):
        deployment.api.wait_for_dag(dag_id)
        deployment.api.unpause(dag_id)
    deployment.wait(TRAIN, deployment.run(TRAIN, "2004-Q4"))
    deployment.wait(SCORE, deployment.run(SCORE, "2005-Q1"))
    rows = json.loads(deployment.tools("demo", "--summary"))
    assert [(row["partition"], row["champion"]) for row in rows] == [("2005-Q1", 1)]


def test_logs_of_tasks_outlive_their_worker(deployment: Deployment) -> None:
    deployment.compose("up", "--detach", "--wait", "--force-recreate", "--no-deps", "worker")
    runs = deployment.api.dag_runs(SCORE)
    log = deployment.api.task_log(SCORE, runs[0]["dag_run_id"], "score_batch", -1, 1)
    assert "s3://logs/airflow" in log


def test_the_doctor_finds_nothing(deployment: Deployment) -> None:
    findings = json.loads(deployment.tools("doctor", "--json"))
    assert {item["part"] for item in findings} >= {"store", "mlflow", "spark", "airflow"}
    assert [item for item in findings if item["verdict"] == "failed"] == []


@pytest.fixture(scope="module")
def interrupted(deployment: Deployment) -> str:
    """A scoring run in whose middle every kind of container was killed; returns its id."""
    run_id = deployment.run(SCORE, "2005-Q2")
    until(
        lambda: any(
            task["state"] == "running" for task in deployment.api.task_instances(SCORE, run_id)
        ),
        "a task to run",
        120,
    )
    for name in KILLED:
        # -1 is every process of the container but the first, which ends with its child.
        deployment.in_container(name, "sh", "-c", "kill -9 -1", check=False)
    return run_id


def test_every_kind_of_container_comes_back(deployment: Deployment, interrupted: str) -> None:
    def back() -> bool:
        servers = [c for c in deployment.containers() if service(c) in SERVERS]
        restarted = {service(c) for c in servers if c["RestartCount"] > 0}
        states = {c["State"].get("Health", {}).get("Status") for c in servers}
        return restarted >= set(KILLED) and states == {"healthy"}

    until(back, "every killed container to have started again and be healthy", 600)


def test_the_run_ends_well(deployment: Deployment, interrupted: str) -> None:
    deployment.wait(SCORE, interrupted, seconds=900)
    rows = {row["partition"]: row for row in json.loads(deployment.tools("demo", "--summary"))}
    assert rows["2005-Q2"]["champion"] == 1


def test_no_secret_is_in_logs_databases_and_objects(deployment: Deployment) -> None:
    places = {"logs of containers": deployment.compose("logs", "--no-color")}
    for database in ("airflow", "mlflow", "mlflow_auth"):
        places[f"database {database}"] = deployment.in_container(
            "postgres", "pg_dump", "--username=postgres", "--inserts", database
        )
    places["objects"] = deployment.in_container(
        *("spark-connect", "/opt/relevo/stack/compose/entrypoint.sh", "python", "-c", OBJECTS)
    )
    found = [
        (place, name)
        for place, text in places.items()
        for name, value in deployment.secrets.items()
        # The id of a key is a name: the store logs who asked.
        if value in text and not name.endswith("_ACCESS_KEY")
    ]
    assert found == []
    # The search can find: what was written is there.
    assert "loan_default" in places["database airflow"]
    assert "score_batch" in places["objects"]


# Everything that tasks have written and people may read.
OBJECTS = """
import sys
from include.storage.settings import StoreSettings
from include.storage.object_store import ObjectStore
client = ObjectStore(StoreSettings.from_environment()).client
for bucket in ("logs", "reports", "lake"):
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"]
            sys.stdout.write(body.read().decode("latin-1"))
"""


def test_an_empty_installation_goes_on_from_a_backup(
    deployment: Deployment, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "stack.cli"]
    backup = tmp_path / "backup"
    settings = (deployment.directory / ".env").read_bytes()
    before = json.loads(deployment.tools("demo", "--summary"))
    run([*command, "backup", "--compose", str(backup)], deployment.directory)
    deployment.compose("down", "--volumes")
    (deployment.directory / ".env").unlink()
    run([*command, "restore", "--compose", str(backup)], deployment.directory)
    assert (deployment.directory / ".env").read_bytes() == settings
    deployment.up()
    assert json.loads(deployment.tools("demo", "--summary")) == before
    deployment.wait(SCORE, deployment.run(SCORE, "2005-Q3"))
    rows = [row["partition"] for row in json.loads(deployment.tools("demo", "--summary"))]
    assert rows == ["2005-Q1", "2005-Q2", "2005-Q3"]


def test_an_upgrade_backs_up_first(deployment: Deployment, tmp_path: Path) -> None:
    backup = tmp_path / "before"
    before = json.loads(deployment.tools("demo", "--summary"))
    command = [sys.executable, "-m", "stack.cli", "upgrade", "--compose", "--backup", str(backup)]
    run(command, deployment.directory)
    assert (backup / "manifest.json").exists()
    migrated = deployment.compose("logs", "--no-color", "--no-log-prefix", "migrate")
    for schema in ("Airflow", "Airflow's accounts", "MLflow", "MLflow's accounts"):
        assert f"{schema}: was current" in migrated
    assert json.loads(deployment.tools("demo", "--summary")) == before


def test_nothing_is_left(deployment: Deployment) -> None:
    deployment.compose("down", "--volumes", "--remove-orphans")
    label = f"label=com.docker.compose.project={PROJECT}"
    for kind, states in (("container", ["--all"]), ("volume", []), ("network", [])):
        command = ["docker", kind, "ls", *states, "--quiet", "--filter", label]
        assert run(command, deployment.directory) == ""
