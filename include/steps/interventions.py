"""What people do to models by hand, on record: freeze, unfreeze, refuse.

The event in the registry comes first, and the ledger follows it. A run that is tried again finishes
what it began, and so does the next thing that somebody does by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from include.registry import interventions
from include.registry.champions import PROFILES, Registry
from include.registry.interventions import Wish
from include.registry.retirement import UNTIL
from include.registry.succession import (
    FROZEN,
    REFUSED,
    REINSTATED,
    REMOVED,
    RESTORED,
    RETIRED,
    UNFROZEN,
)
from include.storage import ledger
from include.storage.event_tables import Event
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.wording import as_sentence

_KINDS: dict[str, ledger.Kind] = {
    REFUSED: "by_hand",
    FROZEN: "freeze",
    UNFROZEN: "freeze",
    RETIRED: "retirement",
    REINSTATED: "retirement",
    REMOVED: "retirement",
}
# Details of an event that its entry keeps as evidence.
_EVIDENCE = ("restored", UNTIL)


@dataclass(frozen=True)
class Done:
    """What came of it.

    Args:
        told: One sentence for people.
        changed: Whether anything is otherwise now.
    """

    told: str
    changed: bool


def freeze(
    lake: Lake, registry: Registry, why: str, who: str, asked_at: datetime, origin: Origin
) -> Done:
    """Let nothing take the champion's place until it is unfrozen.

    That is whoever is in use at the moment of the commit, also if a promotion came first.

    Args:
        lake: The pipeline's tables.
        registry: Its versions; without MLflow.
        why: The reason, for the ledger.
        who: Who asks for it.
        asked_at: When, naive UTC.
        origin: The run that does it.

    Raises:
        RegistryError: If nothing is in use, or somebody unfroze it since that was asked for.
    """
    wish = Wish(lake.pipeline, FROZEN, "frozen", None, who, why, asked_at)
    return _set(lake, registry, wish, origin)


def unfreeze(
    lake: Lake, registry: Registry, why: str, who: str, asked_at: datetime, origin: Origin
) -> Done:
    """Let the gate decide again, from the next verdict on; arguments as of :func:`freeze`.

    Raises:
        RegistryError: If somebody froze it since that was asked for.
    """
    wish = Wish(lake.pipeline, UNFROZEN, "unfrozen", None, who, why, asked_at)
    return _set(lake, registry, wish, origin)


def refuse(
    lake: Lake,
    registry: Registry,
    version: int,
    why: str,
    who: str,
    asked_at: datetime,
    origin: Origin,
) -> Done:
    """Keep a version out of use for good: it is not promoted, nor gone back to.

    Only a promotion by hand takes that back.

    Args:
        lake: The pipeline's tables.
        registry: Its versions; without MLflow.
        version: The version.
        why: The reason, for the ledger.
        who: Who asks for it.
        asked_at: When, naive UTC.
        origin: The run that does it.

    Raises:
        RegistryError: If it was never registered, is in use, or was promoted by hand since that was
            asked for.
    """
    wish = Wish(lake.pipeline, REFUSED, "refused", version, who, why, asked_at)
    last = max(last_scored(lake), registry.get(version).partition)
    return do(
        lake,
        registry,
        wish,
        lambda held: interventions.refuse(held, wish, version, last, origin),
        lambda events: interventions.refusal_told(events, version),
        origin,
    )


def record(lake: Lake, events: Sequence[Event], origin: Origin) -> None:
    """Write the entries of the ledger that follow from what people did, whoever was killed before.

    Args:
        lake: The pipeline's tables.
        events: The events of the registry.
        origin: Who writes; an event of an earlier release does not say who did it.
    """
    told = {
        (entry.partition, entry.dag_run_id, entry.decision, entry.reason)
        for entry in ledger.entries(lake, "rollback", *_KINDS.values())
    }
    for event in events:
        if event["event"] in interventions.BY_HAND:
            decision = interventions.decision(event)
            # Not only the latest: a run of the same name may have decided otherwise since.
            if (event["partition"], event["dag_run_id"], decision, event["reason"]) not in told:
                _write(lake, event, decision, origin)


def _write(lake: Lake, event: Event, decision: str, origin: Origin) -> None:
    details = json.loads(event["details"])
    if event["event"] == RESTORED:
        kind: ledger.Kind = "rollback" if interventions.is_rollback(event) else "by_hand"
        found = {"champion": details["instead_of"], "restored": event["version"]}
    else:
        kind = _KINDS[event["event"]]
        found = {"champion": details["champion"], "version": event["version"]}
        found |= {name: details[name] for name in _EVIDENCE if name in details}
    ledger.record(
        lake,
        kind,
        event["partition"],
        decision,
        event["reason"],
        origin=Origin(
            details.get("dag_id", origin.dag_id),
            event["dag_run_id"],
            details.get("task_id", origin.task_id),
        ),
        evidence={"by": details["by"], **found},
    )


def last_scored(lake: Lake) -> str:
    """Name the latest partition that was scored; '' if none was."""
    return max(lake.partitions(PROFILES), default="")


def _set(lake: Lake, registry: Registry, wish: Wish, origin: Origin) -> Done:
    """Freeze or unfreeze the champion."""
    last = last_scored(lake)

    def unchanged(events: Sequence[Event]) -> str:
        told = interventions.freeze_told(events)
        if wish.event == FROZEN:
            return told
        return "" if told else "the champion is not frozen"

    return do(
        lake,
        registry,
        wish,
        lambda held: interventions.freeze(held, wish, last, origin),
        unchanged,
        origin,
    )


def do(
    lake: Lake,
    registry: Registry,
    wish: Wish,
    make: Callable[[list[Event]], Event | None],
    as_wished: Callable[[Sequence[Event]], str],
    origin: Origin,
) -> Done:
    """Add an event once, and put it on record; tells what came of it.

    Args:
        lake: The pipeline's tables.
        registry: Its versions.
        wish: What is asked for.
        make: Makes the event; none if it changes nothing.
        as_wished: Says what is so, if that is what is asked for; else ''.
        origin: The run that does it.
    """
    record(lake, registry.events(), origin)
    while (done := interventions.done_by(events := registry.events(), origin, wish)) is None:
        if told := as_wished(events):
            return Done(f"{told[:1].upper()}{told[1:]}: nothing changed.", False)
        registry.add(make, origin)
    record(lake, events, origin)
    told = done["reason"]
    if not as_wished(events):
        told = f"{as_sentence(told)} Somebody took that back since."
    return Done(told, True)
