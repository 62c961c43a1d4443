"""What runs in the embedded stack, in which order, and when it is healthy."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stack.embedded import postgres
from stack.embedded.configuration import ADMIN, BUCKETS, REGION, Configuration
from stack.embedded.environment import airflow_environment, base_environment, store_environment
from stack.embedded.health import check_heartbeat, check_page, check_spark, check_store
from stack.embedded.java import choose_java
from stack.embedded.layout import Layout
from stack.embedded.ports import LOOPBACK
from stack.errors import PartError
from stack.private_files import write_private


@dataclass(frozen=True)
class Launch:
    """Say how to execute a part.

    Args:
        command: Program and arguments; no secrets, they show in `ps`.
        environment: The whole environment.
        directory: The working directory.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    directory: Path


@dataclass(frozen=True)
class Part:
    """Describe one part of the stack.

    Args:
        name: As shown and typed on the terminal.
        launch: Makes the command and environment at each start.
        check: Given the paths, the configuration and the process's start time (seconds
            since the epoch), returns None or the reason why it is not healthy.
        after: Parts that must be healthy before this one starts.
        address: What a person or client would open, if anything.
        start_seconds: A process that ends sooner has failed to start.
        healthy_seconds: How long the first healthy answer may take; longer on a busy machine.
        stop_seconds: How long a graceful end may take.
        stop_signal: What asks for a graceful end.
        once: The part is a step that runs to its end, not a server.
    """

    name: str
    launch: Callable[[Layout, Configuration], Launch]
    check: Callable[[Layout, Configuration, float], str | None]
    after: tuple[str, ...] = ()
    address: Callable[[Configuration], str] = lambda configuration: ""
    start_seconds: int = 10
    healthy_seconds: float = 240.0
    stop_seconds: int = 30
    stop_signal: str = "TERM"
    once: bool = False


def launch_store(layout: Layout, configuration: Configuration) -> Launch:
    """Run SeaweedFS with authentication on every interface that has it."""
    key = configuration.credentials.store_signing_key
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    write_private(
        layout.store_configuration / "security.toml",
        "".join(f'[{section}]\nkey = "{key}"\n' for section in sections),
    )
    # Unset, the gRPC ports are the HTTP ports plus 10000, free or not.
    services = {"s3": "store"} | {
        name: f"store-{name}" for name in ("master", "volume", "filer", "admin")
    }
    ports = [
        flag
        for service, name in services.items()
        for flag in (
            f"-{service}.port={configuration.port(name)}",
            f"-{service}.port.grpc={configuration.port(f'{name}-grpc')}",
        )
    ]
    command = (
        str(layout.bin / "weed"),
        f"-logdir={layout.store_configuration}",
        f"-config_dir={layout.store_configuration}",
        "-logtostderr=true",
        "mini",
        f"-dir={layout.store}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        *ports,
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={layout.sockets / 's3.sock'}",
        f"-filer.localSocket={layout.sockets / 'filer.sock'}",
        f"-bucket={','.join(BUCKETS)}",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false",
    )
    environment = {
        **base_environment(layout, "store"),
        "AWS_ACCESS_KEY_ID": configuration.credentials.store_access_key,
        "AWS_SECRET_ACCESS_KEY": configuration.credentials.store_secret_key,
    }
    return Launch(command, environment, layout.store_configuration)


def launch_postgres(layout: Layout, configuration: Configuration) -> Launch:
    """Run PostgreSQL."""
    postgres.remove_stale_lock(layout)
    return Launch(postgres.command(layout), base_environment(layout, "postgres"), layout.run)


def launch_mlflow(layout: Layout, configuration: Configuration) -> Launch:
    """Run the MLflow server; clients get artifacts through it and need no store key."""
    command = (
        str(layout.bin / "mlflow"),
        "server",
        f"--host={LOOPBACK}",
        f"--port={configuration.port('mlflow')}",
        f"--backend-store-uri={postgres.address(layout, postgres.MLFLOW_DATABASE)}",
        "--artifacts-destination=s3://mlflow",
        "--workers=1",
    )
    environment = {
        **base_environment(layout, "mlflow"),
        "MLFLOW_S3_ENDPOINT_URL": configuration.store_url,
        "AWS_ACCESS_KEY_ID": configuration.credentials.store_access_key,
        "AWS_SECRET_ACCESS_KEY": configuration.credentials.store_secret_key,
        "AWS_DEFAULT_REGION": REGION,
        # Ten processes and 2.6 GB for jobs that nobody sends here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    return Launch(command, environment, layout.mlflow)


def launch_spark(layout: Layout, configuration: Configuration) -> Launch:
    """Run the Spark Connect server on two local cores."""
    specification = importlib.util.find_spec("pyspark")
    if specification is None or specification.origin is None:
        raise PartError("Part spark: pyspark is not installed. Delete .venv and run again.")
    home = Path(specification.origin).parent
    settings = {
        "spark.ui.enabled": "false",
        "spark.connect.grpc.binding.address": LOOPBACK,
        "spark.connect.grpc.binding.port": configuration.port("spark"),
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.sql.python.filterPushdown.enabled": "true",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": layout.spark / "warehouse",
        "spark.sql.session.timeZone": "UTC",
        "spark.log.level": "WARN",
    }
    command = (
        str(home / "bin" / "spark-submit"),
        "--class=org.apache.spark.sql.connect.service.SparkConnectServer",
        "--name=relevo",
        "--master=local[2]",
        "--driver-memory=2g",
        *(word for key, value in settings.items() for word in ("--conf", f"{key}={value}")),
    )
    base = base_environment(layout, "spark")
    environment = {
        **base,
        **store_environment(configuration),
        "JAVA_HOME": layout.java_home_file.read_text(encoding="utf-8"),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_LOCAL_DIRS": str(layout.spark / "local"),
        "SPARK_CONNECT_MODE": "0",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": configuration.credentials.spark_token,
        "PYSPARK_PYTHON": str(layout.bin / "python"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return Launch(command, environment, layout.spark)


def launch_airflow(part: str, *arguments: str) -> Callable[[Layout, Configuration], Launch]:
    """Return what makes the launch of an `airflow` command."""

    def launch(layout: Layout, configuration: Configuration) -> Launch:
        return Launch(
            (str(layout.bin / "airflow"), *arguments),
            airflow_environment(layout, configuration, part),
            layout.airflow,
        )

    return launch


def launch_scheduler(layout: Layout, configuration: Configuration) -> Launch:
    """Run the scheduler with the modules of `stack/preload` imported before it forks."""
    launch = launch_airflow("scheduler", "scheduler", "--skip-serve-logs")(layout, configuration)
    path = launch.environment["PYTHONPATH"]
    preload = layout.repository / "stack" / "preload"
    environment = {**launch.environment, "PYTHONPATH": f"{preload}{os.pathsep}{path}"}
    return replace(launch, environment=environment)


def check_api_server(layout: Layout, configuration: Configuration, started: float) -> str | None:
    """Check both of Airflow's APIs, which also warms the one that tasks call."""
    return check_page(f"{configuration.airflow_url}/api/v2/monitor/health") or check_page(
        f"{configuration.airflow_url}/execution/health", timeout_seconds=30
    )


PARTS: tuple[Part, ...] = (
    Part(
        name="store",
        launch=launch_store,
        check=lambda layout, configuration, started: check_store(configuration),
        address=lambda configuration: configuration.store_url,
        start_seconds=3,
    ),
    Part(
        name="postgres",
        launch=launch_postgres,
        check=lambda layout, configuration, started: postgres.check(layout),
        start_seconds=1,
        # TERM would wait until every client has left.
        stop_signal="INT",
    ),
    Part(
        name="migrate",
        launch=launch_airflow("migrate", "db", "migrate"),
        check=lambda layout, configuration, started: None,
        after=("postgres",),
        once=True,
    ),
    Part(
        name="mlflow",
        launch=launch_mlflow,
        check=lambda layout, configuration, started: check_page(
            f"{configuration.mlflow_url}/health"
        ),
        after=("store", "postgres"),
        address=lambda configuration: configuration.mlflow_url,
        start_seconds=15,
    ),
    Part(
        name="spark",
        launch=launch_spark,
        check=lambda layout, configuration, started: check_spark(configuration),
        after=("store",),
        address=lambda configuration: configuration.spark_address,
    ),
    Part(
        name="api-server",
        launch=launch_airflow("api-server", "api-server"),
        check=check_api_server,
        after=("migrate",),
        address=lambda configuration: configuration.airflow_url,
        start_seconds=15,
    ),
    Part(
        name="dag-processor",
        launch=launch_airflow("dag-processor", "dag-processor"),
        check=lambda layout, configuration, started: check_heartbeat(
            configuration, "dag_processor", started
        ),
        after=("api-server",),
        start_seconds=15,
    ),
    Part(
        name="triggerer",
        launch=launch_airflow("triggerer", "triggerer", "--skip-serve-logs"),
        check=lambda layout, configuration, started: check_heartbeat(
            configuration, "triggerer", started
        ),
        after=("api-server",),
        start_seconds=15,
    ),
    Part(
        # Last: a task that is due before the APIs and the store answer fails.
        name="scheduler",
        launch=launch_scheduler,
        check=lambda layout, configuration, started: check_heartbeat(
            configuration, "scheduler", started
        ),
        after=("api-server", "mlflow", "spark"),
        start_seconds=15,
        # Running tasks may finish; those that do not are run again after the next start.
        stop_seconds=30,
    ),
)


def prepare_files(layout: Layout, configuration: Configuration) -> None:
    """Write the private files that parts read, and make the databases."""
    postgres.initialise(layout)
    write_private(layout.java_home_file, str(choose_java(layout, os.environ)))
    write_private(
        layout.airflow_passwords,
        json.dumps({ADMIN: configuration.credentials.airflow_password}),
    )
