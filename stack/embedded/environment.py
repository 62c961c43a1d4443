"""The environment variables of every part.

Secrets reach Airflow's parts, and so the tasks, as Airflow connections only.
The Spark server and the command line, which know no Airflow, get the same
facts as `RELEVO_*` variables.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stack.embedded import postgres
from stack.embedded.configuration import ADMIN, REGION, Configuration
from stack.embedded.layout import STATE_VARIABLE, Layout
from stack.embedded.ports import LOOPBACK

if TYPE_CHECKING:
    from include.storage.settings import StoreSettings

PART_VARIABLE = "RELEVO_PART"
DAGS_VARIABLE = "RELEVO_DAGS_FOLDER"
TASKS_AT_A_TIME = 6
# Sums over a varying number of threads differ in the last digits. Libraries read these when they
# are loaded, so whoever computes beside the tasks (commands, tests) sets them first.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# What a part may inherit from the shell that ran `up`. Anything else, such as
# the cloud keys or the Airflow settings of another project, stays outside.
INHERITED = frozenset(
    (
        *("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TMPDIR", "PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        "JAVA_TOOL_OPTIONS",  # certificates and proxies of Java, its memory and its compiler
        *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
    )
)
INHERITED_PREFIXES = ("LC_",)
INHERITED_BY_AIRFLOW = ("AIRFLOW_CONN_", "AIRFLOW_VAR_")


def base_environment(
    layout: Layout, part: str, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return what every part has: the marker, paths, and no secret.

    Args:
        layout: The stack's paths.
        part: Name of the part.
        inherited: The environment to take `PATH`, the locale and the like from.
    """
    inherited = os.environ if inherited is None else inherited
    kept = {
        name: value
        for name, value in inherited.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    return {
        **kept,
        "PATH": f"{layout.bin}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "NO_PROXY": f"{LOOPBACK},localhost",
        "no_proxy": f"{LOOPBACK},localhost",
        "PYTHONPATH": f"{layout.repository}{os.pathsep}{layout.repository / 'plugins'}",
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        STATE_VARIABLE: str(layout.state),
        PART_VARIABLE: part,
        # Airflow renames its processes; without this the renaming overwrites the
        # memory behind /proc/<pid>/environ and the marker above is lost.
        "SPT_NOENV": "1",
    }


def supervisor_environment(
    layout: Layout, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return supervisord's environment: the base, and what Airflow's parts take from the shell."""
    inherited = os.environ if inherited is None else inherited
    kept = {
        name: value
        for name, value in inherited.items()
        if name == DAGS_VARIABLE or name.startswith(INHERITED_BY_AIRFLOW)
    }
    return {**kept, **base_environment(layout, "supervisord", inherited)}


def store_environment(configuration: Configuration) -> dict[str, str]:
    """Return how code outside Airflow reaches the object store. Secret."""
    return {
        "RELEVO_STORE_ENDPOINT_URL": configuration.store_url,
        "RELEVO_STORE_ACCESS_KEY": configuration.credentials.store_access_key,
        "RELEVO_STORE_SECRET_KEY": configuration.credentials.store_secret_key,
        "RELEVO_STORE_REGION": REGION,
        # The shell's may be that of another deployment.
        "RELEVO_STORE_BUCKET_PREFIX": "",
    }


def store_of(configuration: Configuration) -> StoreSettings:
    """Return how code outside Airflow reaches the object store, as settings."""
    from include.storage.settings import StoreSettings

    return StoreSettings(
        endpoint_url=configuration.store_url,
        access_key=configuration.credentials.store_access_key,
        secret_key=configuration.credentials.store_secret_key,
        region=REGION,
        bucket_prefix="",
    )


def library_environment(layout: Layout, configuration: Configuration) -> dict[str, str]:
    """Return what the library needs outside Airflow, e.g. in the command line. Secret."""
    return {
        **store_environment(configuration),
        **quiet_libraries(),
        "RELEVO_MLFLOW_URI": configuration.mlflow_url,
        "RELEVO_SPARK_REMOTE": configuration.spark_remote,
        "RELEVO_COMMIT": code_commit(layout.repository),
    }


def quiet_libraries() -> dict[str, str]:
    """Return settings that keep libraries offline, quick to fail, and repeatable."""
    return {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "GX_ANALYTICS_ENABLED": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        **ONE_THREAD,
    }


def connections(configuration: Configuration) -> dict[str, str]:
    """Return the Airflow connections to the store, MLflow and Spark. Secret."""
    credentials = configuration.credentials
    return {
        "AIRFLOW_CONN_RELEVO_STORE": json.dumps(
            {
                "conn_type": "aws",
                "login": credentials.store_access_key,
                "password": credentials.store_secret_key,
                "extra": {"endpoint_url": configuration.store_url, "region_name": REGION},
            }
        ),
        "AIRFLOW_CONN_RELEVO_MLFLOW": json.dumps(
            {
                "conn_type": "http",
                "host": f"http://{LOOPBACK}",
                "port": configuration.port("mlflow"),
            }
        ),
        "AIRFLOW_CONN_RELEVO_SPARK": json.dumps(
            {
                "conn_type": "generic",
                "host": configuration.spark_address,
                "password": credentials.spark_token,
            }
        ),
    }


def airflow_environment(
    layout: Layout,
    configuration: Configuration,
    part: str,
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of an Airflow part; tasks inherit the scheduler's. Secret.

    Args:
        layout: The stack's paths.
        configuration: Ports and credentials.
        part: Name of the part.
        inherited: The environment of `up`; its `AIRFLOW_CONN_*` and
            `AIRFLOW_VAR_*` are handed on, `RELEVO_DAGS_FOLDER` replaces `dags/`.
    """
    inherited = os.environ if inherited is None else inherited
    credentials = configuration.credentials
    settings = {
        ("core", "dags_folder"): inherited.get(DAGS_VARIABLE) or str(layout.repository / "dags"),
        ("core", "plugins_folder"): str(layout.repository / "plugins"),
        ("core", "load_examples"): "False",
        ("core", "executor"): "LocalExecutor",
        ("core", "parallelism"): str(TASKS_AT_A_TIME),
        ("core", "max_active_tasks_per_dag"): str(TASKS_AT_A_TIME),
        ("core", "execution_api_server_url"): f"{configuration.airflow_url}/execution/",
        ("core", "fernet_key"): credentials.airflow_fernet_key,
        ("core", "simple_auth_manager_users"): f"{ADMIN}:admin",
        ("core", "simple_auth_manager_passwords_file"): str(layout.airflow_passwords),
        ("database", "sql_alchemy_conn"): postgres.address(layout, postgres.AIRFLOW_DATABASE),
        ("api", "host"): LOOPBACK,
        ("api", "port"): str(configuration.port("api-server")),
        ("api", "workers"): "1",
        ("api", "base_url"): configuration.airflow_url,
        ("api", "secret_key"): credentials.airflow_secret_key,
        ("api_auth", "jwt_secret"): credentials.airflow_jwt_secret,
        # The first call to a cold API can take longer than the 5 s of the default.
        ("workers", "execution_api_timeout"): "30",
        ("scheduler", "scheduler_idle_sleep_time"): "0.5",
        ("dag_processor", "refresh_interval"): "30",
        ("logging", "base_log_folder"): str(layout.airflow / "logs"),
        ("usage_data_collection", "enabled"): "False",
    }
    return {
        **{k: v for k, v in inherited.items() if k.startswith(INHERITED_BY_AIRFLOW)},
        **base_environment(layout, part, inherited),
        **quiet_libraries(),
        **connections(configuration),
        **{
            f"AIRFLOW__{section.upper()}__{key.upper()}": value
            for (section, key), value in settings.items()
        },
        "AIRFLOW_HOME": str(layout.airflow),
        "RELEVO_COMMIT": code_commit(layout.repository),
    }


def code_commit(repository: Path) -> str:
    """Return the commit of the code, or a digest of `include/` outside of git."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(repository), "rev-parse", "--verify", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return answer.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    digest = hashlib.sha256()
    include = repository / "include"
    for path in sorted(p for p in include.rglob("*") if p.is_file()):
        if "__pycache__" not in path.parts:
            digest.update(os.fsencode(path.relative_to(include)) + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
