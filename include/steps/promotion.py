"""From a verdict on record to the registry: ask a person, put in use, or take back.

Whoever acts reads the ledger, where the latest answer of a run counts, so a task that is cleared
acts on what is on record then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from include.calendar.partitions import Partition
from include.errors import HeldBackError, TrainingError
from include.evaluation.promotion_gate import held_back
from include.registry import interventions, succession
from include.registry.champions import Registry
from include.registry.succession import RESTORED
from include.specification.pipeline import Pipeline
from include.steps.generations import demand_described
from include.storage import ledger
from include.storage.event_tables import Event
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

Answer = Literal["approved", "rejected", "expired"]
Outcome = Literal["promoted", "refused", "failed"]


@dataclass(frozen=True)
class Verdict:
    """What a run decided last on its challenger, and what a person said to that.

    Args:
        key: Key of the verdict in the ledger.
        version: The challenger.
        promoted: Whether the gate accepted it.
        reason: Why.
        approval: ``approved``, ``rejected``, ``expired`` or ``asked``; '' if nobody was asked about
            this verdict.
        approval_reason: Who said so, or why nobody did.
        champion: The version that the challenger was judged against; None if there was none.
        last_seen: The last freeze, or end of one, when that was decided; '' if there was none.
    """

    key: str
    version: int
    promoted: bool
    reason: str
    approval: str = ""
    approval_reason: str = ""
    champion: int | None = None
    last_seen: str = ""


def verdict_of(lake: Lake, partition: str, dag_run_id: str) -> Verdict | None:
    """Read the verdict that counts for a run; None if it reached none."""
    entry = ledger.latest(lake, "promotion", partition, dag_run_id)
    if entry is None:
        return None
    said = ledger.latest(lake, "approval", partition, dag_run_id)
    is_about_it = said is not None and said.evidence["verdict"] == entry.key
    decided = said if said and is_about_it and said.decision != "asked" else entry
    return Verdict(
        entry.key,
        int(entry.evidence["challenger"]),
        entry.decision == "promoted",
        entry.reason,
        said.decision if said and is_about_it else "",
        said.reason if said and is_about_it else "",
        entry.evidence.get("champion"),
        decided.evidence.get(interventions.SEEN, ""),
    )


def _objection(verdict: Verdict | None, events: Sequence[Event]) -> str:
    """Say why a person keeps an accepted challenger out of use; '' if nobody does."""
    if verdict is None or not verdict.promoted:
        return ""
    against = interventions.objection(events, verdict.version)
    return against and held_back(against, verdict.reason)


def unasked(registry: Registry, verdict: Verdict | None) -> str:
    """Say why nobody is to be asked about a verdict; '' if a person is."""
    if verdict is None:
        return "No verdict was reached"
    if not verdict.promoted:
        return verdict.reason
    return _objection(verdict, registry.events())


def ask(lake: Lake, verdict: Verdict, partition: str, origin: Origin) -> None:
    """Put on record that a person is asked about a verdict; an earlier answer counts no more."""
    ledger.record(
        lake,
        "approval",
        partition,
        "asked",
        f"May version {verdict.version} take over?",
        origin=origin,
        evidence={"verdict": verdict.key, "challenger": verdict.version},
    )


def answer(lake: Lake, partition: str, said: Answer, reason: str, origin: Origin) -> None:
    """Put an answer on record; it counts for the verdict that was asked about, and for no other."""
    asked = ledger.latest(lake, "approval", partition, origin.dag_run_id)
    if asked is not None:
        evidence = {**asked.evidence, **interventions.seen(Registry(lake).events())}
        ledger.record(lake, "approval", partition, said, reason, origin=origin, evidence=evidence)


def carry_out(
    lake: Lake, registry: Registry, pipeline: Pipeline, partition: Partition, origin: Origin
) -> tuple[int | None, str]:
    """Put the challenger in use if verdict and approval say so; else take back what the run did.

    What a person holds back at the moment of the promotion gets a verdict that says so.

    Returns:
        (version that was put in use, or None; why).

    Raises:
        RegistryError: If the pipeline file was changed since, so that it does not describe the
            features that the challenger was trained on.
        TrainingError: If the run has ended as failed meanwhile, as one does that somebody marks; or
            if a person went back to a version since the verdict, which says nothing about that.
    """
    ended = ledger.latest(lake, "training", str(partition), origin.dag_run_id)
    if ended is not None and ended.decision == "failed":
        raise TrainingError(
            f"training {lake.pipeline} as of {partition}: must be under way to promote, got "
            f"failed. {ended.reason} Clear the run."
        )
    verdict = verdict_of(lake, str(partition), origin.dag_run_id)
    events = registry.events()
    if against := _objection(verdict, events):
        return None, _hold_back(lake, registry, partition, against, events, origin)
    _, refusal = _refusal(verdict, pipeline)
    if verdict is None or refusal:
        registry.take_back(partition, refusal, origin, verdict.last_seen if verdict else None)
        return None, refusal
    if not registry.is_promoted(verdict.version):
        demand_described(pipeline, registry.get(verdict.version))

    def demand_judged(held: Sequence[Event]) -> None:
        beaten = succession.incumbent(held, str(partition), origin.dag_run_id, verdict.version)
        if beaten and beaten["event"] == RESTORED and beaten["version"] != verdict.champion:
            raise TrainingError(
                f"training {lake.pipeline} as of {partition}: version {verdict.version} must have "
                f"been judged against the one in use, version {beaten['version']}, got a verdict "
                f"against version {verdict.champion}, before somebody put that one in use. Clear "
                "evaluate_challenger, with what follows it."
            )

    try:
        registry.promote(verdict.version, partition, verdict.reason, origin, demand_judged)
    except HeldBackError as error:
        # Frozen or refused since the look above; what was committed first counts.
        against = held_back(str(error), verdict.reason)
        return None, _hold_back(lake, registry, partition, against, events, origin)
    return verdict.version, verdict.reason


def take_back(lake: Lake, registry: Registry, partition: str, reason: str, origin: Origin) -> None:
    """Undo what a run put in use that ended with a no; the alias is left to whoever comes next."""
    verdict = verdict_of(lake, partition, origin.dag_run_id)
    registry.roll_back(partition, reason, origin, last_seen=verdict.last_seen if verdict else None)


def _hold_back(
    lake: Lake,
    registry: Registry,
    partition: Partition,
    reason: str,
    events: Sequence[Event],
    origin: Origin,
) -> str:
    """Supersede the gate's yes on record, and take back what the run did; returns the reason."""
    last_seen = interventions.seen(events)
    accepted = ledger.latest(lake, "promotion", str(partition), origin.dag_run_id)
    assert accepted is not None
    ledger.record(
        lake,
        "promotion",
        str(partition),
        "refused",
        reason,
        origin=origin,
        evidence={**accepted.evidence, **last_seen},
    )
    registry.take_back(partition, reason, origin, last_seen.get(interventions.SEEN, ""))
    return reason


def outcome(
    lake: Lake, registry: Registry, pipeline: Pipeline, partition: str, dag_run_id: str
) -> tuple[Outcome, str]:
    """Tell how a training run ended, by what is on record of it.

    ``promoted`` needs the verdict, the approval where the pipeline file asks for one, and the
    registry's event; ``refused`` the verdict's or a person's no, also one that was given while
    nobody had answered; anything else is ``failed``.

    Returns:
        (outcome, reason).
    """
    verdict = verdict_of(lake, partition, dag_run_id)
    if against := _objection(verdict, registry.events()):
        return "refused", against
    ended, refusal = _refusal(verdict, pipeline)
    if verdict is None or refusal:
        return ended, refusal
    if not registry.is_promoted(verdict.version):
        return "failed", f"Version {verdict.version} was accepted but not put in use."
    return "promoted", verdict.reason


def _refusal(verdict: Verdict | None, pipeline: Pipeline) -> tuple[Outcome, str]:
    """Say how a run ends whose challenger may not be put in use, and why; '' if it may.

    A person's no counts also if nobody is to be asked any more.
    """
    if verdict is None:
        return "failed", "No verdict was reached: look at the task that failed."
    if not verdict.promoted:
        return "refused", verdict.reason
    if verdict.approval == "rejected":
        return "refused", f"Version {verdict.version} was not approved. {verdict.approval_reason}"
    if pipeline.promotion.approval == "required" and verdict.approval != "approved":
        if verdict.approval == "expired":
            return "failed", verdict.approval_reason
        return "failed", (
            f"Nobody approved version {verdict.version} after its latest verdict: clear "
            "approve_promotion."
        )
    return "promoted", ""
