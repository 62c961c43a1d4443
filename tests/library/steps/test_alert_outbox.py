"""Once each, whoever is killed: what a receiver is told is on record before and after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine

from include.monitoring.alerts import Alert
from include.specification.sections.alerts import AlertKind, Receiver
from include.steps.alert_outbox import DOUBT, PATIENCE, TABLE, Attempt, Outbox
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

ORIGIN = Origin("platform_alerts", "scheduled__1", "tell")
NOW = datetime(2026, 3, 1, 12)
MINUTE = timedelta(minutes=1)
TEAM = Receiver(email=("a@b.example",), about=("drift",))


def drift(*partitions: str) -> list[Alert]:
    return [Alert(f"drift/{name}", "drift", name, "why") for name in partitions]


class Rounds:
    """Rounds of a teller; `received` is what arrived, as (keys, whether it says it is repeated)."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.received: list[tuple[list[str], bool]] = []
        self.is_down = False
        self.scored: list[str] = []

    def open(self, alerts: Sequence[Alert], receiver: Receiver) -> Outbox:
        outbox = Outbox(self.lake, ORIGIN)
        outbox.end_others({"team": receiver})
        outbox.begin("team", receiver, alerts, self.scored)
        return outbox

    def go(
        self,
        alerts: Sequence[Alert],
        after: timedelta = timedelta(),
        *,
        about: Sequence[AlertKind] = ("drift",),
        email: Sequence[str] = ("a@b.example", "c@b.example"),
        killed: str = "",
    ) -> list[tuple[int, str, bool]]:
        """Do a round at a time; returns what waits as (attempts, why, whether it is given up)."""
        with time_machine.travel(NOW + after, tick=False):
            receiver = Receiver(email=tuple(email), about=tuple(about))
            outbox = self.open(alerts, receiver)
            for attempt in outbox.due("team", receiver, alerts, NOW + after):
                if not outbox.claim(attempt):
                    continue
                if killed == "before it is sent":
                    return []
                if self.is_down:
                    outbox.settle(attempt, "not told", "503")
                    continue
                self.receive(attempt)
                if killed == "after it is sent":
                    return []
                outbox.settle(attempt, "told")
            waiting = outbox.waiting(NOW + after)
            return [(item.attempts, item.why, item.is_given_up) for item in waiting]

    def receive(self, attempt: Attempt) -> None:
        message = attempt.message
        self.received.append(([item.key for item in message.alerts], message.is_repeated))


@pytest.fixture
def rounds(lake: Lake) -> Rounds:
    return Rounds(lake)


def test_what_was_told_is_not_told_again(rounds: Rounds) -> None:
    for minutes in (0, 5, 60, 600):
        assert rounds.go(drift("2005-Q1"), minutes * MINUTE) == []
    assert rounds.received == [(["drift/2005-Q1"], False)]
    rounds.go(drift("2005-Q1", "2005-Q2"), timedelta(days=1))
    assert rounds.received[1:] == [(["drift/2005-Q2"], False)]


def test_what_happened_before_a_receiver_was_named(rounds: Rounds) -> None:
    rounds.scored = ["2005-Q1", "2005-Q2", "2005-Q3"]
    rounds.go(drift("2005-Q1", "2005-Q2", "2005-Q3"))
    rounds.go(drift("2005-Q1", "2005-Q2", "2005-Q3"), 5 * MINUTE)
    assert rounds.received == [(["drift/2005-Q3"], False)]


def test_a_kind_that_is_added_brings_no_history(rounds: Rounds) -> None:
    def alerts(*partitions: str) -> list[Alert]:
        return [Alert(f"refused/{name}", "refused", name, "why") for name in partitions]

    rounds.go(alerts("2005-Q1"))
    wider: tuple[AlertKind, ...] = ("drift", "refused")
    rounds.go(alerts("2005-Q1", "2005-Q2"), 5 * MINUTE, about=wider)
    assert rounds.received == [(["refused/2005-Q2"], False)]
    # Neither does one that was there and is left out.
    rounds.go([*alerts("2005-Q3"), *drift("2005-Q3")], 10 * MINUTE)
    assert rounds.received[1:] == [(["drift/2005-Q3"], False)]


def test_with_what_could_not_be_looked_for_it_begins_later(rounds: Rounds) -> None:
    """Else all its history would be news as soon as it is found."""
    receiver = Receiver(email=("a@b.example",), about=("drift", "deadline"))
    late = Alert("deadline/2005-Q2", "deadline", "2005-Q2", "late")
    rounds.scored = ["2005-Q1", "2005-Q2"]
    found: list[list[str]] = []
    rounds_of: tuple[tuple[list[Alert], tuple[AlertKind, ...]], ...] = (
        ([late], ("drift",)),
        ([*drift("2005-Q1", "2005-Q2"), late], ()),
    )
    for alerts, unseen in rounds_of:
        outbox = Outbox(rounds.lake, ORIGIN)
        outbox.begin("team", receiver, alerts, rounds.scored, unseen)
        due = outbox.due("team", receiver, alerts, NOW)
        found.append([alert.key for attempt in due for alert in attempt.message.alerts])
    assert found == [["deadline/2005-Q2"], ["deadline/2005-Q2", "drift/2005-Q2"]]


@pytest.mark.parametrize("moment", ["before it is sent", "after it is sent"])
def test_killed(rounds: Rounds, moment: str) -> None:
    """A retry does not tell again; when the teller must be dead, it is told and says so."""
    rounds.go(drift("2005-Q1"), killed=moment)
    before = list(rounds.received)
    for after in (timedelta(), MINUTE, DOUBT - MINUTE):
        rounds.go(drift("2005-Q1", "2005-Q2"), after)
    assert (["drift/2005-Q1"], False) not in rounds.received[len(before) :]
    assert rounds.received[len(before) :] == [(["drift/2005-Q2"], False)]
    for after in (DOUBT, 2 * DOUBT, 9 * DOUBT):
        rounds.go(drift("2005-Q1", "2005-Q2"), after)
    assert rounds.received[len(before) + 1 :] == [(["drift/2005-Q1"], True)]


def test_it_is_repeated_as_it_was_when_it_was_told_first(rounds: Rounds) -> None:
    """So it has the same name, by which a receiver knows it."""
    rounds.go([])
    rounds.go(drift("2005-Q1", "2005-Q2"), killed="after it is sent")
    rounds.go(drift("2005-Q2"), DOUBT)
    assert rounds.received == [
        (["drift/2005-Q1", "drift/2005-Q2"], False),
        (["drift/2005-Q1", "drift/2005-Q2"], True),
    ]


def test_a_receiver_that_is_down_is_tried_again_ever_more_rarely(rounds: Rounds) -> None:
    rounds.is_down = True
    attempts = [rounds.go(drift("2005-Q1"), n * 5 * MINUTE)[0][0] for n in range(40)]
    tried = [5 * n for n, (before, now) in enumerate(zip([0, *attempts], attempts, strict=False))
             if now > before]  # fmt: skip
    assert tried == [0, 5, 15, 35, 75, 135, 195]
    rounds.is_down = False
    assert rounds.go(drift("2005-Q1"), timedelta(hours=5)) == []
    # What it did not answer it may have got all the same.
    assert rounds.received == [(["drift/2005-Q1"], True)]


def test_it_is_given_up_once(rounds: Rounds) -> None:
    rounds.is_down = True
    assert rounds.go(drift("2005-Q1")) == [(1, "503", False)]
    assert rounds.go(drift("2005-Q1"), PATIENCE + MINUTE) == [(2, "503", True)]
    rounds.is_down = False
    assert rounds.go(drift("2005-Q1"), PATIENCE + timedelta(days=1)) == []
    assert rounds.received == []


def test_what_kills_its_teller_is_given_up_too(rounds: Rounds) -> None:
    for hours in range(0, 72, 8):
        rounds.go(drift("2005-Q1"), timedelta(hours=hours), killed="before it is sent")
    assert rounds.go(drift("2005-Q1"), PATIENCE + MINUTE) == [
        (9, "whoever told it was killed", True)
    ]
    assert rounds.go(drift("2005-Q1"), PATIENCE + timedelta(days=1)) == []
    assert rounds.received == []


def test_what_was_tried_once_is_tried_again_however_late(rounds: Rounds) -> None:
    rounds.go(drift("2005-Q1"), killed="before it is sent")
    rounds.go(drift("2005-Q1"), PATIENCE + timedelta(days=1))
    assert rounds.received == [(["drift/2005-Q1"], True)]


def test_of_two_who_tell_at_once_one_does(rounds: Rounds) -> None:
    alerts = drift("2005-Q1")
    one, other = (rounds.open(alerts, TEAM) for _ in range(2))
    (first,), (second,) = (item.due("team", TEAM, alerts, NOW) for item in (one, other))
    assert (one.claim(first), other.claim(second)) == (True, False)
    # Nor does one who found more meanwhile, and would tell of both in one message.
    (more,) = other.due("team", TEAM, drift("2005-Q1", "2005-Q2"), NOW)
    assert other.claim(more) is False
    one.settle(first, "told")
    assert [row["event"] for row in rounds.lake.read_held(TABLE).to_pylist()].count("telling") == 1


def test_receivers_are_told_independently(rounds: Rounds) -> None:
    alerts = drift("2005-Q1")
    rounds.go(alerts)
    outbox = Outbox(rounds.lake, ORIGIN)
    outbox.begin("others", TEAM, alerts, [])
    (attempt,) = outbox.due("others", TEAM, alerts, NOW)
    assert outbox.claim(attempt)
    assert outbox.due("team", TEAM, alerts, NOW) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"about": ["refused"]}, []),
        ({"email": ["d@b.example"]}, []),
        ({"email": ["c@b.example", "d@b.example"]}, [(["drift/2005-Q1"], True)]),
    ],
)
def test_who_gets_something_else_now_gets_nothing_of_before(
    rounds: Rounds, change: dict[str, Any], told: list[Any]
) -> None:
    """Of several addresses one that stays is told."""
    wide: dict[str, Any] = {"about": ["drift", "refused"]}
    rounds.is_down = True
    rounds.go(drift("2005-Q1"), **wide)
    rounds.is_down = False
    assert rounds.go(drift("2005-Q1"), 30 * MINUTE, **{**wide, **change}) == []
    assert rounds.received == told
    # Nor later, when it is as it was.
    rounds.go(drift("2005-Q1"), 60 * MINUTE, **wide)
    assert rounds.received == told
    assert "example" not in str(rounds.lake.read_held(TABLE).to_pylist())


def test_who_is_no_receiver_any_more_is_not_waited_for(rounds: Rounds) -> None:
    rounds.is_down = True
    rounds.go(drift("2005-Q1"))
    outbox = Outbox(rounds.lake, ORIGIN)
    outbox.end_others({"others": TEAM})
    assert outbox.waiting(NOW) == []


def test_a_round_without_news_reads_the_table_once(
    rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds.go(drift("2005-Q1"))
    reads: list[str] = []
    read = Lake.read_held

    def read_held(lake: Lake, table: str, **how: Any) -> Any:
        reads.append(table)
        return read(lake, table, **how)

    monkeypatch.setattr(Lake, "read_held", read_held)
    rounds.go(drift("2005-Q1"), 5 * MINUTE)
    assert reads == [TABLE]


def test_since_when_alerts_are_on(rounds: Rounds) -> None:
    assert Outbox(rounds.lake, ORIGIN).since is None
    rounds.go([])
    rounds.go([], timedelta(days=3))
    assert Outbox(rounds.lake, ORIGIN).since == NOW
