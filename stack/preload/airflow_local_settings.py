"""Import and read what tasks need before workers are forked.

`LocalExecutor` forks its workers, and they the tasks, from the scheduler, and
Celery from its worker: what those have imported is there at once in every task
and shared in memory. Only the scheduler of the embedded stack and the Celery
workers have this directory on their module path, and Airflow imports a module
of this name when it starts.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time

MODULES = (
    "pandas",
    "pyarrow",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pyarrow.fs",
    "boto3",
    "deltalake",
    "duckdb",
    "pydantic_settings",
    "great_expectations",
    "evidently",
    "evidently.presets",
    "evidently.metrics",
    "mlflow",
    "mlflow.sklearn",
    "mlflow.models",
    "mlflow.pyfunc",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.calibration",
    "skops.io",
    "skrub",
    "git",  # asked by MLflow for the commit of a run
    "optuna",
    "pyspark.sql.connect.session",
    "pyspark.sql.connect.functions",
    "pyspark.sql.datasource",
    "datasketches",
    "scipy.stats",
    "plotly.graph_objects",
    # What tasks share, nothing that a pipeline brings: its functions are read by each task.
    "include.reports.alert_search",
    "include.reports.drift_report",
    "include.reports.evidence_page",
    "include.reports.exploration_report",
    "include.scoring.predictions",
    "include.spark.session",
    "include.specification.pipeline_file",
    "include.steps.gaps",
    "include.steps.monitoring",
    "include.steps.preparation",
    "include.steps.promotion",
    "include.steps.training",
)


def preload() -> None:
    """Import the modules; one that cannot be imported is left to the tasks."""
    begun = time.monotonic()
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:
            _say(f"module {name}: not preloaded ({error})")
    for prepare in (_describe_s3, _list_packages):
        try:
            prepare()
        except Exception as error:
            _say(f"{prepare.__name__}: left to the tasks ({error})")
    # A fork copies the thread that forks and no other, but every lock they hold.
    others = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    if others:
        _say(f"threads after preloading, unsafe to fork: {', '.join(others)}")
    _say(f"preloaded {len(MODULES)} modules in {time.monotonic() - begun:.1f} s")


def _describe_s3() -> None:
    """Let boto3 read what S3 is, 0.24 CPU seconds that each task would spend on its first client.

    Its default session keeps that. The client is thrown away, and asks nobody for its keys.
    """
    import boto3

    boto3.client("s3", "us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def _list_packages() -> None:
    """Let MLflow list which package brings which module, 0.28 CPU seconds of each logged model."""
    from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

    warn_dependency_requirement_mismatches(["mlflow"])


def _say(line: str) -> None:
    # Airflow has not set up its logging yet.
    print(line, file=sys.stderr, flush=True)


# Commands that a task starts inherit the module path, and need nothing of this.
if sys.argv[1:2] == ["scheduler"] or sys.argv[1:3] == ["celery", "worker"]:
    preload()
