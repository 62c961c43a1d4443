"""The MLflow server: runs, artifacts through the server, and the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from include.storage.settings import MlflowSettings
from stack.doctor import clock, web
from stack.doctor.checkup import Check, Outcome, Visit, failed, not_checked, ok, warning

EXPERIMENT = "relevo-doctor"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def visit(settings: MlflowSettings) -> Visit:
    """List what the MLflow server must do."""
    probe = MlflowProbe(settings)
    permission = "Let this user create experiments and registered models; see the server's log."
    return Visit(
        "mlflow",
        (
            Check(
                "reachable", probe.reach, "Check that the server runs, and the address.", gate=True
            ),
            Check("clock", lambda: clock.compare(probe.headers), ""),
            Check("version", probe.compare_versions, "Check the server's log."),
            Check(
                "credentials",
                probe.log_in,
                "Check the user and the password, and the server's log.",
                seconds=30,
                gate=True,
            ),
            Check("anonymous access", probe.stay_private, "Check the server's log."),
            Check("run and artifact", probe.round_trip, permission, seconds=40),
            Check("registry", probe.register, permission, seconds=30),
        ),
    )


class MlflowProbe:
    """Tries one MLflow server; what it makes there is deleted again.

    Args:
        settings: Where the server is and who asks.
    """

    def __init__(self, settings: MlflowSettings) -> None:
        self.settings = settings
        self.headers: Any = {}
        self._client: Any = None

    def reach(self) -> Outcome:
        """Ask for the server's health, as nobody."""
        answer = web.ask("GET", f"{self.settings.uri}/health")
        self.headers = answer.headers
        if answer.status_code >= 500:
            return failed(
                f"{self.settings.uri} answers {answer.status_code}", "See the server's log."
            )
        return ok(self.settings.uri)

    def compare_versions(self) -> Outcome:
        """Compare the server's release with the locked client's."""
        answer = web.ask("GET", f"{self.settings.uri}/version", self._credentials())
        ours = version("mlflow")
        if not answer.ok:
            return not_checked(f"/version answers {answer.status_code}; the client is {ours}")
        return same_release(answer.text.strip(), ours)

    def log_in(self) -> Outcome:
        """Search the experiments as the tasks do."""
        from include.registry.mlflow_runs import Tracking

        self._client = Tracking(self.settings, EXPERIMENT).client
        self._client.search_experiments(max_results=1)
        user = self.settings.username
        return ok(f"accepted for {user}" if user else "none are asked for")

    def stay_private(self) -> Outcome:
        """Ask for the experiments as nobody."""
        answer = web.ask(
            "POST",
            f"{self.settings.uri}/api/2.0/mlflow/experiments/search",
            json={"max_results": 1},
        )
        if answer.status_code in (401, 403):
            return ok("refused")
        if self.settings.username:
            return failed(
                f"a request without credentials is answered with {answer.status_code}",
                "Start the server with --app-name basic-auth, or put it behind a proxy that asks.",
            )
        if urlsplit(self.settings.uri).hostname in LOOPBACK_NAMES:
            return ok("open, on loopback only")
        return warning(
            "open to whoever reaches the address",
            "Start the server with --app-name basic-auth, or keep it on a private network.",
        )

    def round_trip(self) -> Outcome:
        """Write a run with a metric and an artifact, read both, delete the run."""
        import mlflow
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        mlflow.set_tracking_uri(self.settings.uri)
        with self._run() as run, TemporaryDirectory() as folder:
            run_id = run.info.run_id
            self._client.log_metric(run_id, "answer", 42.0)
            sent = Path(folder, "probe.txt")
            sent.write_text(run_id, encoding="utf-8")
            self._client.log_artifact(run_id, str(sent))
            back = mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=sent.name, dst_path=f"{folder}/back"
            )
            same = Path(back).read_text(encoding="utf-8") == run_id
            read = self._client.get_run(run_id).data.metrics
            get_artifact_repository(run.info.artifact_uri).delete_artifacts(sent.name)
        if read != {"answer": 42.0} or not same:
            return failed("a run came back with other content", "See the server's log.")
        scheme = urlsplit(run.info.artifact_uri).scheme
        if scheme != "mlflow-artifacts":
            return warning(
                f"artifacts go to {scheme}: past the server, so tasks need a key of the bucket",
                "Start the server with --artifacts-destination and without "
                "--default-artifact-root.",
            )
        return ok("wrote, read and deleted both; artifacts go through the server")

    def register(self) -> Outcome:
        """Register a model version, name it by an alias, delete the model."""
        name = self._name()
        with self._run() as run:
            self._client.create_registered_model(name)
            try:
                made = self._client.create_model_version(
                    name,
                    f"{run.info.artifact_uri}/model",
                    run.info.run_id,
                    await_creation_for=0,
                )
                self._client.set_registered_model_alias(name, "champion", made.version)
                found = self._client.get_model_version_by_alias(name, "champion")
            finally:
                self._client.delete_registered_model(name)
        if int(found.version) != int(made.version):
            return failed("an alias names another version", "See the server's log.")
        return ok("registered a version, set an alias, deleted both")

    def _credentials(self) -> tuple[str, str] | None:
        user, password = self.settings.username, self.settings.password
        return (user, password.get_secret_value()) if user and password else None

    def _name(self) -> str:
        # Who makes an experiment owns it: with one name for all, the second user would be refused.
        user = self.settings.username
        return f"{EXPERIMENT}-{user}" if user else EXPERIMENT

    @contextlib.contextmanager
    def _run(self) -> Iterator[Any]:
        """Yield a run; it and its experiment are deleted afterwards."""
        found = self._client.get_experiment_by_name(self._name())
        if found is None:
            experiment_id = self._client.create_experiment(self._name())
        else:
            experiment_id = found.experiment_id
            # MLflow keeps the name of a deleted experiment.
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment_id)
        try:
            run = self._client.create_run(experiment_id, run_name=EXPERIMENT)
            try:
                yield run
            finally:
                self._client.delete_run(run.info.run_id)
        finally:
            self._client.delete_experiment(experiment_id)


def same_release(theirs: str, ours: str) -> Outcome:
    """Compare two releases: another major one fails, another minor one is a warning."""
    found = f"{theirs} there, {ours} here"
    remedy = "Install the release of requirements.txt on the server."
    if theirs.split(".")[0] != ours.split(".")[0]:
        return failed(found, remedy)
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        return warning(found, remedy)
    return ok(found)
