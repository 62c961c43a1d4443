"""The operators behind ``platform_reprocess``, for one pipeline that a person names.

The request lies in the ledger: each task finds it there by the run that asked, also after it was
killed or cleared.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.specification import pipeline_file
from include.wording import some
from relevo import in_service
from relevo.active_runs import ACTIVE, demand_alone, read_run, start_again
from relevo.failures import failing_at_once
from relevo.hooks import RelevoHook
from relevo.links import LedgerLink, ledger_path
from relevo.operators.base import origin_of
from relevo.operators.interventions import reason_of
from relevo.triggers import RunsEndedTrigger

if TYPE_CHECKING:
    from include.scoring.reprocessing_requests import Request, RunToRepeat
    from include.storage.lake_tables import Lake

_LOOK_AGAIN = timedelta(minutes=5)


class ReprocessingOperator(BaseOperator):
    """A step of a reprocessing, as the parameters of its run say.

    These are ``pipeline``, ``partitions`` (None: all that was corrected) and ``reason``.
    """

    @abstractmethod
    def run(self, context: Any, lake: Lake) -> Any:
        """Do the step; returns a small JSON-serialisable value for XCom."""

    def execute(self, context: Any) -> Any:
        """Run the step and turn an error of the library into a failure without retries."""
        from include.storage.lake_tables import Lake

        name = context["params"]["pipeline"]
        with failing_at_once():
            in_service.demand(name)
            return self.run(context, Lake(RelevoHook().store(), name))

    def request(self, context: Any, lake: Lake) -> Request:
        """Read what the run asked for."""
        from include.scoring.reprocessing_requests import asked_by

        request = asked_by(lake, origin_of(context), reason_of(context))
        if request is None:
            raise AirflowFailException(
                f"Pipeline {lake.pipeline}: the ledger must hold what this run asked for, got "
                "nothing. Clear its first task."
            )
        return request


class AskReprocessingOperator(ReprocessingOperator):
    """Look what is stale, and put on record what is to be made anew; skipped if nothing is."""

    operator_extra_links = (LedgerLink(),)

    def run(self, context: Any, lake: Lake) -> dict[str, Any]:
        """Return how much is to be made anew."""
        from include.scoring.reprocessing_requests import open_run
        from include.steps.reprocessing import ask

        why = reason_of(context)
        run_id = context["dag_run"].run_id
        demand_alone(lake.pipeline, open_run(lake), run_id, "reprocessing", "stale")
        request = ask(
            lake,
            pipeline_file.load(lake.pipeline),
            context["params"]["partitions"],
            why,
            context["dag_run"].triggering_user_name or "Nobody known",
            _look_up,
            origin_of(context),
            connections=RelevoHook().sql_url,
        )
        LedgerLink.persist(context, ledger_path(lake.pipeline))
        if request is None:
            raise AirflowSkipException(f"Pipeline {lake.pipeline}: nothing is stale")
        for correction in request.told:
            self.log.info("Corrected: %s", correction)
        for run in request.runs:
            self.log.info(
                "To repeat: run %s of %s, about %s", run.run_id, run.dag_id, run.partition
            )
        return {"partitions": len(request.partitions), "runs": len(request.runs)}


class PrepareHistoryOperator(ReprocessingOperator):
    """Ingest what was corrected, and compute anew what no run of its own scored.

    All corrections come first: features may be computed from several partitions of a source.
    """

    def run(self, context: Any, lake: Lake) -> list[str]:
        """Return their names."""
        from include.spark.session import connect
        from include.steps.history_completion import prepare_again

        request = self.request(context, lake)
        if not request.history:
            return []
        hook = RelevoHook()
        with connect(hook.get_conn().spark_remote) as spark:
            prepare_again(
                spark,
                lake,
                pipeline_file.load(lake.pipeline),
                request.corrected,
                request.history,
                origin_of(context),
                connections=hook.sql_url,
            )
        return sorted(request.history)


class RepeatRunsOperator(ReprocessingOperator):
    """Clear the runs of the request one after the other, and wait for each without a worker slot.

    Args:
        poll_seconds: Seconds between looks at a run that is under way.
    """

    def __init__(self, *, poll_seconds: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll_seconds = poll_seconds
        self._ended = 0

    def run(self, context: Any, lake: Lake) -> int:
        """Return how many runs were repeated.

        Raises:
            TaskDeferred: If one is under way.
            AirflowFailException: If one failed.
        """
        runs = self.request(context, lake).runs
        for position, repeated in enumerate(runs):
            if position >= self._ended and self._is_under_way(repeated):
                self.log.info(
                    "%d of %d: run %s of %s, about %s",
                    *(position + 1, len(runs), repeated.run_id, repeated.dag_id),
                    repeated.partition,
                )
                self._wait(repeated, position)
        return len(runs)

    def resume(self, context: Any, event: dict[str, Any], ended: int) -> Any:
        """Look again, and go on with the next run."""
        self._ended = ended
        return self.execute(context)

    def _is_under_way(self, repeated: RunToRepeat) -> bool:
        """Look at a run, and clear it if that was not done yet."""
        told = f"Run {repeated.run_id} of {repeated.dag_id} about {repeated.partition}"
        run = read_run(repeated.dag_id, repeated.run_id)
        if run is None and repeated.clear_number is not None:
            raise AirflowFailException(
                f"{told} must still be there, got none: somebody deleted it. Trigger this DAG "
                "again, which makes another one."
            )
        if run is not None and run.state in ACTIVE:
            return True
        if run is None or (run.clear_number or 0) == repeated.clear_number:
            start_again(repeated.dag_id, repeated.run_id, {"partition": repeated.partition})
            return True
        if run.state == "failed" and repeated.had_failed:
            self.log.warning("%s failed again, as it had before", told)
        elif run.state == "failed":
            raise AirflowFailException(
                f"{told} failed when it was repeated. Look at it, clear what failed there, and "
                "when it has ended clear this task with what follows: it goes on from there."
            )
        return False

    def _wait(self, repeated: RunToRepeat, position: int) -> None:
        self.defer(
            trigger=RunsEndedTrigger(
                dag_id=repeated.dag_id,
                runs=[repeated.run_id],
                overlap=0,
                poll_seconds=self.poll_seconds,
                until=(datetime.now(UTC) + _LOOK_AGAIN).isoformat(),
            ),
            method_name="resume",
            kwargs={"ended": position},
        )


class FinishReprocessingOperator(ReprocessingOperator):
    """Put on record which predictions were replaced; fails if something is stale all the same."""

    operator_extra_links = (LedgerLink(),)

    def run(self, context: Any, lake: Lake) -> dict[str, Any]:
        """Return by partition the versions of ``predictions`` of then and of now."""
        from include.steps.reprocessing import finish

        replaced, left = finish(
            lake,
            pipeline_file.load(lake.pipeline),
            self.request(context, lake),
            context["params"]["partitions"],
            origin_of(context),
            connections=RelevoHook().sql_url,
        )
        LedgerLink.persist(context, ledger_path(lake.pipeline))
        if not left.is_nothing:
            raise AirflowFailException(
                f"Pipeline {lake.pipeline}: every run was repeated, and {some(left.partitions)} "
                f"are stale all the same. Look with `./relevo stale {lake.pipeline}`: data may "
                "have been corrected meanwhile. Then trigger this DAG again."
            )
        return dict(replaced)


def _look_up(dag_id: str, run_id: str) -> tuple[int, bool] | None:
    """Tell how often a run was cleared, and whether it has failed; None if there is none."""
    run = read_run(dag_id, run_id)
    return None if run is None else (run.clear_number or 0, run.state == "failed")
