"""The operator behind ``platform_rollback``."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.specification import pipeline_file
from relevo.failures import failing_at_once
from relevo.hooks import RelevoHook
from relevo.links import LedgerLink, ModelVersionLink, ledger_path
from relevo.operators.base import origin_of


class RollBackOperator(BaseOperator):
    """Go back to a version that was in use before, as the parameters of the run say.

    These are ``pipeline``, ``version`` (None: the one before) and ``reason``. Skipped if that
    changes nothing.
    """

    operator_extra_links = (ModelVersionLink(), LedgerLink())

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the version in use now, and instead of which."""
        params = context["params"]
        name, version, why = params["pipeline"], params["version"], params["reason"].strip()
        if not why:
            raise AirflowFailException("Parameter reason: must say why, got nothing.")
        with failing_at_once():
            # JSON takes 2.0 for a whole number.
            return self._roll_back(context, name, None if version is None else int(version), why)

    def _roll_back(self, context: Any, name: str, version: int | None, why: str) -> dict[str, Any]:
        from include.registry.champions import Registry
        from include.registry.mlflow_runs import Tracking
        from include.steps.rollback import roll_back
        from include.storage.lake_tables import Lake

        hook, run = RelevoHook(), context["dag_run"]
        lake, tracking = Lake(hook.store(), name), Tracking(hook.mlflow(), name)
        done = roll_back(
            lake,
            Registry(lake, tracking),
            pipeline_file.load(name),
            version,
            why,
            run.triggering_user_name or "Nobody known",
            run.run_after.astimezone(UTC).replace(tzinfo=None),
            origin_of(context),
        )
        LedgerLink.persist(context, ledger_path(name))
        page = f"{tracking.settings.page_url}/#/models/{name}/versions/{done.version}"
        ModelVersionLink.persist(context, page)
        if not done.changed:
            raise AirflowSkipException(done.told)
        self.log.info("%s", done.told)
        return {"version": done.version, "instead_of": done.instead_of}
