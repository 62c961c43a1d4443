"""The operators behind ``platform_maintain``, two for each pipeline: plan, then carry out.

The plan lies on the store, below the name of the run: who carries it out finds it there, also after
it was killed or cleared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Variable
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.errors import RelevoError, SpecificationError, UnavailableError
from include.specification import pipeline_file
from include.storage.settings import RETENTION_DAYS, retention
from relevo.active_runs import ACTIVE, ERASE, count_active, oldest_active, read_run
from relevo.failures import failing_at_once
from relevo.hooks import RelevoHook
from relevo.links import MaintenanceLink, report_path

if TYPE_CHECKING:
    from include.specification.pipeline import Pipeline
    from include.steps.maintenance import Maintenance
    from include.steps.maintenance_plan import Outcome, Plan

RETENTION_VARIABLE = "relevo_retention_days"


class MaintenanceOperator(BaseOperator):
    """A step of the maintenance of one pipeline; skipped if the run is about another one.

    Args:
        pipeline: Name of the pipeline; None for those that are retired and have no file any more.
    """

    operator_extra_links = (MaintenanceLink(),)

    def __init__(self, *, pipeline: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline

    @abstractmethod
    def run(self, context: Any, maintenance: Maintenance) -> Plan | Outcome:
        """Do the step."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Return by kind how many things are to be done or were, and their bytes.

        Of several pipelines that is by pipeline, and one that fails stops none of the others.
        """
        wanted = context["params"]["pipeline"]
        if wanted is not None and wanted != self.pipeline:
            raise AirflowSkipException(f"This run is about {wanted} alone")
        if count_active(ERASE):
            raise AirflowSkipException("Rows are being erased; this is for the next night")
        with failing_at_once():
            if self.pipeline is not None:
                return self._report(context, self.pipeline)
            return self._report_each(context, _without_file())

    def _specification(self) -> Pipeline | None:
        """Read the pipeline file; a wrong one keeps nothing but its own old tables from going."""
        if self.pipeline is None:
            return None
        try:
            return pipeline_file.load(self.pipeline)
        except SpecificationError as error:
            self.log.warning("Tables of old generations stay: %s", error)
            return None

    def _report_each(self, context: Any, names: Sequence[str]) -> dict[str, Any]:
        found, trouble = {}, []
        for name in names:
            try:
                found[name] = self._report(context, name)
            except UnavailableError:
                raise
            except RelevoError as error:
                trouble.append(f"pipeline {name}: {error}")
        if trouble:
            raise AirflowFailException("\n".join(trouble))
        return found

    def _report(self, context: Any, name: str) -> dict[str, Any]:
        from include.registry.mlflow_runs import Tracking
        from include.reports.maintenance_page import publish_maintenance
        from include.steps.maintenance import AirflowRuns, Maintenance
        from include.steps.maintenance_plan import Outcome, tally
        from include.storage.lake_tables import Lake

        hook = RelevoHook()
        maintenance = Maintenance(
            Lake(hook.store(), name),
            AirflowRuns(_open_since, _is_open),
            retention(Variable.get(RETENTION_VARIABLE, default=RETENTION_DAYS)),
            Tracking(hook.mlflow(), name),
            self._specification(),
        )
        found = self.run(context, maintenance)
        MaintenanceLink.persist(context, report_path(publish_maintenance(maintenance.lake, found)))
        items = found.done if isinstance(found, Outcome) else found.items
        told = {kind: {"count": n, "bytes": size} for kind, (n, size) in tally(items).items()}
        for kind, sums in told.items():
            self.log.info("%s: %d, %d bytes", kind, sums["count"], sums["bytes"])
        return told


class PlanMaintenanceOperator(MaintenanceOperator):
    """Put on record what maintenance would do, and why; changes nothing else."""

    def run(self, context: Any, maintenance: Maintenance) -> Plan:
        """Return the plan."""
        plan = maintenance.plan(context["dag_run"].run_id, datetime.now(UTC))
        if plan.held_back:
            self.log.warning("%s", plan.held_back)
        return plan


class CarryOutMaintenanceOperator(MaintenanceOperator):
    """Do what the plan of the run says and still holds; skipped in a dry run."""

    def run(self, context: Any, maintenance: Maintenance) -> Outcome:
        """Return what was done."""
        if context["params"]["dry_run"]:
            raise AirflowSkipException("A dry run: look at the plan, and trigger it without")
        return maintenance.carry_out(context["dag_run"].run_id, datetime.now(UTC))


def _without_file() -> list[str]:
    from include.steps.removal import retired_pipelines

    held = set(pipeline_file.names())
    return [name for name in retired_pipelines(RelevoHook().store()) if name not in held]


def _open_since(dag_ids: Collection[str]) -> datetime | None:
    found = [oldest_active(dag_id) for dag_id in dag_ids]
    return min((moment for moment in found if moment is not None), default=None)


def _is_open(dag_id: str, run_id: str) -> bool:
    run = read_run(dag_id, run_id)
    return run is not None and run.state in ACTIVE
