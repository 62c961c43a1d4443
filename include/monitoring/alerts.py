"""What people are told of, and in which messages; without I/O.

An alert has a key that says what it is about. Whoever has been told of a key is not told again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from include.calendar.partitions import Partition
from include.specification.sections.alerts import ALERT_KINDS, AlertKind

# What waits for a person, however long it has.
_OPEN: frozenset[AlertKind] = frozenset({"approval", "stale"})
_MOST_GRACE = timedelta(days=1)


@dataclass(frozen=True)
class Alert:
    """One thing that somebody should know.

    Args:
        key: What it is about; the same thing has the same key, whenever it is found.
        kind: Its kind.
        partition: Name of the partition; '' if that is not known.
        reason: Why, for people.
        dag_id: DAG of the run to look at; '' if there is none.
        run_id: That run.
        task_id: Its task; '' for the run as a whole.
        map_index: Which of a mapped task, else -1.
        report: Address of a page on the store; '' if there is none.
    """

    key: str
    kind: AlertKind
    partition: str
    reason: str
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    report: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**document)


@dataclass(frozen=True)
class Message:
    """What one receiver is told at once: alerts of one kind.

    Args:
        receiver: Name of the receiver.
        alerts: At least one, by partition.
        is_repeated: Whether it was sent before, by one who was killed or got no good answer: it
            may have arrived.
    """

    receiver: str
    alerts: tuple[Alert, ...]
    is_repeated: bool = False

    @property
    def kind(self) -> AlertKind:
        """Kind of its alerts."""
        return self.alerts[0].kind

    @property
    def message_id(self) -> str:
        """Name that stays the same however often it is sent."""
        keys = json.dumps([self.receiver, *(alert.key for alert in self.alerts)])
        return hashlib.sha256(keys.encode()).hexdigest()[:20]


def messages(receiver: str, alerts: Iterable[Alert]) -> list[Message]:
    """Put alerts of a kind together, so that a backfill is not told in a hundred messages."""
    ordered = sorted(alerts, key=lambda alert: (alert.partition, alert.key))
    found = [tuple(item for item in ordered if item.kind == kind) for kind in ALERT_KINDS]
    return [Message(receiver, some) for some in found if some]


def old_news(alerts: Collection[Alert], scored: Collection[str]) -> list[str]:
    """Name the keys that a receiver is not told when it is new.

    It is told of the latest partition that was scored and of those after it, of which one may be a
    mistake of somebody, and of what waits for a person. Before anything was scored the latest one
    is that of an alert.

    Args:
        alerts: What is on record.
        scored: Names of the partitions that were scored.
    """
    latest = max(scored or [alert.partition for alert in alerts], default="")
    return sorted(
        alert.key
        for alert in alerts
        if alert.kind not in _OPEN and alert.partition and alert.partition < latest
    )


def overdue(
    due: Mapping[Partition, datetime], scored: Collection[str], now: datetime
) -> list[Partition]:
    """List the partitions that should have been scored by now.

    A run has as long as its partition lasts, and no more than a day.

    Args:
        due: When their runs were due, naive UTC.
        scored: Names of those that were scored.
        now: The present moment, naive UTC.
    """
    return [
        partition
        for partition, at in due.items()
        if str(partition) not in scored
        and now - at > min(partition.end - partition.start, _MOST_GRACE)
    ]


def is_nearly_full(kept: int, quarantined: int, limit: float) -> bool:
    """Tell whether more than half of the rows that may go to quarantine did.

    Args:
        kept: Rows that were kept, >= 0.
        quarantined: Rows that were moved away, >= 0.
        limit: Largest share that may be moved away, in [0, 1].
    """
    return quarantined > limit / 2 * (kept + quarantined)
