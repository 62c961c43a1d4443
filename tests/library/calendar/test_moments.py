"""Times as they are landed: what is read as which moment, and what is refused."""

from __future__ import annotations

import time
from datetime import date, datetime

import pyarrow as pa
import pytest

from include.calendar.moments import (
    MOMENT,
    check_years,
    outside_partitions,
    to_moments,
    without_zone,
)
from include.errors import SourceError

HALF_PAST_SIX = datetime(2005, 7, 14, 6, 30)


@pytest.mark.parametrize(
    ("landed", "moment"),
    [
        (pa.array([HALF_PAST_SIX], pa.timestamp("ns")), HALF_PAST_SIX),
        (pa.array([HALF_PAST_SIX], pa.timestamp("s", "Europe/Vienna")), HALF_PAST_SIX),
        (pa.array([date(2005, 7, 14)]), datetime(2005, 7, 14)),
        (pa.array(["2005-07-14"]), datetime(2005, 7, 14)),
        (pa.array(["2005-07-14 06:30"]), HALF_PAST_SIX),
        (pa.array(["2005-07-14T06:30:00Z"], pa.large_string()), HALF_PAST_SIX),
        (pa.array(["2005-07-14T06:30:00"]).dictionary_encode(), HALF_PAST_SIX),
        (pa.array(["2005-07-14T01:00:00.000000-05:30"]), HALF_PAST_SIX),
        (pa.array(["2005/07/14"]), datetime(2005, 7, 14)),
        (pa.array(["2005/07/14 06:30"]), HALF_PAST_SIX),
        (pa.array(["2005/07/14T01:00:00-05:30"]), HALF_PAST_SIX),
        (pa.array(["9999-12-31"]), datetime(9999, 12, 31)),
        (pa.array([1000], pa.int16()), datetime(1000, 1, 1)),
        (pa.array([9999]), datetime(9999, 1, 1)),
    ],
)
def test_every_form_of_a_time_is_read_as_utc(landed, moment):
    moments = to_moments(pa.chunked_array([landed]), "column at")
    assert moments.type == pa.timestamp("us")
    assert moments.to_pylist() == [moment]


def test_what_is_finer_than_a_microsecond_is_cut_off():
    landed = pa.array([1_000_000_999], pa.timestamp("ns"))
    moments = to_moments(pa.chunked_array([landed]), "column at")
    assert moments.to_pylist() == [datetime(1970, 1, 1, 0, 0, 1)]


def test_the_time_zone_of_the_machine_does_not_matter(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        landed = pa.chunked_array([["2005-07-14T06:30:00", "2005-07-14T06:30:00Z"]])
        assert to_moments(landed, "column at").to_pylist() == [HALF_PAST_SIX] * 2
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_zone_is_taken_off_and_the_unit_kept():
    landed = pa.chunked_array([pa.array([HALF_PAST_SIX], pa.timestamp("s", "Europe/Vienna"))])
    assert without_zone(landed).type == pa.timestamp("s")
    assert without_zone(landed).to_pylist() == [HALF_PAST_SIX]


def test_no_rows_are_no_moments():
    assert to_moments(pa.chunked_array([], pa.string()), "column at").to_pylist() == []


@pytest.mark.parametrize(
    ("landed", "words"),
    [
        ([None, "2005-07-14", None], "must hold a time in every row, got 2 of 3 rows without"),
        (["2005-07-14", "2005-02-30"], "1 of 2 rows with others, such as '2005-02-30'"),
        (["14.07.2005"], "such as '14.07.2005'. Land them in ISO 8601"),
        (["20050714"], "such as '20050714'"),
        (["07/14/2005"], "such as '07/14/2005'. Land them in ISO 8601"),
        (["2005/07-14"], "such as '2005/07-14'"),
        (["2005/7/14"], "such as '2005/7/14'"),
        (["2005/02/30"], "such as '2005/02/30'"),
        (["2005-07-14T25:00"], "such as '2005-07-14T25:00'"),
        ([2005, 20050714], "must be years from 1000 to 9999, got 20050714 in 1 of 2 rows"),
        ([10000, 999, 1000], "must be years from 1000 to 9999, got 10000 in 2 of 3 rows"),
        ([999], "got 999 in 1 of 1 rows"),
        (["2005-13-01", "summer"], "2 of 2 rows with others, such as '2005-13-01'"),
        ([1.5], "must be a timestamp, a date, an ISO 8601 string or a year, got double"),
    ],
)
def test_anything_else_is_refused(landed, words):
    with pytest.raises(SourceError, match=r"^column at: ") as caught:
        to_moments(pa.chunked_array([pa.array(landed)]), "column at")
    assert words in str(caught.value)


def test_nanoseconds_are_cut_off_downwards_before_1970_as_well() -> None:
    column = pa.chunked_array([pa.array([-1, 1_999], pa.timestamp("ns"))])
    assert to_moments(column, "column at").cast(pa.int64()).to_pylist() == [-1, 1]


class TestYears:
    MOMENTS = pa.chunked_array(
        [
            pa.array([datetime(1000, 1, 1), datetime(9998, 12, 31, 23, 59, 59, 999_999)], MOMENT),
            pa.array([datetime(9999, 1, 1), datetime(1, 1, 1)], MOMENT),
        ]
    )

    def test_before_1000_and_after_9998_lies_no_partition(self) -> None:
        assert outside_partitions(self.MOMENTS).to_pylist() == [False, False, True, True]

    def test_the_first_is_named_with_its_row(self) -> None:
        with pytest.raises(SourceError) as caught:
            check_years(self.MOMENTS, "file a: column at")
        assert str(caught.value) == (
            "file a: column at: times by which rows are put into partitions must lie in the years "
            "1000 to 9998, got 9999-01-01 00:00:00 in row 3 and 1 more. Correct them, or leave "
            "those rows out."
        )
        check_years(self.MOMENTS[:2], "file a: column at")
        check_years(pa.chunked_array([], MOMENT), "file a: column at")
