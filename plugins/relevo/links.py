"""What a person would open from a task: a report, a run, a model version."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import attrs
from airflow.sdk import BaseOperatorLink, conf
from airflow.sdk.execution_time.xcom import XCom
from airflow.sdk.types import TaskInstanceKey

# Where the plugin serves its pages, to people who are logged in.
PAGES = "/relevo"


@attrs.define()
class StoredLink(BaseOperatorLink):
    """A link whose address the operator pushed to XCom under ``key``."""

    name: ClassVar[str] = ""
    key: ClassVar[str] = ""

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Read the address; '' until the task has run."""
        return str(XCom.get_value(key=self.key, ti_key=ti_key) or "")

    @classmethod
    def persist(cls, context: Any, address: str) -> None:
        """Push the address; operators call this."""
        context["ti"].xcom_push(key=cls.key, value=address)


class DataDocsLink(StoredLink):
    """The Data Docs of a validation."""

    name = "Data Docs"
    key = "relevo_data_docs"


class DriftReportLink(StoredLink):
    """The drift report of a batch."""

    name = "Drift report"
    key = "relevo_drift_report"


class EvidenceLink(StoredLink):
    """The page with the evidence for or against a challenger."""

    name = "Evidence"
    key = "relevo_evidence"


class ExplorationLink(StoredLink):
    """The exploratory report on a training set."""

    name = "Exploration"
    key = "relevo_exploration"


class MlflowRunLink(StoredLink):
    """A run in the MLflow UI."""

    name = "MLflow run"
    key = "relevo_mlflow_run"


class ModelVersionLink(StoredLink):
    """A model version in the MLflow UI."""

    name = "Model version"
    key = "relevo_model_version"


class LedgerLink(StoredLink):
    """The decisions of a pipeline."""

    name = "Decisions"
    key = "relevo_ledger"


class MaintenanceLink(StoredLink):
    """What maintenance removed of a pipeline, or is about to."""

    name = "Maintenance"
    key = "relevo_maintenance"


def report_path(uri: str) -> str:
    """Turn ``s3://reports/a/b.html`` into the path at which the plugin serves it."""
    return page_path(f"reports/{uri.removeprefix('s3://reports/')}")


def ledger_path(pipeline: str) -> str:
    """Name the page with a pipeline's decisions."""
    return page_path(f"decisions/{pipeline}")


def page_path(name: str) -> str:
    """Name a page of the plugin, below the path at which Airflow itself is served."""
    root = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{root}{PAGES}/{name}"


def absolute(path: str) -> str:
    """Turn a path of this Airflow into an address that people outside of it can open."""
    base = urlsplit(conf.get("api", "base_url", fallback=""))
    return f"{base.scheme}://{base.netloc}{path}" if base.netloc else path


def task_path(dag_id: str, run_id: str = "", task_id: str = "", map_index: int = -1) -> str:
    """Name Airflow's page about a task, or about a run or a DAG if no task is named."""
    parts = ["dags", dag_id]
    parts += ["runs", quote(run_id, safe=":+")] if run_id else []
    parts += ["tasks", task_id] if run_id and task_id else []
    parts += ["mapped", str(map_index)] if map_index >= 0 else []
    root = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{root}/{'/'.join(parts)}"
