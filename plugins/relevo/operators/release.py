"""The operator behind ``platform_release``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.calendar.partitions import Partition, parse
from include.specification.pipeline import Pipeline
from relevo.active_runs import active_runs
from relevo.operators.interventions import Asked, InterventionOperator

if TYPE_CHECKING:
    from include.steps.interventions import Done
    from include.storage.lake_tables import Lake


class ReleaseOperator(InterventionOperator):
    """Release the rows of the ``request`` into the ``partition`` of the ``dataset``.

    The rows are deleted as the last thing that it does.
    """

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Release them; the answer names no value."""
        from include.steps import release

        params = context["params"]
        partition = parse(params["partition"], asked.pipeline.partition)
        _refuse_active(asked.pipeline, partition)
        done = release.release(
            lake,
            asked.pipeline,
            params["dataset"],
            partition,
            params["request"],
            asked.why,
            asked.who,
            asked.origin,
        )
        release.forget_rows(lake, params["request"])
        return done


def _refuse_active(pipeline: Pipeline, partition: Partition) -> None:
    """Refuse while a run about the partition may write what the rows are released into."""
    dag_id = f"{pipeline.name}_score"
    runs = active_runs(pipeline, dag_id, ["decide_retraining"], partition).runs
    if about := [run for run in runs if run.partition == partition]:
        raise AirflowFailException(
            f"Pipeline {pipeline.name}: no run about {partition} may be active while rows of it "
            f"are released, got {about[0]}. Wait for its end, and clear this task."
        )
