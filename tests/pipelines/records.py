"""The shipped records of each pipeline, and how they land."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from include.calendar.partitions import parse
from include.ingestion.landed_batch import read_landed
from include.ingestion.landing import Landed, land
from include.quality.report import ValidationReport
from include.quality.suites import load_suite
from include.quality.validation import validate
from include.specification import pipeline_file
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

DATA = Path(__file__).parent.parent / "data"
FILES = {
    "south_german_credit": DATA / "south_german_credit_dirty.csv",
    "trip_duration": DATA / "nyc_taxi_2018_2020.parquet",
    "rodent_species": DATA / "portal_rodents_1977_2002.parquet",
    "telco_churn": DATA / "telco_churn_ibm.parquet",
}


def land_records(settings: StoreSettings, name: str) -> Landed:
    """Land the records of a pipeline where its first source looks for them; twice is once."""
    return land(ObjectStore(settings), pipeline_file.load(name), FILES[name])


def read_records(settings: StoreSettings, name: str, partition: str) -> pa.Table:
    """Land the records and read a partition of them as a scoring run does."""
    land_records(settings, name)
    pipeline = pipeline_file.load(name)
    source = pipeline.primary_source
    return read_landed(
        settings,
        source,
        pipeline.sources[source],
        parse(partition, pipeline.partition),
        row_id=pipeline.entity == "row_id",
    ).table


def validate_records(name: str, rows: pa.Table, partition: str) -> ValidationReport:
    """Run the suite of a pipeline's first source on rows."""
    pipeline = pipeline_file.load(name)
    source = pipeline.primary_source
    suite = load_suite(pipeline.sources[source].suite)
    return validate(rows, suite, source=source, partition=partition)
