"""The operator behind ``platform_migrate``, for one pipeline that a person names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from relevo.active_runs import ACTIVE, demand_alone, read_run, start_again
from relevo.hooks import RelevoHook
from relevo.operators.interventions import Asked, InterventionOperator
from relevo.triggers import RunsEndedTrigger

if TYPE_CHECKING:
    from include.steps.interventions import Done
    from include.steps.migration import Migration
    from include.storage.lake_tables import Lake

_LOOK_AGAIN = timedelta(minutes=5)


class MigrateOperator(InterventionOperator):
    """Fill the next generation of the tables, have it trained on, and tell what the gate said.

    The parameters are ``pipeline``, ``first`` (None: all history) and ``reason``. While the
    training lasts, a person's approval included, it waits without a worker slot.

    Args:
        poll_seconds: Seconds between looks at the training.
    """

    def __init__(self, *, poll_seconds: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll_seconds = poll_seconds

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Return what came of it.

        Raises:
            TaskDeferred: If the training is under way.
            AirflowFailException: If another migration is, or the training failed.
        """
        from include.steps.interventions import Done
        from include.steps.migration import begin, finish, open_run

        run_id = asked.origin.dag_run_id
        demand_alone(lake.pipeline, open_run(lake), run_id, "migration", "to be migrated")
        first = context["params"].get("first")
        migration = begin(
            *(lake, asked.pipeline, first or None, asked.why, asked.who, asked.origin),
            connections=RelevoHook().sql_url,
        )
        if isinstance(migration, Done):
            return migration
        self._train(asked, lake, migration)
        return finish(lake, asked.pipeline, migration, asked.origin)

    def resume(self, context: Any, event: dict[str, Any]) -> Any:
        """Look again."""
        return self.execute(context)

    def _train(self, asked: Asked, lake: Lake, migration: Migration) -> None:
        """Make the training run once, when the tables are filled, and wait for its end."""
        from include.steps.generations import ASKED

        dag_id, run_id = f"{lake.pipeline}_train", migration.training
        run = read_run(dag_id, run_id)
        if run is None:
            self._fill(asked, lake, migration)
            conf = {"partition": migration.as_of, ASKED: dict(migration.after)}
            start_again(dag_id, run_id, conf)
        elif run.state == "failed":
            raise AirflowFailException(
                f"Run {run_id} of {dag_id} about {migration.as_of} failed. Look at it, clear what "
                "failed there, and when it has ended clear this task: it goes on from there."
            )
        if run is None or run.state in ACTIVE:
            self.log.info("Waiting for run %s of %s", run_id, dag_id)
            if RuntimeTaskInstance.get_dag(dag_id).is_paused:
                self.log.warning("%s is paused: unpause it, or its run does not go on", dag_id)
            self.defer(
                trigger=RunsEndedTrigger(
                    dag_id=dag_id,
                    runs=[run_id],
                    overlap=0,
                    poll_seconds=self.poll_seconds,
                    until=(datetime.now(UTC) + _LOOK_AGAIN).isoformat(),
                ),
                method_name="resume",
            )

    def _fill(self, asked: Asked, lake: Lake, migration: Migration) -> None:
        from include.spark.session import connect
        from include.steps.migration import fill

        hook = RelevoHook()
        with connect(hook.get_conn().spark_remote) as spark:
            features, labels = fill(
                *(spark, lake, asked.pipeline, migration, asked.origin), connections=hook.sql_url
            )
        self.log.info(
            "Partitions with features computed: %d; with labels ingested: %d", features, labels
        )
