"""The calendar of partitions: names, edges, and which run is about which one; all by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from include.calendar.partitions import (
    Frequency,
    Partition,
    containing,
    latest_closed,
    of_run,
    parse,
    snapshot,
    span,
)
from include.errors import PartitionError

HOURLY, DAILY, WEEKLY = Frequency.HOURLY, Frequency.DAILY, Frequency.WEEKLY
MONTHLY, QUARTERLY, YEARLY = Frequency.MONTHLY, Frequency.QUARTERLY, Frequency.YEARLY
NONE = Frequency.NONE

EDGES = [
    (HOURLY, "2005-07-14T06", datetime(2005, 7, 14, 6), datetime(2005, 7, 14, 7)),
    (HOURLY, "2004-12-31T23", datetime(2004, 12, 31, 23), datetime(2005, 1, 1)),
    (DAILY, "2004-02-29", datetime(2004, 2, 29), datetime(2004, 3, 1)),
    (DAILY, "2005-12-31", datetime(2005, 12, 31), datetime(2006, 1, 1)),
    (WEEKLY, "2005-W27", datetime(2005, 7, 4), datetime(2005, 7, 11)),
    (WEEKLY, "2004-W53", datetime(2004, 12, 27), datetime(2005, 1, 3)),
    (WEEKLY, "2009-W01", datetime(2008, 12, 29), datetime(2009, 1, 5)),
    (MONTHLY, "2004-02", datetime(2004, 2, 1), datetime(2004, 3, 1)),
    (MONTHLY, "2005-12", datetime(2005, 12, 1), datetime(2006, 1, 1)),
    (QUARTERLY, "2005-Q1", datetime(2005, 1, 1), datetime(2005, 4, 1)),
    (QUARTERLY, "2005-Q2", datetime(2005, 4, 1), datetime(2005, 7, 1)),
    (QUARTERLY, "2005-Q3", datetime(2005, 7, 1), datetime(2005, 10, 1)),
    (QUARTERLY, "2005-Q4", datetime(2005, 10, 1), datetime(2006, 1, 1)),
    (YEARLY, "2005", datetime(2005, 1, 1), datetime(2006, 1, 1)),
]


@pytest.mark.parametrize(("frequency", "name", "start", "end"), EDGES)
def test_a_name_is_a_closed_slice_and_prints_as_itself(
    frequency: Frequency, name: str, start: datetime, end: datetime
) -> None:
    partition = parse(name, frequency)
    assert partition == Partition(start, frequency)
    assert partition.end == end
    assert str(partition) == name


@pytest.mark.parametrize(("frequency", "name", "start", "end"), EDGES)
def test_its_first_and_last_moment_are_in_it_and_its_end_is_not(
    frequency: Frequency, name: str, start: datetime, end: datetime
) -> None:
    last = end - timedelta(microseconds=1)
    assert str(containing(start, frequency)) == name
    assert str(containing(last, frequency)) == name
    assert containing(end, frequency) == parse(name, frequency).shift(1)
    assert latest_closed(last, frequency) == parse(name, frequency).shift(-1)
    assert str(latest_closed(end, frequency)) == name


@pytest.mark.parametrize(
    ("frequency", "name", "steps", "shifted"),
    [
        (HOURLY, "2004-12-31T23", 1, "2005-01-01T00"),
        (HOURLY, "2004-03-01T00", -1, "2004-02-29T23"),
        (DAILY, "2005-01-01", -1, "2004-12-31"),
        (DAILY, "2004-02-28", 2, "2004-03-01"),
        (WEEKLY, "2004-W53", 1, "2005-W01"),
        (WEEKLY, "2005-W01", -1, "2004-W53"),
        (WEEKLY, "2005-W52", 1, "2006-W01"),
        (MONTHLY, "2005-11", 3, "2006-02"),
        (MONTHLY, "2005-01", -13, "2003-12"),
        (QUARTERLY, "2005-Q4", 1, "2006-Q1"),
        (QUARTERLY, "2005-Q1", -1, "2004-Q4"),
        (QUARTERLY, "2005-Q2", -6, "2003-Q4"),
        (QUARTERLY, "2005-Q2", 0, "2005-Q2"),
        (YEARLY, "2005", -10, "1995"),
        (NONE, "snapshot-0009", 1, "snapshot-0010"),
        (NONE, "snapshot-0010", -9, "snapshot-0001"),
    ],
)
def test_shift(frequency: Frequency, name: str, steps: int, shifted: str) -> None:
    assert str(parse(name, frequency).shift(steps)) == shifted
    assert str(parse(shifted, frequency).shift(-steps)) == name


@pytest.mark.parametrize(
    ("frequency", "name"),
    [
        (HOURLY, "2005-07-14T24"),
        (HOURLY, "2005-07-14 06"),
        (HOURLY, "2005-07-14"),
        (DAILY, "2005-02-29"),
        (DAILY, "2005-7-14"),
        (DAILY, "2005-07-14T06"),
        (WEEKLY, "2005-W53"),
        (WEEKLY, "2005-W00"),
        (WEEKLY, "2005-27"),
        (MONTHLY, "2005-13"),
        (MONTHLY, "2005-00"),
        (MONTHLY, "2005-Q3"),
        (QUARTERLY, "2005-Q5"),
        (QUARTERLY, "2005-Q0"),
        (QUARTERLY, "2005-q3"),
        (QUARTERLY, "2005-Q3 "),
        (QUARTERLY, "2005-Q3\n"),
        (QUARTERLY, "../2005-Q3"),
        (QUARTERLY, ""),
        (YEARLY, "0000"),
        (YEARLY, "20055"),
        (MONTHLY, " 2005-01"),
        (MONTHLY, "2005-1"),
        (MONTHLY, "2005-01 copy"),
        (MONTHLY, "２００５-01"),
        (YEARLY, "٢٠٠٥"),
        (NONE, "snapshot-1"),
        (NONE, "snapshot-00001"),
        (NONE, "2005"),
    ],
)
def test_a_name_of_another_form_is_refused(frequency: Frequency, name: str) -> None:
    with pytest.raises(PartitionError, match="Name a partition of that form"):
        parse(name, frequency)


@pytest.mark.parametrize(
    ("frequency", "example"),
    [
        (HOURLY, "2005-07-14T06"),
        (DAILY, "2005-07-14"),
        (WEEKLY, "2005-W27"),
        (MONTHLY, "2005-07"),
        (QUARTERLY, "2005-Q3"),
        (YEARLY, "2005"),
    ],
)
def test_the_message_shows_the_name_and_a_good_one(frequency: Frequency, example: str) -> None:
    with pytest.raises(PartitionError) as caught:
        parse("summer", frequency)
    assert str(caught.value) == (
        f"partition 'summer': a {frequency.value} partition reads like '{example}', "
        "got 'summer'. Name a partition of that form."
    )
    assert str(parse(example, frequency)) == example


def test_a_snapshot_is_a_day_of_an_axis_of_its_own() -> None:
    third = parse("snapshot-0003", NONE)
    assert third == snapshot(3) == Partition(datetime(1970, 1, 4), NONE)
    assert third.end == datetime(1970, 1, 5)
    assert [str(snapshot(number)) for number in (1, 3, 9999)] == [
        "snapshot-0001",
        "snapshot-0003",
        "snapshot-9999",
    ]


@pytest.mark.parametrize("number", [0, 10_000, -1])
def test_snapshots_have_numbers_from_1_to_9999(number: int) -> None:
    with pytest.raises(PartitionError, match=f"got {number}. Start a new pipeline"):
        snapshot(number)


def test_no_moment_falls_into_a_snapshot() -> None:
    with pytest.raises(PartitionError, match="`partition: none` has snapshots, got a time"):
        containing(datetime(1970, 1, 4), NONE)
    with pytest.raises(PartitionError, match="between 1 and 9999, got 0"):
        parse("snapshot-0000", NONE)


def test_a_bad_snapshot_is_shown_a_good_one() -> None:
    with pytest.raises(PartitionError) as caught:
        parse("summer", NONE)
    assert str(caught.value) == (
        "partition 'summer': a snapshot reads like 'snapshot-0001', got 'summer'. "
        "Name a partition of that form."
    )
    assert str(parse("snapshot-0001", NONE)) == "snapshot-0001"


def test_aware_moments_are_taken_to_utc_first() -> None:
    east = timezone(timedelta(hours=5))
    assert str(containing(datetime(2005, 1, 1, 4, tzinfo=east), DAILY)) == "2004-12-31"
    assert str(containing(datetime(2005, 1, 1, 5, tzinfo=east), DAILY)) == "2005-01-01"
    assert str(containing(datetime(2005, 1, 1, tzinfo=UTC), YEARLY)) == "2005"


def test_partitions_order_by_time() -> None:
    names = ["2005-Q2", "2004-Q4", "2005-Q1"]
    assert [str(item) for item in sorted(parse(name, QUARTERLY) for name in names)] == [
        "2004-Q4",
        "2005-Q1",
        "2005-Q2",
    ]


def test_span_includes_both_ends() -> None:
    first, last = parse("2004-W52", WEEKLY), parse("2005-W02", WEEKLY)
    assert [str(item) for item in span(first, last)] == [
        "2004-W52",
        "2004-W53",
        "2005-W01",
        "2005-W02",
    ]
    assert list(span(first, first)) == [first]
    assert list(span(last, first)) == []


class TestOfRun:
    """Which partition a run is about, as Airflow describes runs."""

    def test_a_scheduled_or_backfill_run_takes_the_latest_closed(self) -> None:
        due = datetime(2005, 4, 5, 6, tzinfo=UTC)
        assert str(of_run(QUARTERLY, logical_date=due)) == "2005-Q1"

    def test_at_the_very_moment_of_closing_it_is_closed(self) -> None:
        closing = datetime(2005, 4, 1, tzinfo=UTC)
        assert str(of_run(QUARTERLY, logical_date=closing)) == "2005-Q1"
        before = closing - timedelta(microseconds=1)
        assert str(of_run(QUARTERLY, logical_date=before)) == "2004-Q4"

    def test_an_asset_triggered_run_takes_its_key(self) -> None:
        assert str(of_run(QUARTERLY, partition_key="2005-Q2", logical_date=None)) == "2005-Q2"

    def test_a_person_who_asks_wins(self) -> None:
        partition = of_run(
            QUARTERLY,
            requested="2003-Q1",
            partition_key="2005-Q2",
            logical_date=datetime(2005, 4, 5, tzinfo=UTC),
        )
        assert str(partition) == "2003-Q1"

    def test_an_empty_parameter_is_no_wish(self) -> None:
        assert str(of_run(MONTHLY, requested="", partition_key="2005-02")) == "2005-02"

    def test_a_run_without_any_is_refused_with_what_to_pass(self) -> None:
        with pytest.raises(PartitionError) as caught:
            of_run(WEEKLY)
        assert str(caught.value) == (
            "run without a partition: it must have a logical date, a partition key or a parameter, "
            "got none. Trigger it with {'partition': '2005-W27'}."
        )

    def test_what_was_named_must_have_closed(self) -> None:
        closes = datetime(2005, 4, 1)
        for named in ({"requested": "2005-Q1"}, {"partition_key": "2005-Q1"}):
            assert str(of_run(QUARTERLY, **named, now=closes)) == "2005-Q1"
            with pytest.raises(PartitionError) as caught:
                of_run(QUARTERLY, **named, now=closes - timedelta.resolution)
            assert str(caught.value) == (
                "partition 2005-Q1: must have closed, got one that ends at 2005-04-01 00:00:00 "
                "(UTC). Name an earlier one, or run again after that."
            )

    def test_a_wish_of_another_form_is_refused(self) -> None:
        with pytest.raises(PartitionError, match=r"reads like '2005-Q3', got '2005-03'"):
            of_run(QUARTERLY, requested="2005-03")


@pytest.mark.parametrize("frequency", [HOURLY, DAILY, WEEKLY, MONTHLY, QUARTERLY, YEARLY])
def test_partitions_have_the_years_1000_to_9998_and_their_ends_are_moments(
    frequency: Frequency,
) -> None:
    for moment in (datetime(1000, 1, 2), datetime(9998, 12, 31, 23, 59, 59, 999_999)):
        partition = containing(moment, frequency)
        assert parse(str(partition), frequency) == partition
        assert partition.start <= moment < partition.end
        assert partition.shift(1).start == partition.end
    for moment in (datetime(999, 6, 1), datetime(9999, 6, 1), datetime(1, 1, 1)):
        name = str(containing(moment, frequency))
        assert name.startswith(f"{moment.year:04d}")
        with pytest.raises(PartitionError, match="years must be 1000 to 9998, got"):
            parse(name, frequency)


def test_no_year_is_left_unpadded() -> None:
    moment = datetime(7, 3, 9, 4)
    names = [
        str(containing(moment, f)) for f in (HOURLY, DAILY, WEEKLY, MONTHLY, QUARTERLY, YEARLY)
    ]
    assert names == ["0007-03-09T04", "0007-03-09", "0007-W10", "0007-03", "0007-Q1", "0007"]


@pytest.mark.parametrize("frequency", [HOURLY, DAILY, WEEKLY, MONTHLY, QUARTERLY, YEARLY])
def test_beyond_the_years_of_python_is_an_error_that_names_the_partition(
    frequency: Frequency,
) -> None:
    last = containing(datetime.max, frequency)
    with pytest.raises(PartitionError, match=f"partition {last}: the one 1 later must lie in the"):
        _ = last.end
    with pytest.raises(PartitionError, match="Name one of the years 1000 to 9998"):
        parse(str(containing(datetime(2005, 1, 1), frequency)), frequency).shift(-(10**9))


def test_a_span_ends_with_the_last_partition_there_is() -> None:
    first = parse("9998-11", MONTHLY)
    last = containing(datetime.max, MONTHLY)
    assert [str(item) for item in span(last.shift(-1), last)] == ["9999-11", "9999-12"]
    assert list(span(first, first)) == [first]
    assert list(span(first, first.shift(-1))) == []
