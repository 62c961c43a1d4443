"""What happened to a pipeline's model, as one list: trainings, what people did, the alias."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from include.registry import succession
from include.registry.champions import CHAMPION, Registry
from include.registry.succession import Change
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.ledger import Entry

_DECIDED: tuple[ledger.Kind, ...] = (
    *("training", "approval", "rollback", "by_hand", "freeze"),
    *("release", "retirement"),
)
HEADS = ("recorded (UTC)", "partition", "what", "outcome", "who", "why")


@dataclass(frozen=True)
class Happening:
    """One line.

    Args:
        at: When it was recorded, naive UTC; tells no order, because clocks differ.
        partition: Partition that it is about.
        what: ``training``, ``approval``, ``rollback``, ``by_hand``, ``freeze``, ``release`` of
            repaired rows, ``retirement``, or ``champion`` for a move of the alias.
        outcome: What came of it; of the alias the versions before and after.
        who: A person, or the run.
        why: The reason.
    """

    at: datetime
    partition: str
    what: str
    outcome: str
    who: str
    why: str

    def cells(self) -> tuple[str, ...]:
        """Render in the order of ``HEADS``."""
        when = f"{self.at:%Y-%m-%d %H:%M:%S}"
        return (when, self.partition, self.what, self.outcome, self.who, self.why)


def history(lake: Lake) -> list[Happening]:
    """List what decided which version is in use, and what people released, as it was recorded.

    Each of the two tables that tell it keeps its own order; between them the time counts. Answers
    that were superseded are told as well: they were acted on.
    """
    entries = ledger.entries(lake, *_DECIDED)
    # What a release has begun is told again when it is done.
    decided = (_decided(entry) for entry in entries if entry.decision != "begun")
    moved = (_moved(change) for change in succession.changes(Registry(lake).events()))
    merged = heapq.merge(_placed(decided), _placed(moved), key=lambda item: item[0])
    return [happening for _, happening in merged]


def _placed(happenings: Iterable[Happening]) -> Iterator[tuple[datetime, Happening]]:
    """Give each a moment that is no earlier than that of the one before it."""
    latest = datetime.min
    for item in happenings:
        latest = max(latest, item.at)
        yield latest, item


def _decided(entry: Entry) -> Happening:
    return Happening(
        entry.recorded_at,
        entry.partition,
        entry.kind,
        entry.decision,
        str(entry.evidence.get("by") or entry.dag_run_id),
        entry.reason,
    )


def _moved(change: Change) -> Happening:
    event = change.event
    before, after = (f"v{item}" if item else "none" for item in (change.before, change.after))
    since = f" from {event['effective_from']} on" if event["effective_from"] else ""
    return Happening(
        event["recorded_at"],
        event["partition"],
        CHAMPION,
        f"{before} -> {after}{since}",
        event["dag_run_id"],
        event["reason"],
    )
