"""Trip duration: months as they land, trips that cannot be, and what is known at the start."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from include.calendar.partitions import Frequency, parse
from include.development.checking import check
from include.features import labels
from include.pipelines.trip_duration import features
from include.quality import quarantine
from include.quality.suites import load_suite
from include.specification.pipeline_file import load
from include.storage.settings import StoreSettings
from tests.pipelines.records import land_records, read_records, validate_records

NAME = "trip_duration"


def test_the_files_fit_together() -> None:
    assert check(NAME) == ()


def test_every_trip_lands_in_the_month_in_which_it_began(store_settings: StoreSettings) -> None:
    landed = land_records(store_settings, NAME)
    assert sum(landed.rows.values()) == 359_999
    assert len(landed.rows) == 36
    assert landed.rows["2018-11"] == 9_999  # one trip was filed a month late
    assert land_records(store_settings, NAME).written == ()


@pytest.mark.parametrize(
    ("month", "quarantined", "backwards", "long", "nowhere"),
    [("2018-01", 80, 10, 14, 65), ("2020-07", 356, 18, 21, 334)],
)
def test_trips_that_cannot_be_are_moved_away_with_reasons(
    store_settings: StoreSettings,
    month: str,
    quarantined: int,
    backwards: int,
    long: int,
    nowhere: int,
) -> None:
    rows = read_records(store_settings, NAME, month)
    report = validate_records(NAME, rows, month)
    reasons = Counter(
        reason.partition("(")[0] for reasons in report.reasons.values() for reason in reasons
    )
    assert reasons == {
        "dropoff_datetime, pickup_datetime: "
        "expect_column_pair_values_a_to_be_greater_than_b": backwards,
        "dropoff_datetime: expect_column_values_to_be_null": long,
        "trip_distance: expect_column_values_to_be_between": nowhere,
    }
    assert report.quarantined == quarantined
    assert report.stopping == ()
    kept, _ = quarantine.split(rows, report)
    known = labels.derive(load(NAME), kept, parse(month, Frequency.MONTHLY))
    minutes = known["label"].to_pandas()
    assert len(minutes) == rows.num_rows - quarantined
    assert minutes.min() > 0
    assert minutes.max() <= 180


def test_a_month_without_meters_is_told(store_settings: StoreSettings) -> None:
    def told(month: str) -> list[str]:
        rows = read_records(store_settings, NAME, month)
        found = validate_records(NAME, rows, month).failures
        return [failure.column for failure in found if failure.severity == "warning"]

    assert told("2018-01") == []
    assert told("2020-07") == ["passenger_count"]


def test_only_what_is_known_at_the_start_is_used(spark: Any) -> None:
    begun = datetime(2018, 1, 7, 23, 45)  # a Sunday
    schema = (
        "row_id string, pickup_datetime timestamp_ntz, pickup_location_id short, "
        "dropoff_location_id short, trip_distance float, passenger_count byte, vendor_id byte"
    )
    # Neither the drop-off nor a fare is among the columns that the function is given.
    frame = spark.createDataFrame(
        [("a", begun, 230, 7, 1.5, 2, 1), ("b", begun, 264, 265, 0.5, None, None)], schema
    )
    returned = features(frame)
    suite = load_suite(load(NAME).features.suite)
    assert set(returned.columns) == set(suite["expectations"][0]["kwargs"]["column_set"])
    usual, unmetered = sorted(returned.collect(), key=lambda row: row.row_id)
    assert tuple(usual) == ("a", begun, 1.5, 23.75, 6, 2.0, "230", "7", "1")
    assert (unmetered.passengers, unmetered.vendor) == (None, None)
