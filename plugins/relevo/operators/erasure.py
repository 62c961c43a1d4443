"""The operator behind ``platform_erase``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.specification import pipeline_file
from include.wording import some
from relevo.active_runs import count_active
from relevo.failures import failing_at_once
from relevo.hooks import RelevoHook
from relevo.links import LedgerLink, ledger_path
from relevo.operators.base import origin_of

if TYPE_CHECKING:
    from include.storage.text_redaction import Redaction


class EraseOperator(BaseOperator):
    """Erase the people of a request, as the parameters of the run say.

    These are ``pipeline``, ``request`` (the name under which the ids were handed in) and
    ``reason``. The ids are deleted as the last thing that it does.
    """

    operator_extra_links = (LedgerLink(),)

    def execute(self, context: Any) -> dict[str, Any]:
        """Return how many people and rows that were, and which versions were trained on them."""
        params = context["params"]
        name, request, why = params["pipeline"], params["request"], params["reason"].strip()
        if not why:
            raise AirflowFailException("Parameter reason: must say why, got nothing.")
        _refuse_active(name)
        with failing_at_once():
            return self._erase(context, name, request, why)

    def _erase(self, context: Any, name: str, request: str, why: str) -> dict[str, Any]:
        from include.registry.champions import Registry
        from include.steps import erasure
        from include.storage.lake_tables import Lake

        hook = RelevoHook()
        lake = Lake(hook.store(), name)
        redaction = erasure.read_redaction(lake, request)
        LedgerLink.persist(context, ledger_path(name))
        found = erasure.erase(
            lake,
            Registry(lake),
            pipeline_file.load(name),
            request,
            why,
            context["dag_run"].triggering_user_name or "Nobody known",
            origin_of(context),
            connections=hook.sql_url,
        )
        if redaction is not None:
            self.log.info("Taken out of %d logs of tasks", _redact_logs(name, redaction))
        erasure.forget_ids(lake, request)
        self.log.info("%s", found)
        return {
            "people": found.people,
            "rows": sum(found.tables.values()),
            "versions": list(found.versions),
        }


def _refuse_active(pipeline: str) -> None:
    """Refuse while a run of the pipeline may write what is erased, or read what is half erased."""
    dags = [f"{pipeline}_score", f"{pipeline}_train", "platform_reprocess"]
    if active := [dag_id for dag_id in dags if count_active(dag_id)]:
        raise AirflowFailException(
            f"Pipeline {pipeline}: no run may be active while rows are erased, got runs of "
            f"{some(active)}. Pause the DAGs, wait for their runs to end, and clear this task."
        )


def _redact_logs(pipeline: str, redaction: Redaction) -> int:
    """Take the ids out of the logs of the pipeline's tasks; returns out of how many."""
    from include.storage.object_store import ObjectStore

    def is_ours(path: str) -> bool:
        folders = (part for part in path.split("/") if part.startswith("dag_id="))
        dag_id = next(folders, "").removeprefix("dag_id=")
        return dag_id.startswith((f"{pipeline}_", "platform_"))

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
