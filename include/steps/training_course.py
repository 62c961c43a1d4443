"""The course of a training on record: begun, begun again, ended, left off, withdrawn.

A run that trains records its beginning and its end. One that was failed by hand or deleted records
nothing any more: whoever waits for it does, once Airflow says that it is over. A person may take a
request back.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from include.calendar.partitions import Partition
from include.errors import TrainingError, UnavailableError
from include.registry.champions import Registry
from include.specification.pipeline import Pipeline
from include.steps import promotion
from include.steps.interventions import Done
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.ledger import ENDS, Training
from include.storage.lineage import Origin

if TYPE_CHECKING:
    from include.registry.mlflow_runs import Tracking


def start(
    lake: Lake,
    pipeline: Pipeline,
    partition: Partition,
    origin: Origin,
    *,
    only_if: Training | None = None,
) -> None:
    """Record that a training begins, or begins again after it failed, and with which file.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        partition: Partition as of which is trained.
        origin: The run that trains.
        only_if: How far the training must have come at that moment.

    Raises:
        UnavailableError: If it has come elsewhere in between.
    """
    held = ledger.latest(lake, "training", str(partition), origin.dag_run_id)
    if held is not None and held.decision != "failed":
        return
    is_new = ledger.record(
        lake,
        "training",
        str(partition),
        "started",
        f"Training as of {partition} started{'' if held is None else ' again'}.",
        origin=origin,
        evidence={"pipeline": pipeline.model_dump(mode="json", exclude_defaults=True)},
        only_if=only_if,
    )
    if only_if is None or is_new:
        return
    now = ledger.latest(lake, "training", str(partition), origin.dag_run_id)
    # Of several tasks of the run that begin at once one has recorded it.
    if now is None or now.decision == "failed":
        raise UnavailableError(
            f"training {lake.pipeline} as of {partition}: must still be {only_if.state}, got "
            "another entry at the same moment. It is looked at again."
        )


def give_up(lake: Lake, pipeline: Pipeline, partition: str, origin: Origin) -> None:
    """Record how a training ended although its run, which is over, told no end.

    That is what is on record of it, as its last task would have said.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        partition: Partition as of which was to be trained.
        origin: The run; it must be over, so that it records nothing any more.
    """
    held = ledger.latest(lake, "training", partition, origin.dag_run_id)
    if held is not None and held.decision != "started":
        return
    registry = Registry(lake)
    outcome, reason = promotion.outcome(lake, registry, pipeline, partition, origin.dag_run_id)
    if outcome == "failed":
        reason = f"Run {origin.dag_run_id} is over without an end: deleted, or failed by hand."
    # The entry comes last: with it nobody looks again.
    if outcome != "promoted":
        promotion.take_back(lake, registry, partition, reason, origin)
    ledger.record(lake, "training", partition, outcome, reason, origin=origin)


def end_abandoned(lake: Lake, tracking: Tracking) -> None:
    """End the MLflow runs of trainings that are over on record, whoever should have done it."""
    ended = {
        (entry.partition, entry.dag_run_id): entry.decision
        for entry in ledger.entries(lake, "training")
    }
    for run_id, partition, dag_run_id in tracking.running():
        outcome = ended.get((partition, dag_run_id))
        if outcome in ENDS:
            tracking.close(run_id, failed=outcome == "failed")
    tracking.end_orphans()


def objection(lake: Lake, partition: str, dag_run_id: str) -> str | None:
    """Say why a run that was started by a request shall not train; None if it shall.

    A request is carried out once, whoever emitted its event twice; and not at all once it was
    withdrawn. A training that failed did not carry it out; one that has begun goes on, and one that
    reached a verdict may reach another when it is cleared.
    """
    training = ledger.trainings(lake).get(partition)
    if training is None or training.dag_run_id == dag_run_id:
        return None
    if training.state in ("requested", "failed"):
        return None
    own = ledger.latest(lake, "training", partition, dag_run_id)
    if own is not None and own.decision != "failed":
        return None
    by = "" if training.state == "withdrawn" else f" already, by run {training.dag_run_id}"
    return f"The training as of {partition} is {training.state}{by}"


def withdraw(
    lake: Lake,
    partition: Partition,
    reason: str,
    who: str,
    asked_at: datetime | None = None,
    origin: Origin | None = None,
) -> Done:
    """Take back the request for a training, so that nobody waits for it any more.

    A later yes may ask for it again. What is withdrawn already stays so, and nothing is added.

    Args:
        lake: The pipeline's tables.
        partition: Partition as of which a training was requested.
        reason: Why, for people.
        who: Who withdraws it.
        asked_at: When that was asked for, naive UTC; None for now.
        origin: The run that does it; None outside Airflow.

    Raises:
        TrainingError: If none is requested, it has begun, or was requested since that was asked
            for.
        RetiredError: If the pipeline is retired.
    """
    Registry(lake).demand_in_service()
    told = f"Withdrawn by {who}: {reason}"
    if origin is not None:
        own = ledger.latest(lake, "training", str(partition), origin.dag_run_id)
        if own is not None and own.reason == told:  # tried again
            return Done(told, True)
    training = ledger.trainings(lake).get(str(partition))
    subject = f"training {lake.pipeline} as of {partition}"
    if training is None:
        raise TrainingError(
            f"{subject}: must be requested, got no request. "
            f"`./relevo decisions {lake.pipeline}` shows what is."
        )
    if training.state == "withdrawn":
        return Done(f"The training as of {partition} is withdrawn already: nothing changed.", False)
    if training.state == "started":
        raise TrainingError(
            f"{subject}: must not have begun, got started by run {training.dag_run_id}. "
            f"Mark that run of {lake.pipeline}_train as failed, if it shall end."
        )
    if training.state != "requested":
        raise TrainingError(
            f"{subject}: must be requested, got {training.state}. There is nothing to withdraw."
        )
    request = ledger.latest(lake, "retraining", str(partition), training.dag_run_id)
    if asked_at and request and request.recorded_at > asked_at:
        raise TrainingError(
            f"{subject}: must have been requested when the withdrawal was asked for, got requested "
            f"since {request.recorded_at:%Y-%m-%d %H:%M:%S} UTC by run {training.dag_run_id}. Look "
            "at it, and withdraw again if it shall not train."
        )
    # Outside Airflow an origin of its own: the same words again are another withdrawal.
    past = sum(entry.decision == "withdrawn" for entry in ledger.entries(lake, "training"))
    is_new = ledger.record(
        lake,
        "training",
        str(partition),
        "withdrawn",
        told,
        origin=origin or Origin("relevo", f"withdrawal {past + 1}", "withdraw"),
        evidence={"by": who, "requested_by": training.dag_run_id},
        only_if=training,
    )
    if not is_new:
        raise TrainingError(
            f"{subject}: must still be requested, got another entry at the same moment. "
            f"`./relevo decisions {lake.pipeline}` shows it; withdraw again if it shall not train."
        )
    return Done(told, True)
