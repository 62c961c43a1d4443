"""MLflow runs: one parent per DAG run, found again by its tag; candidates nested below it.

Nothing stays RUNNING: :meth:`Tracking.close` ends the parent and whatever a killed task left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from include.storage.settings import MlflowSettings

PARENT = "mlflow.parentRunId"
KEY = "relevo.key"


class Tracking:
    """The runs of one pipeline's experiment.

    Args:
        settings: Where the MLflow server is and who asks.
        pipeline: Name of the pipeline; also the experiment's.
    """

    def __init__(self, settings: MlflowSettings, pipeline: str) -> None:
        self.settings = settings
        self.uri = settings.uri
        self.pipeline = pipeline
        if settings.username and settings.password:
            # MLflow reads them at each request and takes them from nowhere else.
            os.environ["MLFLOW_TRACKING_USERNAME"] = settings.username
            os.environ["MLFLOW_TRACKING_PASSWORD"] = settings.password.get_secret_value()
        self.client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def parent(self, dag_run_id: str, tags: Mapping[str, str]) -> str:
        """Find the parent run of a DAG run, or make it; returns its run id."""
        return self._find_or_create(f"training/{dag_run_id}", dag_run_id, tags)

    def candidate(self, parent_id: str, name: str) -> str:
        """Find the nested run of a candidate, or make it; returns its run id."""
        tags = {PARENT: parent_id, "relevo.candidate": name}
        return self._find_or_create(f"candidate/{parent_id}/{name}", name, tags)

    def finished_tags(self, run_id: str) -> Mapping[str, str]:
        """Read the tags of a run that finished; none if it did not."""
        run = self.client.get_run(run_id)
        return run.data.tags if run.info.status == "FINISHED" else {}

    def download(self, model_uri: str, name: str) -> bytes:
        """Read one file of a logged model."""
        with TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(
                model_uri, dst_path=folder, tracking_uri=self.uri
            )
            return (Path(path) / name).read_bytes()

    def register(self, model_uri: str, tags: Mapping[str, str]) -> int:
        """Register a logged model as the next version of the pipeline's model."""
        mlflow.set_tracking_uri(self.uri)
        registered = mlflow.register_model(model_uri, self.pipeline, tags=dict(tags))
        return int(registered.version)

    @contextmanager
    def active(self, run_id: str) -> Iterator[None]:
        """Make a run the active one for ``mlflow.log_*``; it ends FINISHED, or FAILED."""
        mlflow.set_tracking_uri(self.uri)
        with mlflow.start_run(run_id=run_id):
            yield

    def close(self, parent_id: str, *, failed: bool) -> None:
        """End the parent, and as failed every nested run that is still RUNNING."""
        nested = self._search(f"tags.`{PARENT}` = '{parent_id}' and attributes.status = 'RUNNING'")
        for run in nested:
            self.client.set_terminated(run.info.run_id, "FAILED")
        self.client.set_terminated(parent_id, "FAILED" if failed else "FINISHED")

    def log_metrics(self, run_id: str, values: Mapping[str, float]) -> None:
        """Log metrics once: a repeated value adds nothing to a metric's history."""
        held = self.client.get_run(run_id).data.metrics
        for name, value in values.items():
            if held.get(name) != value:
                self.client.log_metric(run_id, name, value)

    def run_path(self, run_id: str) -> str:
        """Path of a run's page below the MLflow UI."""
        return f"#/experiments/{self._experiment()}/runs/{run_id}"

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.pipeline)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(self.pipeline))
        except MlflowException:
            # Another task made it in between.
            return str(self.client.get_experiment_by_name(self.pipeline).experiment_id)

    def _search(self, condition: str) -> list[Run]:
        return list(
            self.client.search_runs(
                [self._experiment()], condition, run_view_type=ViewType.ACTIVE_ONLY
            )
        )

    def _find_or_create(self, key: str, name: str, tags: Mapping[str, Any]) -> str:
        for run in self._search(f"tags.`{KEY}` = '{key}'"):
            return str(run.info.run_id)
        run = self.client.create_run(
            self._experiment(),
            run_name=name,
            tags={**tags, KEY: key, "relevo.pipeline": self.pipeline},
        )
        return str(run.info.run_id)
