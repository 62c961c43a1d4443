"""Which version follows which, told by the registry's events alone.

Of each version the latest of the events ``promoted`` and ``rolled_back`` counts. ``restored`` is a
person's choice, by a rollback or a promotion by hand: it counts as a promotion as of the partition
at which it was asked for, and is taken back by nothing but a later promotion or choice. What a
person ``refused`` counts as in use nowhere until a person promotes it. From ``frozen`` to
``unfrozen`` the registry adds nothing that changes the champion. From ``retired`` to ``reinstated``
nothing is in use at the end of time; what was in use for a partition stays so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from include.storage.event_tables import Event

PROMOTED, TAKEN_BACK, RESTORED = "promoted", "rolled_back", "restored"
REFUSED, FROZEN, UNFROZEN = "refused", "frozen", "unfrozen"
RETIRED, REINSTATED, REMOVED = "retired", "reinstated", "removed"
# Detail of what was taken back because its own run promoted another version.
REPLACED_BY = "replaced_by"


@dataclass(frozen=True)
class Change:
    """One change of the version that is in use at the end of time, which the alias follows.

    Args:
        before: Version in use before; None if there was none.
        after: Version in use afterwards; None if there is none.
        event: What changed it.
    """

    before: int | None
    after: int | None
    event: Event


def promotions(events: Sequence[Event]) -> dict[int, Event]:
    """Find the promotions that were not taken back, by version, in their order."""
    latest: dict[int, Event] = {}
    for row in events:
        if row["event"] in (PROMOTED, TAKEN_BACK):
            latest.pop(row["version"], None)
            latest[row["version"]] = row
    return {name: row for name, row in latest.items() if row["event"] == PROMOTED}


def refusals(events: Sequence[Event]) -> dict[int, Event]:
    """Find by version what a person refused and nobody put in use by hand since."""
    found: dict[int, Event] = {}
    for row in events:
        if row["event"] == REFUSED:
            found[int(row["version"])] = row
        elif row["event"] == RESTORED:
            found.pop(int(row["version"]), None)
    return found


def freeze(events: Sequence[Event]) -> Event | None:
    """Find the event by which the champion is frozen; None if it is not."""
    found = [row for row in events if row["event"] in (FROZEN, UNFROZEN)]
    return found[-1] if found and found[-1]["event"] == FROZEN else None


def retirement(events: Sequence[Event]) -> Event | None:
    """Find the event by which the pipeline is retired; None if it is not."""
    found = [row for row in events if row["event"] in (RETIRED, REINSTATED)]
    return found[-1] if found and found[-1]["event"] == RETIRED else None


def in_use(events: Sequence[Event]) -> list[Event]:
    """List what put versions in use and counts, by partition and of one partition in order.

    So the last one is what counts at the end of time.
    """
    found = [*promotions(events).values(), *(row for row in events if row["event"] == RESTORED)]
    refused = refusals(events)
    found = [row for row in found if row["version"] not in refused]
    place = {row["key"]: at for at, row in enumerate(events)}
    return sorted(found, key=lambda row: (row["partition"], place[row["key"]]))


def incumbent(
    events: Sequence[Event], partition: str, dag_run_id: str, challenger: int | None = None
) -> Event | None:
    """Find what put in use whose place a version would take that a run trains as of a partition.

    Later trainings and the run's own versions are left out, also those that a person went back to;
    so is the challenger, which a person may have put in use already.
    """
    own = {
        row["version"]
        for row in promotions(events).values()
        if (row["partition"], row["dag_run_id"]) == (partition, dag_run_id)
    } | {challenger}
    found = [
        row for row in in_use(events) if row["partition"] <= partition and row["version"] not in own
    ]
    return found[-1] if found else None


def effective(events: Sequence[Event], partition: str | None) -> int | None:
    """Name the version that counts for a partition; None asks for the end of time."""
    if partition is None and retirement(events) is not None:
        return None
    found = [
        row["version"]
        for row in in_use(events)
        if partition is None or row["effective_from"] <= partition
    ]
    return int(found[-1]) if found else None


def latest_of(events: Sequence[Event], version: int) -> int:
    """Follow a version to the latest that its own training promoted in its place.

    That is itself if none was, if it is frozen, or if a person refused those, or they were taken
    back.
    """
    replaced = {
        row["version"]: json.loads(row["details"]).get(REPLACED_BY)
        for row in events
        if row["event"] in (PROMOTED, TAKEN_BACK, RESTORED)
    }
    held = freeze(events)
    if held is not None and held["version"] == version:
        return version
    allowed = promotions(events).keys() - refusals(events).keys()
    latest = version
    while (follower := replaced.get(version)) is not None:
        version = int(follower)
        latest = version if version in allowed else latest
    return latest


def is_chosen(events: Sequence[Event], version: int) -> bool:
    """Tell whether a person went back to a version after its own training had replaced it."""
    was_replaced = False
    for row in events:
        if row["version"] == version and row["event"] in (PROMOTED, TAKEN_BACK):
            was_replaced = REPLACED_BY in json.loads(row["details"])
        elif (row["version"], row["event"]) == (version, RESTORED) and was_replaced:
            return True
    return False


def changes(events: Sequence[Event]) -> list[Change]:
    """Follow the version at the end of time from event to event."""
    found: list[Change] = []
    before = None
    for at, event in enumerate(events, 1):
        after = effective(events[:at], None)
        if after != before:
            found.append(Change(before, after, event))
            before = after
    return found


def usable(events: Sequence[Event]) -> set[int]:
    """Name the versions that may be gone back to.

    Those are all that were put in use, but for those that were taken back for their verdict, or
    that a person refused. One whose training was cleared and made another was in use rightly until
    then.
    """
    taken_back = [row for row in events if row["event"] == TAKEN_BACK]
    replaced = {int(row["version"]) for row in taken_back}
    refused = {
        int(row["version"]) for row in taken_back if REPLACED_BY not in json.loads(row["details"])
    }
    replaced -= {*refused, *refusals(events)}
    return {int(row["version"]) for row in in_use(events)} | replaced


def the_one_before(events: Sequence[Event]) -> int | None:
    """Name the version that was in use last before the one of now, and may be gone back to."""
    allowed, now = usable(events), effective(events, None)
    past = [change.after for change in changes(events) if change.after != now]
    return next((version for version in reversed(past) if version in allowed), None)
