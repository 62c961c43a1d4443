"""Data sets that the tests of `./relevo new` begin with, and a project for what it writes."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import include.pipelines
from include.calendar.partitions import Frequency
from include.development.scaffold import writing
from include.development.scaffold.proposal import Place, Proposal, Wish, propose
from include.development.scaffold.sampling import read_file
from include.quality import suites
from include.quality.suites import load_suite

PROJECT = Path(__file__).parents[3]
# Three large files of the twelve are not shipped: they lie where only the developers have them.
FOLDERS = (PROJECT / "tests" / "data", PROJECT.parent / "shared" / "data")
PREFIX = "scaffolded_"


@dataclass(frozen=True)
class Case:
    """A data set and what a user says about it; what must come out."""

    file: str
    wish: dict[str, Any]
    task: str
    entity: str
    partition: Frequency
    left_out: tuple[str, ...] = ()
    is_whole: bool = False  # of a file of which only some columns are shipped


CASES = {
    "caravan": Case(
        "caravan_propensity.parquet", {"target": "Purchase"}, "binary", "row_id", Frequency.NONE
    ),
    "belanche": Case(
        "credit_data_belanche.parquet", {"target": "Status"}, "binary", "row_id", Frequency.NONE
    ),
    "german_credit": Case(
        "german_credit.parquet", {"target": "creditability"}, "binary", "row_id", Frequency.NONE
    ),
    "taxi_fare": Case(
        "nyc_taxi_2018_2020.parquet",
        {"target": "fare_amount", "time": "pickup_datetime"},
        "regression",
        "row_id",
        Frequency.WEEKLY,
        ("dropoff_datetime", "file_month"),
        is_whole=True,
    ),
    "taxi_tip": Case(
        "nyc_taxi_2018_2020.parquet",
        {"target": "tip_amount", "time": "pickup_datetime", "partition": Frequency.MONTHLY},
        "regression",
        "row_id",
        Frequency.MONTHLY,
        ("dropoff_datetime", "file_month"),
        is_whole=True,
    ),
    "trips": Case(
        "nyc_taxi_2018_2020.parquet",
        {
            "target": "trip_distance",
            "time": "pickup_datetime",
            "partition": Frequency.MONTHLY,
        },
        "regression",
        "row_id",
        Frequency.MONTHLY,
        ("dropoff_datetime",),
    ),
    "flights": Case(
        "nycflights13_joined.parquet",
        {"target": "arr_delay", "time": "time_hour"},
        "regression",
        "row_id",
        Frequency.DAILY,
        ("year",),
    ),
    "rodents": Case(
        "portal_rodents_1977_2002.parquet",
        {"target": "species_id", "time": "year", "entity": "record_id"},
        "multiclass",
        "record_id",
        Frequency.YEARLY,
    ),
    "loans": Case(
        "sba_loans_2000_2008.parquet",
        {
            "target": "bad24",
            "time": "ApprovalDate",
            "entity": "loan_id",
            "known_at": "label_time_24",
        },
        "binary",
        "loan_id",
        Frequency.QUARTERLY,
        ("Zip", "ApprovalFY", "bad36", "label_time_36"),
    ),
    "dirty_credit": Case(
        "south_german_credit_dirty.csv",
        {"target": "kredit", "positive": "0"},
        "binary",
        "row_id",
        Frequency.NONE,
        ("mixed_type_col",),
    ),
    "telco": Case(
        "telco_churn_ibm.parquet", {"target": "churn"}, "binary", "row_id", Frequency.NONE
    ),
    "penguins": Case(
        "palmer_penguins_raw.csv",
        {"target": "Species"},
        "multiclass",
        "row_id",
        Frequency.NONE,
        ("Region", "Stage", "Date Egg"),
    ),
    "weather": Case(
        "seattle_weather.csv",
        {"target": "temp_max", "time": "date"},
        "regression",
        "row_id",
        Frequency.QUARTERLY,
    ),
    "senators": Case(
        "canadian_senators.csv",
        {"target": "observed"},
        "binary",
        "row_id",
        Frequency.NONE,
        ("Name", "Term (yyyy.mm.dd)", "start_date", "end_date", "reason"),
    ),
}


@dataclass(frozen=True)
class Generated:
    """A pipeline that was written."""

    name: str
    case: Case
    file: Path
    proposal: Proposal
    root: Path

    @property
    def pipelines(self) -> Path:
        """The folder of its pipeline file."""
        return self.root / "include" / "pipelines"

    def module(self, path: str) -> Any:
        """Load a Python file of it that is no module of the project."""
        found = importlib.util.spec_from_file_location(Path(path).stem, self.root / path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module


@contextmanager
def project(root: Path) -> Iterator[Path]:
    """Let pipelines below a folder be found as those of this project: functions and suites."""
    folder = str(root / "include" / "pipelines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(include.pipelines, "__path__", [*include.pipelines.__path__, folder])
        expectations = root / "expectations"
        patch.setattr(suites, "load_suite", functools.partial(load_suite, folder=expectations))
        yield root
    for name in [name for name in sys.modules if name.startswith("include.pipelines.")]:
        if str(sys.modules[name].__file__).startswith(folder):
            del sys.modules[name]


def generate(key: str, root: Path) -> Generated:
    """Write the files for one of the data sets, or skip the test if it is not there."""
    case = CASES[key]
    folders = FOLDERS[1:] if case.is_whole else FOLDERS
    found = [folder / case.file for folder in folders if (folder / case.file).is_file()]
    if not found:
        pytest.skip(
            f"{case.file} is not looked at: not shipped, nor in shared/data beside the project"
        )
    name = f"{PREFIX}{key}"
    wish, place = Wish(name, **case.wish), Place(uri=writing.default_uri(name))
    proposal = propose(wish, place, read_file(found[0]))
    writing.write(writing.render(proposal), root, force=True)  # another test may have been here
    importlib.invalidate_caches()
    return Generated(name, case, found[0], proposal, root)
