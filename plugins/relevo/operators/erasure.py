"""The operator behind ``platform_erase``."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.xcom import XCom

from include.wording import some
from relevo.active_runs import ERASE, active_beside
from relevo.failures import REASON
from relevo.hooks import RelevoHook
from relevo.operators.interventions import TOLD, Asked, InterventionOperator

if TYPE_CHECKING:
    from include.steps.interventions import Done
    from include.storage.lake_tables import Lake
    from include.storage.text_redaction import Redaction


class EraseOperator(InterventionOperator):
    """Erase the people of the ``request``, the name under which their ids were handed in.

    The ids are deleted as the last thing that it does. A retired pipeline's archive is made anew.
    """

    of_retired = True

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Erase them; the answer names no id."""
        from include.registry.champions import Registry
        from include.steps import erasure
        from include.steps.interventions import Done
        from include.steps.on_record import writers
        from include.steps.retirement import renew_archive

        name, request = asked.pipeline.name, context["params"]["request"]
        dag_ids = writers(lake).dag_ids
        _refuse_active(name, dag_ids)
        redaction = erasure.read_redaction(lake, request)
        found = erasure.erase(
            lake,
            Registry(lake),
            asked.pipeline,
            request,
            asked.why,
            asked.who,
            asked.origin,
            connections=RelevoHook().sql_url,
        )
        if redaction is not None:
            self.log.info("Taken out of %d logs of tasks", _redact_logs(dag_ids, redaction))
            messages = _redact_messages(dag_ids, redaction)
            self.log.info("Taken out of %d messages of tasks", messages)
        kept = renew_archive(lake, found.versions)
        erasure.forget_ids(lake, request)
        return Done(" ".join(filter(None, (str(found), kept))), changed=True)


def _refuse_active(pipeline: str, dag_ids: Collection[str]) -> None:
    """Refuse while a run of the pipeline may write what is erased, or read what is half erased."""
    if active := active_beside(ERASE, dag_ids, pipeline):
        raise AirflowFailException(
            f"Pipeline {pipeline}: no run may be active while rows are erased, got runs of "
            f"{some(active)}. Pause the DAGs, wait for their runs to end, and clear this task."
        )


def _redact_messages(dag_ids: Collection[str], redaction: Redaction) -> int:
    """Take the ids out of what failed tasks left as XCom; returns out of how many."""
    changed = 0
    for dag_id in sorted(dag_ids):
        for run_id, tasks in RuntimeTaskInstance.get_task_states(dag_id).items():
            if "failed" not in tasks.values():
                continue
            for task in RuntimeTaskInstance.get_task_breadcrumbs(dag_id, run_id):
                where = {"dag_id": dag_id, "run_id": run_id, "task_id": task["task_id"]}
                where["map_index"] = task["map_index"]
                for key in (REASON, TOLD):
                    held = json.dumps(XCom.get_one(key=key, **where))
                    if (told := redaction.redact_value(held)) != held:
                        XCom.set(key=key, value=json.loads(told), **where)
                        changed += 1
    return changed


def _redact_logs(dag_ids: Collection[str], redaction: Redaction) -> int:
    """Take the ids out of the logs of the pipeline's and the platform's tasks; returns how many."""
    from include.storage.object_store import ObjectStore

    def is_ours(path: str) -> bool:
        folders = (part for part in path.split("/") if part.startswith("dag_id="))
        dag_id = next(folders, "").removeprefix("dag_id=")
        return dag_id in dag_ids or dag_id.startswith("platform_")

    changed = 0
    local = Path(conf.get_mandatory_value("logging", "base_log_folder"))
    for file in (path for path in local.rglob("*.log") if is_ours(str(path.relative_to(local)))):
        held = file.read_bytes()
        if (cleaned := redaction.redact(held)) != held:
            file.write_bytes(cleaned)
            changed += 1
    remote = conf.get("logging", "remote_base_log_folder", fallback="")
    if conf.getboolean("logging", "remote_logging") and urlsplit(remote).scheme == "s3":
        connection = conf.get_mandatory_value("logging", "remote_log_conn_id")
        store = ObjectStore(RelevoHook(store_conn_id=connection).store())
        changed += len(redaction.redact_below(store, remote, is_ours))
    return changed
