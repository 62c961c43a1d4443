"""A small client of Airflow's REST interface."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import requests

from stack.embedded.configuration import ADMIN, Configuration
from stack.errors import AirflowApiError

ANSWER_SECONDS = 60.0
PAGE_SIZE = 100
DETAIL_CHARACTERS = 1000

Record = dict[str, Any]


class AirflowApi:
    """Call Airflow as the administrator of the embedded stack.

    Args:
        url: Address of the api-server, e.g. `http://127.0.0.1:8080`.
        password: Password of the user.
        user: Name of the user.
        loopback: The server is on this machine, where the proxies, the certificates and the
            .netrc of the shell have no business.
    """

    def __init__(
        self, url: str, password: str, user: str = ADMIN, *, loopback: bool = True
    ) -> None:
        self.url = url.rstrip("/")
        self._user = user
        self._password = password
        self._session = requests.Session()
        self._session.trust_env = not loopback

    @classmethod
    def of(cls, configuration: Configuration) -> AirflowApi:
        """Return a client of the stack with this configuration."""
        return cls(configuration.airflow_url, configuration.credentials.airflow_password)

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        logical_date: datetime | None = None,
    ) -> Record:
        """Start a run and return it.

        Args:
            dag_id: The DAG.
            conf: Values for the DAG's params.
            run_id: Name of the run; Airflow makes one if it is None.
            logical_date: What the run is about; manual runs may have none.
        """
        body: Record = {
            "logical_date": logical_date.isoformat() if logical_date else None,
            "conf": dict(conf or {}),
        }
        if run_id is not None:
            body["dag_run_id"] = run_id
        return self._post(f"dags/{_segment(dag_id)}/dagRuns", body)

    def dag_run(self, dag_id: str, run_id: str) -> Record:
        """Return one run."""
        return self._get(f"dags/{_segment(dag_id)}/dagRuns/{_segment(run_id)}")

    def dag_runs(self, dag_id: str = "~", **filters: Any) -> list[Record]:
        """Return the runs of a DAG, or of all, oldest first.

        Args:
            dag_id: The DAG, or `~` for all.
            **filters: Query parameters of Airflow, e.g. `state=["running"]`.
        """
        return self._list(
            f"dags/{_segment(dag_id)}/dagRuns", "dag_runs", {"order_by": "id", **filters}
        )

    def mark_dag_run(self, dag_id: str, run_id: str, state: str) -> Record:
        """Mark a run as `success`, `failed` or `queued`; tasks of a failed one are ended."""
        path = f"dags/{_segment(dag_id)}/dagRuns/{_segment(run_id)}"
        return self._request("PATCH", path, json={"state": state})

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run and all that Airflow knows of it."""
        self._request("DELETE", f"dags/{_segment(dag_id)}/dagRuns/{_segment(run_id)}")

    def task_instances(self, dag_id: str = "~", run_id: str = "~", **filters: Any) -> list[Record]:
        """Return the task instances of a run, or of all (`~`)."""
        path = f"dags/{_segment(dag_id)}/dagRuns/{_segment(run_id)}/taskInstances"
        return self._list(path, "task_instances", filters)

    def count_task_instances(self, dag_id: str, **filters: Any) -> int:
        """Count the task instances of all runs of a DAG."""
        path = f"dags/{_segment(dag_id)}/dagRuns/~/taskInstances"
        return int(self._get(path, {**filters, "limit": 1})["total_entries"])

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int
    ) -> str:
        """Return the log of one try of a task, a line for each event."""
        answer = self._request(
            "GET",
            f"dags/{_segment(dag_id)}/dagRuns/{_segment(run_id)}/taskInstances/"
            f"{_segment(task_id)}/logs/{try_number}",
            params={"map_index": map_index, "full_content": True},
        )
        content = answer["content"]
        lines = content if isinstance(content, list) else [content]
        return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)

    def xcom_entries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[Record]:
        """Return what one task left for others, with the values."""
        path = (
            f"dags/{_segment(dag_id)}/dagRuns/{_segment(run_id)}/taskInstances/"
            f"{_segment(task_id)}/xcomEntries"
        )
        entries = self._list(path, "xcom_entries", {"map_index": map_index})
        return [
            self._get(f"{path}/{_segment(entry['key'])}", {"map_index": map_index})
            for entry in entries
        ]

    def clear_task_instances(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        *,
        include_downstream: bool = False,
    ) -> list[Record]:
        """Make tasks of a run, whatever their state, run again; return those cleared."""
        answer = self._post(
            f"dags/{_segment(dag_id)}/clearTaskInstances",
            {
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": list(task_ids),
                "only_failed": False,
                "include_downstream": include_downstream,
                "reset_dag_runs": True,
            },
        )
        return list(answer["task_instances"])

    def mark_task_instance(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Set the state of a task of a run by hand."""
        task = f"dagRuns/{_segment(run_id)}/taskInstances/{_segment(task_id)}"
        self._request("PATCH", f"dags/{_segment(dag_id)}/{task}", json={"new_state": state})

    def clear_failed_tasks(self, dag_id: str, run_id: str) -> None:
        """Let only those tasks of a run that failed run again, as the UI offers it."""
        run = f"dags/{_segment(dag_id)}/dagRuns/{_segment(run_id)}"
        self._post(f"{run}/clear", {"dry_run": False, "only_failed": True})

    def unpause(self, dag_id: str) -> Record:
        """Let the scheduler start runs of a DAG."""
        return self._request("PATCH", f"dags/{_segment(dag_id)}", json={"is_paused": False})

    def pause(self, dag_id: str) -> Record:
        """Keep the scheduler from starting runs of a DAG."""
        return self._request("PATCH", f"dags/{_segment(dag_id)}", json={"is_paused": True})

    def create_backfill(
        self,
        dag_id: str,
        from_date: date,
        to_date: date,
        max_active_runs: int,
        *,
        conf: Mapping[str, Any] | None = None,
        reprocess_behavior: str = "none",
    ) -> Record:
        """Create one run for each of the schedule's dates.

        Args:
            dag_id: The DAG; it must not be paused.
            from_date: First date; taken as UTC.
            to_date: Last date, inclusive.
            max_active_runs: How many of the runs may be running at a time.
            conf: Values for the DAG's params.
            reprocess_behavior: `none`, `failed` or `completed`: which dates that
                have a run already get another.
        """
        body = {
            "dag_id": dag_id,
            "from_date": _utc(from_date),
            "to_date": _utc(to_date),
            "max_active_runs": max_active_runs,
            "dag_run_conf": dict(conf or {}),
            "reprocess_behavior": reprocess_behavior,
            "run_backwards": False,
        }
        return self._post("backfills", body)

    def backfill(self, backfill_id: int) -> Record:
        """Return one backfill; its `completed_at` is None while it goes on."""
        return self._get(f"backfills/{backfill_id}")

    def cancel_backfill(self, backfill_id: int) -> Record:
        """End a backfill; its runs that are queued fail."""
        return self._request("PUT", f"backfills/{backfill_id}/cancel")

    def backfills(self, dag_id: str) -> list[Record]:
        """Return the backfills of a DAG."""
        return self._list("backfills", "backfills", {"dag_id": dag_id})

    def import_errors(self) -> list[Record]:
        """Return the DAG files that cannot be loaded, with the traceback."""
        return self._list("importErrors", "import_errors", {})

    def pools(self) -> list[Record]:
        """Return the pools, with their slots."""
        return self._list("pools", "pools", {"order_by": "id"})

    def dags(self) -> list[Record]:
        """Return the DAGs whose files are there, with their last parse."""
        return self._list("dags", "dags", {"order_by": "dag_id"})

    def dag_versions(self) -> list[Record]:
        """Return every version of every DAG, with the moment at which Airflow learnt of it."""
        return self._list("dags/~/dagVersions", "dag_versions", {"order_by": "id"})

    def dag(self, dag_id: str) -> Record:
        """Return a DAG, with its schedule."""
        return self._get(f"dags/{_segment(dag_id)}")

    def tasks(self, dag_id: str) -> list[Record]:
        """Return the tasks of a DAG, with what follows each."""
        return list(self._get(f"dags/{_segment(dag_id)}/tasks")["tasks"])

    def has_dag(self, dag_id: str) -> bool:
        """Tell whether Airflow knows a DAG and its file is still there."""
        try:
            return not self._get(f"dags/{_segment(dag_id)}").get("is_stale", False)
        except AirflowApiError as error:
            if error.status == 404:
                return False
            raise

    def wait_for_dag(self, dag_id: str, timeout_seconds: float = 120.0) -> None:
        """Wait until the dag-processor has loaded a DAG.

        Raises:
            AirflowApiError: It was not loaded in time; names the import errors.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.has_dag(dag_id):
            if time.monotonic() > deadline:
                failures = [
                    f"{error.get('filename')}: {str(error.get('stack_trace')).strip()[-500:]}"
                    for error in self.import_errors()
                ]
                raise AirflowApiError(
                    f"DAG {dag_id}: must be loaded within {timeout_seconds:.0f} s. "
                    f"{'; '.join(failures) or 'No file has import errors'}. See `./relevo logs "
                    "dag-processor`."
                )
            time.sleep(0.5)

    def _list(self, path: str, key: str, filters: Mapping[str, Any]) -> list[Record]:
        records: list[Record] = []
        while True:
            page = self._get(path, {**filters, "limit": PAGE_SIZE, "offset": len(records)})
            records += page[key]
            if not page[key] or len(records) >= page["total_entries"]:
                return records

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Record:
        return self._request("GET", path, params=query)

    def _post(self, path: str, body: Record) -> Record:
        return self._request("POST", path, json=body)

    def _request(self, method: str, path: str, **arguments: Any) -> Record:
        if "Authorization" not in self._session.headers:
            self._log_in()
        answer = self._send(method, f"/api/v2/{path}", **arguments)
        if answer.status_code == 401:
            # The token has expired, or the api-server was restarted.
            self._log_in()
            answer = self._send(method, f"/api/v2/{path}", **arguments)
        return _body(method, path, answer)

    def _log_in(self) -> None:
        self._session.headers.pop("Authorization", None)
        credentials = {"username": self._user, "password": self._password}
        answer = self._send("POST", "/auth/token", json=credentials)
        token = _body("POST", "/auth/token", answer)["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            return self._session.request(
                method, f"{self.url}{path}", timeout=ANSWER_SECONDS, **arguments
            )
        except requests.RequestException as error:
            raise AirflowApiError(
                f"Airflow {self.url}: does not answer {method} {path} ({type(error).__name__}). "
                "See `./relevo status`."
            ) from error


def _segment(name: str) -> str:
    return quote(name, safe="~")


def _utc(day: date) -> str:
    if isinstance(day, datetime):
        return day.isoformat()
    return f"{day.isoformat()}T00:00:00Z"


def _body(method: str, path: str, answer: requests.Response) -> Record:
    if not answer.ok:
        try:
            detail = answer.json().get("detail", answer.text)
        except (ValueError, AttributeError):
            detail = answer.text
        raise AirflowApiError(
            f"Airflow {method} {path}: answered {answer.status_code} {answer.reason}: "
            f"{str(detail)[:DETAIL_CHARACTERS]}",
            status=answer.status_code,
        )
    body: Record = answer.json() if answer.content else {}
    return body
