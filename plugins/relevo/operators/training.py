"""Operators of a training run: one MLflow parent run, candidates nested below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from relevo.active_runs import failed_before
from relevo.assets import is_by_training_event
from relevo.links import (
    DataDocsLink,
    EvidenceLink,
    LedgerLink,
    MlflowRunLink,
    ModelVersionLink,
    ledger_path,
    report_path,
)
from relevo.operators.base import PipelineOperator

if TYPE_CHECKING:
    from include.registry.mlflow_runs import Tracking
    from include.specification.pipeline import Pipeline
    from include.storage.lake_tables import Lake


# Without a challenger that was accepted there is nothing to ask for or to carry out.
_MAY_BE_SKIPPED = ("approve_promotion", "promote_challenger")


class TrainingOperator(PipelineOperator):
    """A step of a training run.

    Whichever comes first, also after it was cleared, records that the training begins. A run that
    a request started is skipped if the request was carried out or withdrawn meanwhile.
    """

    ui_color = "#e4f0ee"
    begins_training = True

    def trained(self, context: Any) -> Pipeline:
        """Read the pipeline file, of the generation that the run is about."""
        from include.steps.generations import ASKED, of_training

        run = context["dag_run"]
        return of_training(
            *(self.lake(), self.specification(), self.slice_of_time(), run.run_id),
            (run.conf or {}).get(ASKED),
        )

    def begin(self, context: Any) -> None:
        """Record the beginning, or skip the step."""
        from include.steps.training_course import objection, start
        from include.storage import ledger

        run, lake, seen = context["dag_run"], self.lake(), None
        if is_by_training_event(run, self.pipeline):
            seen = ledger.trainings(lake).get(self.partition)
            against = objection(lake, self.partition, run.run_id)
            if against:
                raise AirflowSkipException(against)
        if self.begins_training:
            origin = self.origin(context)
            start(lake, self.trained(context), self.slice_of_time(), origin, only_if=seen)

    def lake(self) -> Lake:
        """Open the pipeline's tables."""
        from include.storage.lake_tables import Lake

        return Lake(self.hook.store(), self.pipeline)

    def tracking(self) -> Tracking:
        """Open the pipeline's MLflow experiment."""
        from include.registry.mlflow_runs import Tracking

        return Tracking(self.hook.mlflow(), self.pipeline)

    def parent_run(self, context: Any, tracking: Tracking) -> str:
        """Find or make the MLflow run of this DAG run."""
        from include.registry.mlflow_runs import DAG_RUN, PARTITION

        ti = context["ti"]
        return tracking.parent(
            f"{ti.dag_id}/{ti.run_id}", {PARTITION: self.partition, DAG_RUN: ti.run_id}
        )

    def link_run(self, context: Any, tracking: Tracking, run_id: str) -> None:
        """Link this task to a run in the MLflow UI."""
        MlflowRunLink.persist(context, f"{tracking.settings.page_url}/{tracking.run_path(run_id)}")


class BuildTrainingSetOperator(TrainingOperator):
    """Complete the history that was landed, and join the latest mature partitions with labels.

    Skipped if the answer that started the run was taken back.
    """

    operator_extra_links = (MlflowRunLink(),)

    def run(self, context: Any) -> dict[str, Any]:
        """Return the training set's reference, partitions and counts."""
        from include.spark.session import connect
        from include.steps.history_completion import complete_history
        from include.training.training_sets import build_training_set

        lake, tracking, spec = self.lake(), self.tracking(), self.trained(context)
        origin, partition = self.origin(context), self.slice_of_time()
        self.link_run(context, tracking, self.parent_run(context, tracking))
        with connect(self.hook.get_conn().spark_remote) as spark:
            prepared = complete_history(
                spark, lake, spec, partition, origin, connections=self.hook.sql_url
            )
        self.log.info("Prepared %s partitions of history: %s", len(prepared), ", ".join(prepared))
        training_set = build_training_set(lake, spec, partition, origin)
        self.log.info(
            "%s rows of %s to train, %s of %s held out",
            training_set.rows[0],
            ", ".join(training_set.train),
            training_set.rows[1],
            ", ".join(training_set.holdout)
            or f"a share of {spec.training.holdout} of the entities",
        )
        if training_set.rare:
            self.log.warning("Too rare to be learned, left out of fitting: %s", training_set.rare)
        return training_set.to_dict()


class ValidateTrainingSetOperator(TrainingOperator):
    """Run the features' suite on the training set; critical failures stop the training.

    Args:
        training_set: What the build_training_set task returned.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "training_set")
    operator_extra_links = (DataDocsLink(),)
    ui_color = "#fdf3dc"

    def __init__(self, *, training_set: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.training_set = training_set

    def run(self, context: Any) -> dict[str, Any]:
        """Return the training set again, now known to be fit for use."""
        from include.steps.preparation import data_docs_uri, validate_training_set
        from include.training.training_sets import TrainingSet

        DataDocsLink.persist(
            context, report_path(data_docs_uri(self.pipeline, self.partition, "training_set"))
        )
        summary = validate_training_set(
            self.lake(), self.trained(context), TrainingSet.from_dict(self.training_set)
        )
        self.log.info("Validated the training set as of %s: %s", self.partition, summary)
        return dict(self.training_set)


class TrainCandidateOperator(TrainingOperator):
    """Search and fit one candidate in its own nested MLflow run; mapped over the candidates.

    Args:
        candidate: Name of the builder.
        training_set: What the validate_training_set task returned.
    """

    template_fields: Sequence[str] = (
        *PipelineOperator.template_fields,
        "candidate",
        "training_set",
    )
    operator_extra_links = (MlflowRunLink(),)

    def __init__(self, *, candidate: str, training_set: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidate = candidate
        self.training_set = training_set

    def run(self, context: Any) -> dict[str, Any]:
        """Return the run, the validation metric and the model file."""
        from include.steps.training import fit
        from include.training.training_sets import TrainingSet

        tracking = self.tracking()
        result = fit(
            self.lake(),
            tracking,
            self.trained(context),
            TrainingSet.from_dict(self.training_set),
            self.candidate,
            self.parent_run(context, tracking),
        )
        self.link_run(context, tracking, result.run_id)
        self.log.info("%s validated at %.4f", result.name, result.validation)
        return result.to_dict()


class SelectChallengerOperator(TrainingOperator):
    """Register the candidate that validated best, with the reference of its training set.

    Args:
        candidates: What the mapped train_candidate tasks returned.
        training_set: What the validate_training_set task returned.
    """

    template_fields: Sequence[str] = (
        *PipelineOperator.template_fields,
        "candidates",
        "training_set",
    )
    operator_extra_links = (ModelVersionLink(),)

    def __init__(self, *, candidates: Any, training_set: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidates = candidates
        self.training_set = training_set

    def run(self, context: Any) -> dict[str, Any]:
        """Return the registered version."""
        from include.registry.champions import Registry
        from include.steps.training import CandidateResult, select
        from include.training.training_sets import TrainingSet

        lake, tracking = self.lake(), self.tracking()
        version = select(
            lake,
            Registry(lake, tracking),
            self.trained(context),
            TrainingSet.from_dict(self.training_set),
            [CandidateResult.from_dict(item) for item in self.candidates],
            self.origin(context),
        )
        ModelVersionLink.persist(
            context,
            f"{tracking.settings.page_url}/#/models/{self.pipeline}/versions/{version.version}",
        )
        self.log.info("Version %s is the challenger: %s", version.version, version.candidate)
        return {"version": version.version, "candidate": version.candidate}


class EvaluateChallengerOperator(TrainingOperator):
    """Judge the challenger against the champion as of the partition, and publish the evidence.

    Args:
        challenger: What the select_challenger task returned.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "challenger")
    operator_extra_links = (EvidenceLink(), LedgerLink())

    def __init__(self, *, challenger: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.challenger = challenger

    def run(self, context: Any) -> dict[str, Any]:
        """Return whether the challenger may take the baton, and why."""
        from include.registry.champions import Registry
        from include.reports.evidence_page import publish_evidence
        from include.steps.training import evaluate

        lake, spec, tracking = self.lake(), self.trained(context), self.tracking()
        registry = Registry(lake, tracking)
        version = registry.get(int(self.challenger["version"]))
        evaluation = evaluate(
            lake, registry, spec, version, self.slice_of_time(), self.origin(context)
        )
        uri = publish_evidence(lake, spec, version, evaluation)
        EvidenceLink.persist(context, report_path(uri))
        LedgerLink.persist(context, ledger_path(self.pipeline))
        tracking.log_metrics(
            self.parent_run(context, tracking),
            {name: item.value for name, item in evaluation.evidence.challenger.items()},
        )
        self.log.info("%s", evaluation.decision.reason)
        return {
            "version": version.version,
            "promoted": evaluation.decision.promoted,
            "reason": evaluation.decision.reason,
        }


class PromoteChallengerOperator(TrainingOperator):
    """Do what verdict and approval in the ledger say: put the challenger in use, or take it back.

    A promotion counts from the next partition on, where nobody scored yet. Skipped if the
    challenger may not take over; whatever the same run had put in use before is then taken back.
    Its trigger rule is ``none_failed``, as nobody is asked about a challenger that was refused.
    """

    operator_extra_links = (ModelVersionLink(),)

    def run(self, context: Any) -> dict[str, Any]:
        """Return the version that was put in use, and from which partition on."""
        from include.registry.champions import Registry
        from include.steps.promotion import carry_out

        lake, tracking, partition = self.lake(), self.tracking(), self.slice_of_time()
        version, reason = carry_out(
            lake, Registry(lake, tracking), self.specification(), partition, self.origin(context)
        )
        if version is None:
            raise AirflowSkipException(reason)
        ModelVersionLink.persist(
            context, f"{tracking.settings.page_url}/#/models/{self.pipeline}/versions/{version}"
        )
        first = str(partition.shift(1))
        self.log.info("Version %s is in use from %s on, where nobody scored yet", version, first)
        return {"version": version, "effective_from": first}


class CloseTrainingOperator(TrainingOperator):
    """Record how the training ended and end the MLflow runs, whatever happened before.

    It is a teardown, the one kind of task that Airflow lets run also in a run that somebody marks,
    or of which only some tasks were cleared. It fails if the training or any of its tasks failed,
    so that the DAG run does.
    """

    operator_extra_links = (MlflowRunLink(), LedgerLink())
    begins_training = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.as_teardown(on_failure_fail_dagrun=True)

    def run(self, context: Any) -> dict[str, Any]:
        """Return how the training ended.

        Raises:
            AirflowFailException: If no verdict was reached or carried out, or a task failed.
        """
        from include.registry.champions import Registry
        from include.steps.training import close
        from include.steps.training_course import end_abandoned

        lake, tracking = self.lake(), self.tracking()
        outcome, reason = close(
            lake,
            Registry(lake, tracking),
            self.specification(),
            self.slice_of_time(),
            self.origin(context),
        )
        LedgerLink.persist(context, ledger_path(self.pipeline))
        # After the ledger: whoever waits for the training does not wait for MLflow.
        parent_id = self.parent_run(context, tracking)
        tracking.close(parent_id, failed=outcome == "failed")
        end_abandoned(lake, tracking)
        self.link_run(context, tracking, parent_id)
        # What was accepted is promoted, and asked about where the file says so.
        asks = self.specification().promotion.approval == "required"
        may_be_skipped = () if asks else _MAY_BE_SKIPPED[:1]
        failed = failed_before(
            self,
            context["ti"],
            may_be_skipped=_MAY_BE_SKIPPED if outcome == "refused" else may_be_skipped,
            must_answer=EvaluateChallengerOperator,
        )
        told = f" {', '.join(failed)} failed or did not run: clear them, with what follows them."
        if outcome == "failed":
            raise AirflowFailException(
                f"Training as of {self.partition} failed. {reason}{told if failed else ''}"
            )
        if failed:
            raise AirflowFailException(
                f"Training as of {self.partition}: what counts is what this run has on record, "
                f"{outcome}. {reason}{told}"
            )
        self.log.info("Training as of %s ended: %s", self.partition, outcome)
        return {"outcome": outcome, "reason": reason}
