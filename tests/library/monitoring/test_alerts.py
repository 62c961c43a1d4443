"""What people are told of, in which messages, and what a new receiver is not told."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from include.calendar.partitions import Frequency, parse
from include.monitoring.alerts import (
    Alert,
    Message,
    is_nearly_full,
    messages,
    old_news,
    overdue,
)
from include.specification.sections.alerts import AlertKind


def alert(key: str, kind: AlertKind = "drift", partition: str = "2005-Q1") -> Alert:
    return Alert(key, kind, partition, "why")


class TestMessages:
    def test_one_for_each_kind_in_the_order_of_the_partitions(self) -> None:
        told = messages(
            "team",
            [alert("b", partition="2005-Q2"), alert("c", "gate"), alert("a", partition="2005-Q1")],
        )
        assert [(item.kind, [one.key for one in item.alerts]) for item in told] == [
            ("gate", ["c"]),
            ("drift", ["a", "b"]),
        ]

    def test_without_alerts_there_is_none(self) -> None:
        assert messages("team", []) == []

    def test_the_name_of_one_says_who_is_told_what_and_nothing_else(self) -> None:
        first = Message("team", (alert("a"),))
        assert first.message_id == Message("team", (alert("a"),), is_repeated=True).message_id
        others = [Message("others", (alert("a"),)), Message("team", (alert("b"),))]
        assert first.message_id not in {item.message_id for item in others}

    def test_the_name_is_one_that_stays(self) -> None:
        """It is on record, and receivers know messages by it."""
        assert Message("team", (alert("a"),)).message_id == "46a06d34c440aa68f53e"

    def test_what_is_told_first_is_no_repetition_and_of_a_task_that_is_not_mapped(self) -> None:
        assert Message("team", (alert("a"),)).is_repeated is False
        assert alert("a").map_index == -1

    def test_an_alert_is_on_record_as_it_was(self) -> None:
        told = alert("a")
        assert Alert.from_dict(json.loads(json.dumps(told.to_dict()))) == told


class TestANewReceiver:
    def test_it_is_told_of_the_latest_partition_alone(self) -> None:
        known = [alert("old", partition="2004-Q4"), alert("new", partition="2005-Q1")]
        assert old_news(known, ["2004-Q4", "2005-Q1"]) == ["old"]
        assert old_news(known, ["2004-Q4", "2005-Q2"]) == ["new", "old"]
        assert old_news(known, []) == ["old"]

    def test_a_run_for_a_partition_by_mistake_does_not_hide_the_present(self) -> None:
        known = [alert("new", partition="2005-Q1"), alert("typo", "failure", "2050-Q1")]
        assert old_news(known, ["2004-Q4", "2005-Q1"]) == []

    @pytest.mark.parametrize("kind", ["approval", "stale"])
    def test_what_waits_for_a_person_is_no_old_news(self, kind: AlertKind) -> None:
        assert old_news([alert("a", kind, "2004-Q4")], ["2005-Q1"]) == []

    def test_nor_is_what_is_about_no_partition(self) -> None:
        assert old_news([alert("a", "failure", "")], ["2005-Q1"]) == []


class TestOverdue:
    @pytest.mark.parametrize(
        ("frequency", "name", "in_time", "too_late"),
        [
            (Frequency.QUARTERLY, "2005-Q1", datetime(2005, 4, 6, 6), datetime(2005, 4, 6, 7)),
            (Frequency.HOURLY, "2005-01-01T05", datetime(2005, 4, 5, 7), datetime(2005, 4, 5, 8)),
        ],
    )
    def test_a_run_has_as_long_as_its_partition_and_at_most_a_day(
        self, frequency: Frequency, name: str, in_time: datetime, too_late: datetime
    ) -> None:
        due = {parse(name, frequency): datetime(2005, 4, 5, 6)}
        assert overdue(due, [], in_time) == []
        assert overdue(due, [], too_late) == list(due)
        assert overdue(due, [name], too_late) == []


@pytest.mark.parametrize(
    ("kept", "quarantined", "limit", "is_full"),
    [(97, 3, 0.05, True), (975, 25, 0.05, False), (100, 0, 0.05, False), (99, 1, 0.0, True)],
)
def test_more_than_half_of_what_may_go_to_quarantine(
    kept: int, quarantined: int, limit: float, is_full: bool
) -> None:
    assert is_nearly_full(kept, quarantined, limit) is is_full
