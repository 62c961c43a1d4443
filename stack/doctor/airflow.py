"""Airflow: its API, its processes, its DAGs, and whether connections resolve where this runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from stack.airflow_api import AirflowApi
from stack.doctor import clock, web
from stack.doctor.checkup import Check, Outcome, Visit, failed, not_checked, ok, warning
from stack.doctor.deployment import AirflowAccess
from stack.doctor.tracking import same_release
from stack.embedded.layout import REPOSITORY
from stack.errors import AirflowApiError, StackError

COMPONENTS = ("scheduler", "dag_processor", "triggerer")
# Authorization comes before the look-up, so asking for a DAG that is not there starts nothing.
NO_DAG = "relevo_doctor_no_such_dag"
SECRETS_VARIABLES = (
    "AIRFLOW__SECRETS__BACKEND",
    "AIRFLOW__WORKERS__SECRETS_BACKEND",
    "AIRFLOW_CONN_RELEVO_STORE",
)
RESOLVE = """
import json
from relevo.hooks import RelevoHook
settings = RelevoHook().get_conn()
print(json.dumps([settings.store.endpoint_url or "AWS", settings.mlflow.uri]))
"""


def visit(access: AirflowAccess) -> Visit:
    """List what Airflow must do."""
    probe = AirflowProbe(access)
    log = "See the log of the api-server."
    return Visit(
        "airflow",
        (
            Check(
                "reachable",
                probe.reach,
                "Check that the api-server runs, and RELEVO_AIRFLOW_URL.",
                gate=True,
            ),
            Check("clock", lambda: clock.compare(probe.headers), ""),
            Check("version", probe.compare_versions, log),
            Check("metadatabase", probe.database_health, log),
            *(
                Check(name, lambda name=name: probe.component(name), log)  # type: ignore[misc]
                for name in COMPONENTS
            ),
            Check("credentials", probe.log_in, "Check the user and the password.", gate=True),
            Check("may trigger", probe.may_trigger, log),
            Check("DAG files", probe.import_errors, "Let this user read DAGs and import errors."),
            Check("pools", probe.pools, "Let this user read pools and DAGs."),
            Check("executor", probe.executor, log),
            Check(
                "connections",
                resolve_connections,
                "Add relevo_store, relevo_mlflow and relevo_spark to the secrets backend.",
                seconds=45,
            ),
        ),
    )


class AirflowProbe:
    """Asks one Airflow; changes nothing.

    Args:
        access: Where its API is and who asks.
    """

    def __init__(self, access: AirflowAccess) -> None:
        self.url = access.url.rstrip("/")
        self.user = access.user
        self._api = AirflowApi(
            self.url, access.password.get_secret_value(), access.user, loopback=False
        )
        self.headers: Any = {}
        self._health: dict[str, Any] = {}

    def reach(self) -> Outcome:
        """Ask for the health of its parts, as nobody."""
        url = f"{self.url}/api/v2/monitor/health"
        answer = web.ask("GET", url)
        self.headers = answer.headers
        if not answer.ok:
            return failed(f"{url} answers {answer.status_code}", "See the log of the api-server.")
        self._health = answer.json()
        return ok(self.url)

    def compare_versions(self) -> Outcome:
        """Compare the server's release with the installed one."""
        answer = web.ask("GET", f"{self.url}/api/v2/version")
        answer.raise_for_status()
        return same_release(str(answer.json()["version"]), version("apache-airflow-core"))

    def database_health(self) -> Outcome:
        """Tell whether the api-server reaches its database."""
        status = self._health.get("metadatabase", {}).get("status")
        if status != "healthy":
            return failed(str(status), "Check the database, and see the log of the api-server.")
        return ok("healthy")

    def component(self, name: str) -> Outcome:
        """Judge the latest heartbeat of a process."""
        report = self._health.get(name) or {}
        beat = report.get(f"latest_{name}_heartbeat")
        if beat is None:
            return failed("never seen", f"Start the {name.replace('_', '-')}.")
        age = (datetime.now(UTC) - datetime.fromisoformat(beat)).total_seconds()
        found = f"last heartbeat {max(0.0, age):.0f} s ago"
        if report.get("status") != "healthy":
            return failed(found, f"Start the {name.replace('_', '-')} again, and see its log.")
        return ok(found)

    def log_in(self) -> Outcome:
        """List DAGs as the user."""
        return ok(f"accepted for {self.user}; {len(self._api.dags())} DAGs are visible")

    def may_trigger(self) -> Outcome:
        """Ask for a run of a DAG that does not exist."""
        try:
            self._api.trigger(NO_DAG)
        except AirflowApiError as error:
            if error.status == 404:
                return ok(f"{self.user} may start runs")
            if error.status == 403:
                return warning(
                    f"{self.user} may not start runs",
                    "Give the user the role Operator, if it is to start, clear or approve.",
                )
            raise
        return failed(f"a DAG named {NO_DAG} was started", "Delete that DAG.")

    def import_errors(self) -> Outcome:
        """Name the DAG files that cannot be loaded."""
        broken = self._api.import_errors()
        if broken:
            listed = ", ".join(str(error["filename"]) for error in broken)
            return failed(
                f"{len(broken)} cannot be loaded: {listed}",
                "Run `./relevo check`, or read the traceback in the UI.",
            )
        return ok("every file can be loaded")

    def pools(self) -> Outcome:
        """Look whether every pool that pipelines name is there: no task of another one begins."""
        held = {str(pool["name"]): int(pool["slots"]) for pool in self._api.pools()}
        named = {
            str(task["pool"])
            for dag in self._api.dags()
            if any(tag["name"] == "relevo" for tag in dag["tags"])
            for task in self._api.tasks(str(dag["dag_id"]))
        }
        if missing := sorted(named - held.keys()):
            return failed(
                f"there is no pool {', '.join(missing)}, and so no task of it begins",
                "Make it in the UI, Admin > Pools, or correct `pool` in the pipeline file.",
            )
        used = ", ".join(f"{name} ({held[name]} slots)" for name in sorted(named))
        return ok(used or "no DAG of a pipeline is there yet")

    def executor(self) -> Outcome:
        """Name the executor, as far as this process is told."""
        name = os.environ.get("AIRFLOW__CORE__EXECUTOR")
        if name is None:
            return not_checked("AIRFLOW__CORE__EXECUTOR is not set where doctor runs")
        return ok(name)


def resolve_connections() -> Outcome:
    """Resolve Relevo's connections as a process of Airflow does."""
    if not any(name in os.environ for name in SECRETS_VARIABLES):
        return not_checked("doctor does not run with Airflow's settings")
    answer = subprocess.run(
        [sys.executable, "-c", RESOLVE],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "plugins"))),
        },
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    if answer.returncode != 0:
        raise StackError((answer.stderr.strip().splitlines() or ["no message"])[-1])
    store, mlflow = json.loads(answer.stdout.splitlines()[-1])
    return ok(f"relevo_store: {store}; relevo_mlflow: {mlflow}; relevo_spark resolves")
