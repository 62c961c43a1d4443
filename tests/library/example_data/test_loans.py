"""The shipped loans, and how they land on a real store."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.calendar.partitions import Frequency, containing, parse
from include.example_data import landing
from include.example_data.landing import LOAN_COLUMNS, LOANS, OUTCOME_COLUMNS, land_loans
from include.ingestion.landed_batch import read_landed
from include.quality import quarantine, suites, validation
from include.specification.pipeline_file import load
from include.storage.object_store import ObjectStore

ROOT = "s3://landing/example_data_of_this_module"  # other modules may land in the real place


def quarter(name):
    return parse(name, Frequency.QUARTERLY)


@pytest.fixture(scope="module")
def landed(store_settings):
    """A store with everything up to 2002-Q2, and the report of landing it."""
    store = ObjectStore(store_settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landing, "ROOT", ROOT)
        yield store, land_loans(store, until=quarter("2002-Q2"))


def test_the_file_is_complete_compact_and_plain():
    schema = pq.read_schema(LOANS)
    assert pq.read_metadata(LOANS).num_rows == 504_757
    assert LOANS.stat().st_size < 8_000_000
    assert set(schema.names) == {*LOAN_COLUMNS, *OUTCOME_COLUMNS}
    assert set(schema.types) == {pa.string(), pa.int64(), pa.float64(), pa.timestamp("us")}


def test_loans_and_outcomes_land_by_quarter(landed):
    store, report = landed
    names = [item.uri.removeprefix(f"{ROOT}/") for item in store.list(ROOT)]
    quarters = [f"{year}-Q{i}" for year in (2000, 2001, 2002) for i in (1, 2, 3, 4)][:10]
    assert names == [
        *(f"loans/{name}/loans.parquet" for name in quarters),
        *(f"outcomes/{name}/outcomes.parquet" for name in quarters[4:]),
    ]
    assert report.written == tuple(f"{ROOT}/{name}" for name in names)
    assert report.skipped == ()
    assert report.loans == 96_431
    assert report.outcomes == 4 + 6 + 31 + 31 + 9_364 + 9_904


def test_nothing_lands_before_it_is_known(landed):
    store, _ = landed
    for item in store.list(ROOT):
        _, source, name, _ = item.uri.removeprefix("s3://landing/").split("/")
        table = pq.read_table(io.BytesIO(store.read(item.uri)))
        columns, time = {
            "loans": (LOAN_COLUMNS, "ApprovalDate"),
            "outcomes": (OUTCOME_COLUMNS, "label_time_24"),
        }[source]
        assert tuple(table.column_names) == columns
        moments = table[time].to_pylist()
        assert {str(containing(moment, Frequency.QUARTERLY)) for moment in moments} == {name}


def test_landing_again_changes_nothing_and_repairs_what_differs(landed):
    store, first = landed
    before = store.list(ROOT)
    again = land_loans(store, until=quarter("2002-Q2"))
    assert again.written == ()
    assert again.skipped == first.written
    assert store.list(ROOT) == before

    store.write(before[0].uri, b"cut off")
    assert land_loans(store, until=quarter("2002-Q2")).written == (before[0].uri,)
    assert store.read(before[0].uri)[:4] == b"PAR1"
    later = land_loans(store, until=quarter("2002-Q3"))
    assert [uri.split("/")[-2] for uri in later.written] == ["2002-Q3", "2002-Q3"]


@pytest.mark.parametrize("name", ["2005-Q2", "2007-Q3"])
def test_the_real_loans_pass_their_suite_but_for_a_handful(name):
    rows = pq.read_table(
        LOANS,
        columns=list(LOAN_COLUMNS),
        filters=[
            ("ApprovalDate", ">=", quarter(name).start),
            ("ApprovalDate", "<", quarter(name).end),
        ],
    )
    suite = suites.load_suite("loan_default_loans")
    report = validation.validate(rows, suite, source="loans", partition=name)
    quarantine.enforce(report, on_failure="quarantine", max_quarantined=0.05)
    assert report.quarantined == {"2005-Q2": 4, "2007-Q3": 0}[name]
    assert report.stopping == ()


def test_what_lands_is_what_the_pipeline_reads(landed):
    store, _ = landed
    sources = load("loan_default").sources
    for source, rows in (("loans", 11_755), ("outcomes", 9_904)):
        assert sources[source].uri == f"s3://landing/loan_default/{source}/{{partition}}/"
        here = sources[source].model_copy(update={"uri": f"{ROOT}/{source}/{{partition}}/"})
        batch = read_landed(store.settings, source, here, quarter("2002-Q2"))
        assert batch.table.num_rows == rows
        suite = suites.load_suite(sources[source].suite)
        report = validation.validate(batch.table, suite, source=source, partition="2002-Q2")
        assert (report.quarantined, report.stopping) == (0, ())
