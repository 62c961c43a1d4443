"""The operator behind ``platform_retire``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.errors import UnavailableError
from include.wording import as_sentence, some
from relevo.active_runs import ERASE, count_active, may_concern
from relevo.hooks import RelevoHook
from relevo.operators.interventions import Asked, InterventionOperator

if TYPE_CHECKING:
    from include.steps.interventions import Done
    from include.storage.lake_tables import Lake

RETIRE = "platform_retire"


class RetireOperator(InterventionOperator):
    """Retire a pipeline, or undo that, as ``undo`` of the run's parameters says.

    Its file may be gone. Tables stay for ``keep_days``.
    """

    of_retired = True

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Put it on record, then let archive and MLflow follow."""
        from include.registry.champions import Registry
        from include.registry.mlflow_runs import Tracking
        from include.steps import retirement
        from include.steps.interventions import Done

        registry = Registry(lake, Tracking(RelevoHook().mlflow(), asked.name))
        who = (asked.why, asked.who, asked.at, asked.origin)
        if context["params"]["undo"]:
            done = retirement.reinstate(lake, registry, *who)
        else:
            if not registry.retired() and (active := _active(lake)):
                raise AirflowFailException(
                    f"Pipeline {asked.name}: no run may be active when it is retired, got runs of "
                    f"{some(active)}. Pause the DAGs, wait for their runs to end, and ask again."
                )
            # JSON takes 90.0 for a whole number.
            keep_days = int(context["params"]["keep_days"])
            done = retirement.retire(lake, registry, keep_days, *who)
            if active := _active(lake):
                # Begun since: they find what is on record and end, but may be writing until then.
                raise UnavailableError(
                    f"Pipeline {asked.name}: no run may be active when its archive is made, got "
                    f"runs of {some(active)}. It is retired: clear this task when they have ended."
                )
        archive = retirement.follow(lake, registry)
        told = done.told if archive is None else f"{as_sentence(done.told)} {archive}"
        return Done(told, done.changed)


def _active(lake: Lake) -> list[str]:
    """Name the DAGs with runs that may write to the pipeline's tables."""
    from include.steps.on_record import writers

    others = sorted({*writers(lake).dag_ids, ERASE, "platform_maintain"} - {RETIRE})
    return [
        dag_id for dag_id in others if count_active(dag_id) and may_concern(dag_id, lake.pipeline)
    ]
