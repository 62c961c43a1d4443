"""Who was told what: once each, whoever is killed in between.

Before a message is sent, the table ``alerts`` says that it is being told, with all that it says;
afterwards it says that it was told, or was not. Of a message that was being told when its teller
was killed nobody knows: it is told again later, and says so, because an alert that is lost is worse
than one that comes twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import pyarrow as pa

from include.monitoring.alerts import Alert, Message, messages, old_news
from include.specification.sections.alerts import ALERT_KINDS, AlertKind, Receiver
from include.storage.event_tables import Event, EventTable, attempt_key
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

TABLE = "alerts"
Outcome = Literal["told", "not told", "given up"]
BEGAN, TELLING = "began", "telling"
TOLD: Outcome = "told"
NOT_TOLD: Outcome = "not told"
GIVEN_UP: Outcome = "given up"
# Whoever tells is killed by then, if nothing is on record of how it went.
DOUBT = timedelta(minutes=15)
# A receiver that does not answer is tried again after 5, 10, 20, 40 minutes, then hourly.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=1)
PATIENCE = timedelta(days=3)
_COLUMNS = (
    ("key", pa.string()),
    ("event", pa.string()),
    ("receiver", pa.string()),
    ("message", pa.string()),
    ("details", pa.string()),
)


@dataclass(frozen=True)
class Attempt:
    """A message that is to be sent.

    Args:
        message: The message.
        addresses: Where to, each as a digest.
        before: How often it was sent before, or may have been.
    """

    message: Message
    addresses: tuple[str, ...]
    before: int = 0


@dataclass(frozen=True)
class Waiting:
    """A message that was not told so far.

    Args:
        message: The message.
        attempts: How often that was tried.
        why: What came of the last try.
        is_given_up: Whether it is not tried any more.
    """

    message: Message
    attempts: int
    why: str
    is_given_up: bool

    @property
    def keys(self) -> list[str]:
        """Name its alerts."""
        return [alert.key for alert in self.message.alerts]


class Outbox:
    """What the receivers of a pipeline were told.

    Args:
        lake: The pipeline's tables.
        origin: Who tells.
    """

    def __init__(self, lake: Lake, origin: Origin) -> None:
        self.table = EventTable(lake, TABLE, _COLUMNS)
        self.origin = origin
        self._held: list[Event] | None = None

    @property
    def _events(self) -> list[Event]:
        """What is on record, read again only after something was added."""
        if self._held is None:
            self._held = self.table.events()
        return self._held

    def _append(self, make: Callable[[list[Event]], Event | None]) -> bool:
        is_new = self.table.append(make, origin=self.origin)
        if is_new:
            self._held = None
        return is_new

    @property
    def since(self) -> datetime | None:
        """When the first receiver was known, naive UTC; None before that."""
        return self._events[0]["recorded_at"] if self._events else None

    def begin(
        self,
        name: str,
        receiver: Receiver,
        alerts: Collection[Alert],
        scored: Collection[str],
        unseen: Collection[AlertKind] = (),
    ) -> None:
        """Put on record what a receiver is not told, because it happened before it was named.

        Of the kinds that it got already nothing is recorded.

        Args:
            name: Name of the receiver.
            receiver: The receiver.
            alerts: What is on record of the pipeline.
            scored: Names of the partitions that were scored.
            unseen: Kinds that could not be looked for: with those it begins later.
        """
        about = set(receiver.about) - set(unseen)

        def make(held: list[Event]) -> Event | None:
            new = about - _kinds(held, name)
            if not new:
                return None
            known = old_news([alert for alert in alerts if alert.kind in new], scored)
            begun = sum((row["event"], row["receiver"]) == (BEGAN, name) for row in held)
            details = {"kinds": [kind for kind in ALERT_KINDS if kind in new], "known": known}
            return _event(attempt_key(f"{BEGAN}/{name}", begun), BEGAN, name, "", details)

        if about - _kinds(self._events, name):
            self._append(make)

    def end_others(self, receivers: Mapping[str, Receiver]) -> None:
        """End what was not told and is not any more for who is named.

        So is a kind that its receiver does not get now, and what was to go to other addresses only.

        Args:
            receivers: The receivers that there are, by name.
        """
        for course in list(self._open()):
            attempt = _attempt(course)
            receiver = receivers.get(attempt.message.receiver)
            if (
                receiver is None
                or attempt.message.kind not in receiver.about
                or not {*attempt.addresses} & {*_digests(receiver)}
            ):
                self.settle(attempt, GIVEN_UP, "its receiver gets no such message any more")

    def due(
        self, name: str, receiver: Receiver, alerts: Collection[Alert], now: datetime
    ) -> list[Attempt]:
        """List what a receiver is to be told now, of the kinds with which it has begun.

        Args:
            name: Name of the receiver.
            receiver: The receiver.
            alerts: What is on record of the pipeline.
            now: The present moment, naive UTC.
        """
        known = _known(self._events, name)
        kinds = {*receiver.about} & _kinds(self._events, name)
        news = [alert for alert in alerts if alert.kind in kinds and alert.key not in known]
        to = _digests(receiver)
        again = [
            replace(_attempt(course), addresses=to)
            for course in self._open()
            if course[0]["receiver"] == name
            and now >= _next_try(course)
            and not _is_over(course, now)
        ]
        return [*again, *(Attempt(message, to) for message in messages(name, news))]

    def failing(self) -> set[str]:
        """Name the receivers that were not told of something so far."""
        return {course[0]["receiver"] for course in self._open()}

    def claim(self, attempt: Attempt) -> bool:
        """Put on record that a message is being told; False if somebody else is telling it."""
        message = attempt.message
        name, receiver = message.message_id, message.receiver

        def make(held: list[Event]) -> Event | None:
            course = [row for row in held if row["message"] == name]
            if _tries(course) != attempt.before or (course and not _is_open(course)):
                return None
            if not course and _known(held, receiver) & {item.key for item in message.alerts}:
                return None
            told: dict[str, object] = {"addresses": attempt.addresses}
            if not course:
                told["alerts"] = [alert.to_dict() for alert in message.alerts]
            key = attempt_key(f"{TELLING}/{name}", attempt.before)
            return _event(key, TELLING, receiver, name, told)

        return self._append(make)

    def settle(self, attempt: Attempt, outcome: Outcome, why: str = "") -> None:
        """Put on record how it went."""
        name = attempt.message.message_id

        def make(held: list[Event]) -> Event | None:
            del held
            key = attempt_key(f"{outcome}/{name}", attempt.before)
            return _event(key, outcome, attempt.message.receiver, name, {"why": why})

        self._append(make)

    def waiting(self, now: datetime) -> list[Waiting]:
        """List what was tried and not told; what waits for three days is given up.

        Args:
            now: The present moment, naive UTC.
        """
        found = []
        for course in list(self._open()):
            is_over = _is_over(course, now)
            if course[-1]["event"] == TELLING and not (is_over and now >= _next_try(course)):
                continue
            why = str(json.loads(course[-1]["details"]).get("why", "whoever told it was killed"))
            attempt = _attempt(course)
            found.append(Waiting(attempt.message, attempt.before, why, is_over))
            if is_over:
                self.settle(attempt, GIVEN_UP, why)
        return found

    def _open(self) -> Iterator[Sequence[Event]]:
        """Walk over what became of each message that is not over."""
        found: dict[str, list[Event]] = {}
        for row in self._events:
            if row["message"]:
                found.setdefault(row["message"], []).append(row)
        yield from filter(_is_open, found.values())


def _event(
    key: str, event: str, receiver: str, message: str, details: Mapping[str, object]
) -> Event:
    return {
        "key": key,
        "event": event,
        "receiver": receiver,
        "message": message,
        "details": json.dumps(details, sort_keys=True),
    }


def _kinds(events: Sequence[Event], receiver: str) -> set[AlertKind]:
    """Name the kinds that a receiver gets already."""
    begun = [row for row in events if (row["event"], row["receiver"]) == (BEGAN, receiver)]
    return {kind for row in begun for kind in json.loads(row["details"])["kinds"]}


def _known(events: Sequence[Event], receiver: str) -> set[str]:
    """Name the keys that a receiver was told, is being told, or is not told."""
    found: set[str] = set()
    for row in events:
        if row["receiver"] == receiver and row["event"] in (BEGAN, TELLING):
            details = json.loads(row["details"])
            found.update(details.get("known", ()))
            found.update(alert["key"] for alert in details.get("alerts", ()))
    return found


def _attempt(course: Sequence[Event]) -> Attempt:
    """Take a message as it was sent first, and where it was sent last.

    It may have arrived, whatever became of it.
    """
    told = json.loads(course[0]["details"])["alerts"]
    alerts = tuple(Alert.from_dict(alert) for alert in told)
    last = [row for row in course if row["event"] == TELLING][-1]
    return Attempt(
        Message(course[0]["receiver"], alerts, is_repeated=True),
        tuple(json.loads(last["details"]).get("addresses", ())),
        _tries(course),
    )


def _digests(receiver: Receiver) -> tuple[str, ...]:
    """Name where a receiver is reached, so that no address of a person is on record."""
    digests = (hashlib.sha256(item.encode()).hexdigest() for item in receiver.addresses)
    return tuple(digest[:12] for digest in digests)


def _tries(course: Sequence[Event]) -> int:
    return sum(row["event"] == TELLING for row in course)


def _is_open(course: Sequence[Event]) -> bool:
    return not any(row["event"] in (TOLD, GIVEN_UP) for row in course)


def _is_over(course: Sequence[Event], now: datetime) -> bool:
    """Tell whether it waited long enough, however that ended; it is tried twice at least."""
    return _tries(course) > 1 and now - course[0]["recorded_at"] > PATIENCE


def _next_try(course: Sequence[Event]) -> datetime:
    last = course[-1]
    pause = DOUBT
    if last["event"] != TELLING:
        pause = min(_FIRST_PAUSE * 2.0 ** min(_tries(course) - 1, 10), _LONGEST_PAUSE)
    at: datetime = last["recorded_at"] + pause
    return at
