"""MLflow runs: one parent per DAG run, found again by its tag; fits nested below it.

A nested run belongs to one fit, known by the digest of all that decides it: the same fit is found
again, another one gets a run of its own, and the ones before it are marked as superseded. Two tasks
that make a run at once (Airflow took one for dead) end with the earlier one. Nothing stays RUNNING:
:meth:`Tracking.close` ends the parent and whatever a killed task left.
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
from mlflow.entities import LifecycleStage, Run, ViewType
from mlflow.exceptions import MlflowException

from include.storage.settings import MlflowSettings

PARENT = "mlflow.parentRunId"
KEY = "relevo.key"
SUPERSEDED_BY = "relevo.superseded_by"
PARTITION = "relevo.partition"
DAG_RUN = "relevo.dag_run_id"
CLOSED_BECAUSE = "relevo.closed_because"
_CANDIDATE = "relevo.candidate"
_TRAINING = "training/"  # then the DAG and its run


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
        return self._find_or_create(f"{_TRAINING}{dag_run_id}", dag_run_id, tags)

    def candidate(self, parent_id: str, name: str, digest: str) -> str:
        """Find the nested run of a fit, or make it; returns its run id.

        Args:
            parent_id: Parent run.
            name: Candidate.
            digest: Digest of all that decides the fit. Runs of the candidate with another one get
                the tag ``relevo.superseded_by``.
        """
        tags = {PARENT: parent_id, _CANDIDATE: name}
        key = f"candidate/{parent_id}/{name}/{digest}"
        run_id = self._find_or_create(key, name, tags)
        siblings = f"tags.`{PARENT}` = '{parent_id}' and tags.`{_CANDIDATE}` = '{name}'"
        for run in self._search(siblings):
            # One of the same fit, made at the same time, is its maker's to delete.
            if run.data.tags.get(KEY) != key:
                with self._unless_deleted(run.info.run_id):
                    self.client.set_tag(run.info.run_id, SUPERSEDED_BY, run_id)
            elif run.info.run_id == run_id and SUPERSEDED_BY in run.data.tags:
                self.client.delete_tag(run_id, SUPERSEDED_BY)
        return run_id

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

    def versions(self, run_id: str, tags: Mapping[str, str]) -> list[int]:
        """List the model versions that were registered from a run with some tags, sorted."""
        found = self.client.search_model_versions(f"run_id = '{run_id}'")
        return sorted(int(item.version) for item in found if tags.items() <= item.tags.items())

    def has_model(self) -> bool:
        """Tell whether the pipeline's registered model is there, and nobody deleted it."""
        found = self.client.search_registered_models(f"name = '{self.pipeline}'")
        return bool(found)

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

    def fail(self, run_id: str, reason: str) -> None:
        """End a run as failed that nobody else will end, and say why in a tag."""
        self.client.set_tag(run_id, CLOSED_BECAUSE, reason)
        self.client.set_terminated(run_id, "FAILED")

    def unfinished(self) -> list[tuple[str, str, str]]:
        """List the runs of DAG runs that are RUNNING, as (run, DAG, DAG run), nested ones too."""
        found = []
        for run in self._search("attributes.status = 'RUNNING'"):
            parent = run.data.tags.get(PARENT)
            tags = (run if parent is None else self.client.get_run(parent)).data.tags
            dag_run_id, name = tags.get(DAG_RUN), tags.get(KEY, "").removeprefix(_TRAINING)
            # What an earlier release made names no DAG.
            if dag_run_id and name.endswith(f"/{dag_run_id}"):
                found.append((run.info.run_id, name.removesuffix(f"/{dag_run_id}"), dag_run_id))
        return found

    def running(self) -> list[tuple[str, str, str]]:
        """List the runs of trainings that are RUNNING, as (run, partition, DAG run)."""
        return [
            (run.info.run_id, run.data.tags[PARTITION], run.data.tags[DAG_RUN])
            for run in self._search("attributes.status = 'RUNNING'")
            if run.data.tags.keys() >= {PARTITION, DAG_RUN}
        ]

    def end_orphans(self) -> None:
        """End as failed the nested runs that are RUNNING below a parent that has ended.

        A candidate that was cleared alone and killed leaves one.
        """
        for run in self._search("attributes.status = 'RUNNING'"):
            parent = run.data.tags.get(PARENT)
            if parent and self.client.get_run(parent).info.status != "RUNNING":
                self.client.set_terminated(run.info.run_id, "FAILED")

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
        """Find runs, the earliest first, whoever made them."""
        found = self.client.search_runs(
            [self._experiment()], condition, run_view_type=ViewType.ACTIVE_ONLY
        )
        return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))

    def _find_or_create(self, key: str, name: str, tags: Mapping[str, Any]) -> str:
        if not self._search(f"tags.`{KEY}` = '{key}'"):
            self.client.create_run(
                self._experiment(),
                run_name=name,
                tags={**tags, KEY: key, "relevo.pipeline": self.pipeline},
            )
        # Another task may make one at the same time: everybody goes on with the earliest.
        first, *others = [run.info.run_id for run in self._search(f"tags.`{KEY}` = '{key}'")]
        for run_id in others:
            with self._unless_deleted(run_id):
                self.client.set_terminated(run_id, "KILLED")
                self.client.delete_run(run_id)
        return str(first)

    @contextmanager
    def _unless_deleted(self, run_id: str) -> Iterator[None]:
        """Change a run that another task may delete at the same time: then nothing is to be done.

        Raises:
            MlflowException: If the run is there, and the change failed for another reason.
        """
        try:
            yield
        except MlflowException:
            if self.client.get_run(run_id).info.lifecycle_stage != LifecycleStage.DELETED:
                raise
