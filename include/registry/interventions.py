"""What people add to the registry: a version put in use, one refused, the champion frozen.

Each is an event of the table that says what is in use, so that it has its place among promotions:
of two at one moment the first that is committed counts, and the second is asked again and sees it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.calendar.partitions import Partition, parse
from include.errors import RegistryError
from include.registry import retirement, succession
from include.registry.retirement import signed
from include.registry.succession import (
    FROZEN,
    REFUSED,
    REINSTATED,
    REMOVED,
    RESTORED,
    RETIRED,
    UNFROZEN,
)
from include.storage.event_tables import Event, attempt_key
from include.storage.lineage import Origin

BY_HAND = frozenset({RESTORED, REFUSED, FROZEN, UNFROZEN, RETIRED, REINSTATED, REMOVED})
# Evidence of a decision: the last freeze, or end of one, that was on record then.
SEEN = "freeze"
# What the ledger says of the two ways to put a version in use.
ROLLED_BACK, PROMOTED = "rolled back", "promoted"


@dataclass(frozen=True)
class Wish:
    """What a person asks for.

    Args:
        pipeline: Whose model it is about.
        event: ``restored``, ``refused``, ``frozen``, ``unfrozen``, ``retired`` or ``reinstated``.
        decision: What the ledger calls it.
        version: The version that was named; None if none was.
        who: Who asks for it.
        why: The reason.
        at: When, naive UTC: only what was so then is changed.
    """

    pipeline: str
    event: str
    decision: str
    version: int | None
    who: str
    why: str
    at: datetime


def done_by(events: Sequence[Event], origin: Origin, wish: Wish) -> Event | None:
    """Find the event by which a run did what a person asked for.

    A run of a name that comes back and asks for something else did not.
    """
    asked = (wish.event, wish.decision, wish.version, wish.why)
    for row in events:
        if row["event"] in BY_HAND and row["dag_run_id"] == origin.dag_run_id:
            details = json.loads(row["details"])
            if (row["event"], decision(row), details["asked_for"], details["why"]) == asked:
                return row
    return None


def decision(event: Event) -> str:
    """Name what a person decided, as the ledger calls it; earlier releases knew rollbacks only."""
    return str(json.loads(event["details"]).get("decision", ROLLED_BACK))


def is_rollback(event: Event) -> bool:
    """Tell whether a person went back by it, and did not promote by hand or anything else."""
    return bool(event["event"] == RESTORED and decision(event) == ROLLED_BACK)


def freeze_told(events: Sequence[Event]) -> str:
    """Say that the champion is frozen, since when, by whom and why; '' if it is not."""
    freeze = succession.freeze(events)
    if freeze is None:
        return ""
    return f"the champion, version {freeze['version']}, is frozen since {signed(freeze)}"


def refusal_told(events: Sequence[Event], version: int) -> str:
    """Say that a person refused a version, when, who and why; '' if nobody did."""
    refusal = succession.refusals(events).get(version)
    return "" if refusal is None else f"version {version} was refused on {signed(refusal)}"


def objection(events: Sequence[Event], version: int) -> str:
    """Say what keeps a version from being promoted, whatever the gate says; '' if nothing does."""
    is_promoted = version in succession.promotions(events)
    if told := retirement.told(events):
        return f"the pipeline is {told}"
    return refusal_told(events, version) or ("" if is_promoted else freeze_told(events))


def seen(events: Sequence[Event]) -> dict[str, str]:
    """Name the last freeze or its end, as evidence of when something was decided."""
    last = last_of(events, (FROZEN, UNFROZEN))
    return {} if last is None else {SEEN: last["key"]}


def is_kept(events: Sequence[Event], version: int, last_seen: str | None) -> bool:
    """Tell whether a version stays in use, although its training was repeated and came to a no.

    It does while it is frozen; and once that ended, whatever was decided before keeps it.

    Args:
        events: All events.
        version: The version.
        last_seen: The last freeze, or end of one, that was on record when the no was decided; ''
            if none was, None if it is decided now.
    """
    if last_seen is not None:
        keys = [row["key"] for row in events]
        since = events[keys.index(last_seen) + 1 :] if last_seen in keys else events
        if any((row["event"], row["version"]) == (UNFROZEN, version) for row in since):
            return True
    return bool(freeze_told(events)) and succession.effective(events, None) == version


def demand_unfrozen(
    events: Sequence[Event], pipeline: str, purpose: str = "to put another version in use"
) -> None:
    """Refuse what would change the champion while it is frozen.

    Raises:
        RegistryError: If it is.
    """
    if told := freeze_told(events):
        raise RegistryError(
            f"model {pipeline}: the champion must not be frozen {purpose}, got: {told}. "
            "Unfreeze it first (platform_unfreeze)."
        )


def demand_not_refused(events: Sequence[Event], pipeline: str, version: int) -> None:
    """Refuse to go back to a version that a person refused.

    Raises:
        RegistryError: If somebody did.
    """
    if told := refusal_told(events, version):
        raise RegistryError(
            f"model {pipeline}: a version to go back to must not be refused, got: {told}. Choose "
            "another one, or promote it by hand (platform_promote), which ends the refusal."
        )


def demand_known(held: Event | None, wish: Wish) -> None:
    """Refuse to end what a person decided since that was asked for.

    A run may wait for its turn, or be cleared weeks later.

    Raises:
        RegistryError: If the event that is to be ended is younger than the wish.
    """
    if held is not None and held["recorded_at"] > wish.at:
        raise RegistryError(
            f"model {wish.pipeline}: what is to be changed must have been so when that was asked "
            f"for, got {_named(held['version'])}, {held['event']} since {signed(held)}. Look at "
            "it, and ask again if it shall not stay."
        )


def put_in_use(
    held: Sequence[Event],
    wish: Wish,
    version: int,
    instead_of: int | None,
    last: Partition,
    verdict: str,
    origin: Origin,
) -> Event | None:
    """Make the event that puts a version in use from the next partition on, once a run.

    What was scored keeps its champion, and a later training may take over.

    Args:
        held: All events so far.
        wish: What is asked for.
        version: What to put in use.
        instead_of: The version in use now; None if there is none.
        last: The latest partition that counts as past; if the version in use now was trained as of
            a later one, that one.
        verdict: What the gate had said of it, for the reason; '' to leave it out.
        origin: Who does it.

    Raises:
        RegistryError: If another version is in use meanwhile, the champion is frozen, or the
            version is refused: to go back to, or by somebody since its promotion was asked for.
    """
    if done_by(held, origin, wish):
        return None
    retirement.demand_in_service(held, wish.pipeline)
    current = succession.effective(held, None)
    if current != instead_of:
        raise RegistryError(
            f"model {wish.pipeline}: {_named(instead_of)} must still be in use, got "
            f"{_named(current)} at the same moment. Look at it, and ask again if it shall not stay."
        )
    demand_unfrozen(held, wish.pipeline)
    if wish.decision == ROLLED_BACK:
        demand_not_refused(held, wish.pipeline, version)
    demand_known(succession.refusals(held).get(version), wish)
    past = parse(past_of(held, str(last)), last.frequency)
    first = str(past.shift(1))
    how = "again" if wish.decision == ROLLED_BACK else "by hand"
    instead = "" if instead_of is None else f" instead of version {instead_of}"
    told = f"Version {version} is in use {how}{instead}, from {first} on."
    reason = " ".join(filter(None, (told, verdict, f"{wish.who}: {wish.why}")))
    details = {"instead_of": instead_of}
    return make_event(held, wish, version, str(past), first, reason, details, origin)


def refuse(
    held: Sequence[Event], wish: Wish, version: int, last: str, origin: Origin
) -> Event | None:
    """Make the event that keeps a version out of use for good; none if it is refused already.

    Args:
        held: All events so far.
        wish: What is asked for.
        version: What to refuse.
        last: Name of the latest partition that counts as past.
        origin: Who does it.

    Raises:
        RegistryError: If it is in use, or somebody promoted it since that was asked for.
    """
    if done_by(held, origin, wish) or version in succession.refusals(held):
        return None
    retirement.demand_in_service(held, wish.pipeline)
    champion = succession.effective(held, None)
    if champion == version:
        raise RegistryError(
            f"model {wish.pipeline}: a version to refuse must not be in use, got {version}, the "
            "champion. Roll back first (platform_rollback), then refuse it."
        )
    demand_known(last_of(held, (REFUSED, RESTORED), version), wish)
    reason = (
        f"Version {version} is refused: it is not promoted, and not gone back to. "
        f"{wish.who}: {wish.why}"
    )
    past = past_of(held, last)
    return make_event(held, wish, version, past, "", reason, {"champion": champion}, origin)


def freeze(held: Sequence[Event], wish: Wish, last: str, origin: Origin) -> Event | None:
    """Make the event that freezes the champion, or ends that; none if that is so already.

    Args:
        held: All events so far.
        wish: What is asked for: ``frozen`` or ``unfrozen``.
        last: Name of the latest partition that was scored; '' if none was.
        origin: Who does it.

    Raises:
        RegistryError: If nothing is in use, or somebody froze it or ended that since this was asked
            for.
    """
    frozen = succession.freeze(held)
    if done_by(held, origin, wish) or (frozen is not None) == (wish.event == FROZEN):
        return None
    retirement.demand_in_service(held, wish.pipeline)
    champion = succession.effective(held, None)
    if champion is None:
        raise RegistryError(
            f"model {wish.pipeline}: a version must be in use to be frozen, got none. Trigger "
            f"{wish.pipeline}_train first."
        )
    demand_known(last_of(held, (FROZEN, UNFROZEN)), wish)
    told = "is frozen: nothing takes its place" if frozen is None else "is not frozen any more"
    reason = f"Version {champion} {told}. {wish.who}: {wish.why}"
    past = past_of(held, last)
    return make_event(held, wish, champion, past, "", reason, {"champion": champion}, origin)


def make_event(
    held: Sequence[Event],
    wish: Wish,
    version: int | None,
    past: str,
    effective_from: str,
    reason: str,
    details: dict[str, Any],
    origin: Origin,
) -> Event:
    """Make the row of what a person did, with a key of its own."""
    earlier = sum((row["event"], row["version"]) == (wish.event, version) for row in held)
    asked = {"by": wish.who, "why": wish.why, "asked_for": wish.version, "decision": wish.decision}
    task = {"dag_id": origin.dag_id, "task_id": origin.task_id}
    return {
        "key": attempt_key(f"{wish.event}/{version}", earlier),
        "event": wish.event,
        "version": version,
        "partition": past,
        "effective_from": effective_from,
        "reason": reason,
        "details": json.dumps({**details, **asked, **task}),
        "dag_run_id": origin.dag_run_id,
    }


def past_of(held: Sequence[Event], last: str) -> str:
    """Name the latest partition that counts as past when a person decides."""
    in_use = succession.in_use(held)
    return max(last, in_use[-1]["partition"] if in_use else "")


def last_of(
    events: Sequence[Event], kinds: Sequence[str], version: int | None = None
) -> Event | None:
    """Find the last event of some kinds, about a version if one is named."""
    found = [row for row in events if row["event"] in kinds and version in (None, row["version"])]
    return found[-1] if found else None


def _named(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
