"""What `./relevo new` writes for real data sets: it loads, checks, and runs without an edit."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import include.pipelines
from include.calendar.partitions import Frequency
from include.development.checking import check
from include.development.scaffold import writing
from include.development.scaffold.proposal import Place, Proposal, Wish, propose
from include.development.scaffold.sampling import read_file
from include.quality import validation
from include.quality.suites import load_suite
from include.specification import pipeline_file

PROJECT = Path(__file__).parents[3]
# Six of the nine files are shipped; the three large ones lie where only the developers have them.
FOLDERS = (PROJECT / "tests" / "data", PROJECT.parent / "shared" / "data")
ROWS = 3_000
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
    ),
    "taxi_tip": Case(
        "nyc_taxi_2018_2020.parquet",
        {"target": "tip_amount", "time": "pickup_datetime", "partition": Frequency.MONTHLY},
        "regression",
        "row_id",
        Frequency.MONTHLY,
        ("dropoff_datetime", "file_month"),
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
}


@dataclass(frozen=True)
class Generated:
    """A pipeline that was written."""

    name: str
    case: Case
    proposal: Proposal
    root: Path

    def module(self, path: str) -> Any:
        """Load a Python file of it that is no module of the project."""
        found = importlib.util.spec_from_file_location(Path(path).stem, self.root / path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of its own whose feature functions can be imported as those of this one."""
    folder = tmp_path_factory.mktemp("project")
    path = str(folder / "include" / "pipelines")
    include.pipelines.__path__.append(path)
    yield folder
    include.pipelines.__path__.remove(path)
    for name in [name for name in sys.modules if f"pipelines.{PREFIX}" in name]:
        del sys.modules[name]


@pytest.fixture(scope="module", params=CASES)
def generated(request: pytest.FixtureRequest, root: Path) -> Generated:
    """The files for one data set, written into that project."""
    case = CASES[request.param]
    # Of the taxi trips only some columns are shipped.
    folders = FOLDERS[1:] if "taxi" in case.file else FOLDERS
    found = [folder / case.file for folder in folders if (folder / case.file).is_file()]
    if not found:
        pytest.skip(f"the pipeline proposed for {case.file} is not checked: it is not shipped")
    name = f"{PREFIX}{request.param}"
    proposal = propose(
        Wish(name, **case.wish), Place(uri=writing.default_uri(name)), read_file(found[0])
    )
    writing.write(writing.render(proposal), root)
    importlib.invalidate_caches()
    return Generated(name, case, proposal, root)


def test_it_decides_as_a_person_would(generated: Generated) -> None:
    case = generated.case
    pipeline = pipeline_file.load(generated.name, generated.root / "include" / "pipelines")
    assert (pipeline.task, pipeline.entity, pipeline.partition) == (
        case.task,
        case.entity,
        case.partition,
    )
    assert tuple(item.name for item in generated.proposal.left_out) == case.left_out


def test_the_pipeline_file_is_short_and_everything_checks(generated: Generated) -> None:
    pipelines = generated.root / "include" / "pipelines"
    lines = (pipelines / f"{generated.name}.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 40
    found = check(
        generated.name,
        pipelines=pipelines,
        expectations=generated.root / "expectations",
        dags=generated.root / "dags",
    )
    assert [str(item) for item in found] == []


def test_the_suite_can_be_evaluated_and_quarantines_what_it_says(generated: Generated) -> None:
    pipeline = pipeline_file.load(generated.name, generated.root / "include" / "pipelines")
    source = pipeline.sources["records"]
    frame = generated.proposal.frame.head(ROWS)
    report = validation.validate(
        pa.Table.from_pandas(frame, preserve_index=False),
        load_suite(source.suite, generated.root / "expectations"),
        source="records",
        partition="x",
    )
    assert [str(failure) for failure in report.failures if failure.stops] == []
    assert report.quarantined_share <= source.max_quarantined
    strays = frame[generated.proposal.target.column].isin(generated.proposal.target.strays)
    assert report.quarantined == strays.sum()


def test_the_feature_function_returns_what_its_suite_expects(
    generated: Generated, spark: Any
) -> None:
    pipeline = pipeline_file.load(generated.name, generated.root / "include" / "pipelines")
    features = importlib.import_module(f"include.pipelines.{generated.name}").features
    written = generated.module(f"tests/pipelines/test_{generated.name}.py")
    returned = features(spark.createDataFrame(written.ROWS, written.SCHEMA))
    suite = load_suite(pipeline.features.suite, generated.root / "expectations")
    assert returned.columns == suite["expectations"][0]["kwargs"]["column_set"]
    rows = returned.collect()
    assert len({row[pipeline.entity] for row in rows}) == len(written.ROWS) == 3
    if pipeline.event_time is not None:
        assert returned.schema[pipeline.event_time].dataType.typeName() == "timestamp_ntz"
        assert all(row[pipeline.event_time] is not None for row in rows)


def test_the_code_is_formatted_and_clean(generated: Generated) -> None:
    files = [path.relative_to(generated.root) for path in generated.root.rglob("*.py")]
    mine = [path for path in files if path.stem.removeprefix("test_") == generated.name]
    assert len(mine) == 3
    ruff = str(Path(sys.executable).parent / "ruff")
    for path in mine:
        code = (generated.root / path).read_text(encoding="utf-8")
        # Whose module it is, and so the order of imports, ruff sees by the files of the project.
        for command in (("check", "--ignore=I001"), ("format", "--diff")):
            done = subprocess.run(
                [ruff, *command, "--no-cache", "--stdin-filename", str(PROJECT / path), "-"],
                input=code,
                cwd=PROJECT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
