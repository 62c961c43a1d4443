"""Operators that score a batch, watch it, and decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from relevo.active_runs import did_or_may, failed_before
from relevo.assets import emit_training_event, retraining_asset
from relevo.links import DriftReportLink, LedgerLink, ledger_path, report_path
from relevo.operators.base import DecisionsFirstOperator, PipelineOperator


class AwaitTrainingOperator(DecisionsFirstOperator):
    """Wait until every earlier partition has decided and every retraining decided has ended.

    This is what makes a replay of history give the same answer whatever the speed of the machine
    and the order in which its runs were triggered. It defers while it waits and fails at its
    deadline.

    Args:
        deadline: Longest wait.
        poll_seconds: Seconds between looks of the trigger.
    """

    ui_color = "#f4f4f4"

    def run(self, context: Any) -> None:
        """Wait."""
        self.await_decisions(context)
        self.log.info("Every earlier decision has been made and carried out")


class ScoreBatchOperator(PipelineOperator):
    """Score and profile the features in one pass on Spark, with the champion as of the partition.

    Features are those that the table holds now: another run about the partition may have replaced
    them, and this task have been cleared alone.

    Args:
        batch: What the validate_features task returned.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "batch")
    ui_color = "#dbe9f6"

    def __init__(self, *, batch: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch

    def run(self, context: Any) -> dict[str, Any]:
        """Return the references of predictions and profile, and the model version."""
        from include.registry.champions import Registry
        from include.spark.session import connect
        from include.steps.monitoring import score_batch
        from include.storage.lake_tables import Lake
        from include.storage.lineage import TableReference

        settings = self.hook.get_conn()
        lake = Lake(settings.store, self.pipeline)
        with connect(settings.spark_remote) as spark:
            scored = score_batch(
                spark,
                lake,
                Registry(lake),
                self.specification(),
                lake.latest(TableReference.from_dict(self.batch["reference"])),
                self.slice_of_time(),
                self.origin(context),
                connections=self.hook.sql_url,
            )
        self.log.info(
            "Scored %s rows with version %s", scored.predictions.rows, scored.model_version
        )
        return scored.to_dict()


class DetectDriftOperator(PipelineOperator):
    """Compare the batch's profile with the champion's reference, and publish the report.

    Args:
        scored: What the score_batch task returned.
        batch: What the validate_features task returned, for the report's sample.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "scored", "batch")
    operator_extra_links = (DriftReportLink(),)
    ui_color = "#fbe5e1"

    def __init__(self, *, scored: Any, batch: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scored = scored
        self.batch = batch

    def run(self, context: Any) -> dict[str, Any]:
        """Return the verdict and its reason."""
        from include.registry.champions import Registry
        from include.reports.drift_report import publish_drift_report
        from include.steps.monitoring import Scored, watch_drift
        from include.storage.lake_tables import Lake
        from include.storage.lineage import TableReference

        lake = Lake(self.hook.store(), self.pipeline)
        spec = self.specification()
        verdict, version = watch_drift(
            lake,
            Registry(lake),
            spec,
            Scored.from_dict(self.scored),
            self.slice_of_time(),
            self.origin(context),
        )
        self.log.info("%s", verdict.reason)
        prepared = TableReference.from_dict(self.batch["reference"])
        features = lake.latest(replace(prepared, table=version.features_table))
        uri = publish_drift_report(lake, spec, verdict, version, features)
        DriftReportLink.persist(context, report_path(uri))
        return {"verdict": verdict.verdict, "reason": verdict.reason, "share": verdict.share}


class MeasurePerformanceOperator(PipelineOperator):
    """Judge the predictions of the partitions whose labels have just matured."""

    ui_color = "#fbe5e1"

    def run(self, context: Any) -> list[dict[str, Any]]:
        """Return one record a matured partition."""
        from include.registry.champions import Registry
        from include.spark.session import connect
        from include.steps.monitoring import measure_performance
        from include.storage.lake_tables import Lake

        settings = self.hook.get_conn()
        lake = Lake(settings.store, self.pipeline)
        with connect(settings.spark_remote) as spark:
            records = measure_performance(
                spark,
                lake,
                Registry(lake),
                self.specification(),
                self.slice_of_time(),
                self.origin(context),
                connections=self.hook.sql_url,
            )
        for record in records:
            self.log.info("%s: %s", record.partition, record.reason)
        return [record.to_dict() for record in records]


class DecideRetrainingOperator(DecisionsFirstOperator):
    """Apply the retraining policy to what is on record, and write the answer into the ledger.

    Runs of several partitions that were cleared from here on decide in order. Its trigger rule is
    ``none_failed``; it fails if a task before it was skipped. None is, unless somebody marks the
    run as failed, which skips what has not begun: cleared without that, nothing was scored.

    Args:
        deadline: Longest wait.
        poll_seconds: Seconds between looks of the trigger.
    """

    operator_extra_links = (LedgerLink(),)
    ui_color = "#f6e0ef"

    def run(self, context: Any) -> dict[str, Any]:
        """Return the decision and its reason.

        Raises:
            AirflowFailException: If a task before it was skipped.
        """
        from include.steps.monitoring import decide
        from include.storage.lake_tables import Lake

        refuse_gaps(self, context)
        self.await_decisions(context)
        lake = Lake(self.hook.store(), self.pipeline)
        decision = decide(lake, self.specification(), self.slice_of_time(), self.origin(context))
        LedgerLink.persist(context, ledger_path(self.pipeline))
        self.log.info("Retrain: %s. %s", "yes" if decision.retrain else "no", decision.reason)
        return {"retrain": decision.retrain, "reason": decision.reason}


def refuse_gaps(
    operator: PipelineOperator, context: Any, must_answer: type[Any] | None = None
) -> None:
    """Fail if a task before this one failed, or did not run as somebody marked the run."""
    if missing := failed_before(operator, context["ti"], must_answer=must_answer):
        raise AirflowFailException(
            f"Partition {operator.partition}: {', '.join(missing)} failed or did not run. Mend "
            "what failed, and clear it with what comes after it; a run that somebody marked is "
            "to be cleared as a whole."
        )


class RequestRetrainingOperator(PipelineOperator):
    """Emit the partitioned asset event that starts ``<pipeline>_train``; skipped on a "no".

    Airflow registers an event when the task succeeds, whether or not it names a partition: a
    task of its own keeps the "no" from making one. It acts on the answer that the ledger holds.

    It is a teardown, the one kind of task that Airflow lets run also in a run that somebody marks,
    or of which only some tasks were cleared: it fails, and the run with it, if a task before it
    has not done its work.
    """

    ui_color = "#f6e0ef"

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(pipeline=pipeline, outlets=[retraining_asset(pipeline)], **kwargs)
        self.as_teardown(on_failure_fail_dagrun=True)

    def run(self, context: Any) -> None:
        """Emit the event, unless the training was already started, or another run asks for it.

        Raises:
            AirflowFailException: If a task before it failed or was skipped.
        """
        from include.storage import ledger
        from include.storage.lake_tables import Lake

        refuse_gaps(self, context, must_answer=DecideRetrainingOperator)
        ti = context["ti"]
        lake = Lake(self.hook.store(), self.pipeline)
        answer = ledger.latest(lake, "retraining", self.partition, ti.run_id)
        if answer is None or answer.decision != "yes":
            raise AirflowSkipException(f"No retraining: {answer.reason if answer else 'undecided'}")
        training = ledger.trainings(lake)[self.partition]
        if training.state == "failed":
            raise AirflowSkipException(
                f"The training as of {self.partition} failed in run {training.dag_run_id} of "
                f"{training.dag_id}: clear that run, or trigger one for the partition"
            )
        if training.state != "requested":
            raise AirflowSkipException(
                f"The training as of {self.partition} is {training.state} already"
            )
        if training.dag_run_id != ti.run_id and did_or_may(
            training.dag_id, training.dag_run_id, self.task_id
        ):
            raise AirflowSkipException(
                f"The training as of {self.partition} is requested by run {training.dag_run_id}"
            )
        emit_training_event(context, self.pipeline, self.partition, answer.reason)
