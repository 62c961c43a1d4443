"""Rodent species: years as they land, animals without a name, and an unknown species."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from include.calendar.partitions import Frequency, parse
from include.development.checking import check
from include.features import labels
from include.pipelines.rodent_species import features
from include.quality.suites import load_suite
from include.specification.pipeline_file import load
from include.storage.settings import StoreSettings
from tests.pipelines.records import land_records, read_records, validate_records

NAME = "rodent_species"


def test_the_files_fit_together() -> None:
    assert check(NAME) == ()


def test_every_capture_lands_in_its_year(store_settings: StoreSettings) -> None:
    landed = land_records(store_settings, NAME)
    assert list(landed.rows) == [str(year) for year in range(1977, 2003)]
    assert sum(landed.rows.values()) == 35_549


@pytest.mark.parametrize(("year", "unnamed"), [("1979", 61), ("1995", 42), ("1997", 1)])
def test_an_animal_that_was_not_named_has_no_label(
    store_settings: StoreSettings, year: str, unnamed: int
) -> None:
    rows = read_records(store_settings, NAME, year)
    assert validate_records(NAME, rows, year).quarantined == 0
    known = labels.derive(load(NAME), rows, parse(year, Frequency.YEARLY))
    assert rows.num_rows - known.num_rows == unnamed


def test_a_species_appears_in_1995(store_settings: StoreSettings) -> None:
    def caught(year: int) -> int:
        species = read_records(store_settings, NAME, str(year))["species_id"].to_pylist()
        return species.count("PB")

    assert [caught(year) for year in (1994, 1995, 1996, 1997)] == [0, 7, 39, 259]
    assert caught(2002) == 892


def test_animals_are_described_by_size_plot_and_season(spark: Any) -> None:
    schema = (
        "record_id long, month long, day long, year long, plot_id long, sex string, "
        "hindfoot_length double, weight double"
    )
    frame = spark.createDataFrame(
        [(1, 12, 31, 1995, 24, "F", 26.0, 31.0), (2, 6, 1, 1995, 3, None, None, None)], schema
    )
    returned = features(frame)
    suite = load_suite(load(NAME).features.suite)
    assert set(returned.columns) == set(suite["expectations"][0]["kwargs"]["column_set"])
    winter, unmeasured = sorted(returned.collect(), key=lambda row: row.record_id)
    assert tuple(winter)[:6] == (1, datetime(1995, 12, 31), "F", 26.0, 31.0, "24")
    assert (winter.season_sin, winter.season_cos) == pytest.approx((0.0, 1.0), abs=1e-12)
    assert (unmeasured.season_sin, unmeasured.season_cos) == pytest.approx((0.0, -1.0), abs=1e-12)
    assert (unmeasured.sex, unmeasured.hindfoot_length, unmeasured.weight) == (None, None, None)
