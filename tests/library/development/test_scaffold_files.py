"""What `./relevo new` writes for real data sets: it loads, checks, and runs without an edit."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.development.checking import check
from include.quality import validation
from include.quality.suites import load_suite
from include.specification import pipeline_file
from tests.library.development.data_sets import CASES, PROJECT, Generated, generate, project

ROWS = 3_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of its own."""
    with project(tmp_path_factory.mktemp("project")) as folder:
        yield folder


@pytest.fixture(scope="module", params=CASES)
def generated(request: pytest.FixtureRequest, root: Path) -> Generated:
    """The files for one data set, written into that project."""
    return generate(request.param, root)


def test_it_decides_as_a_person_would(generated: Generated) -> None:
    case = generated.case
    pipeline = pipeline_file.load(generated.name, generated.pipelines)
    assert (pipeline.task, pipeline.entity, pipeline.partition) == (
        case.task,
        case.entity,
        case.partition,
    )
    assert tuple(item.name for item in generated.proposal.left_out) == case.left_out


def test_the_pipeline_file_is_short_and_everything_checks(generated: Generated) -> None:
    lines = (
        (generated.pipelines / f"{generated.name}.yaml").read_text(encoding="utf-8").splitlines()
    )
    assert len(lines) < 40
    found = check(
        generated.name,
        pipelines=generated.pipelines,
        expectations=generated.root / "expectations",
        dags=generated.root / "dags",
    )
    assert [str(item) for item in found] == []


def test_the_suite_can_be_evaluated_and_quarantines_what_it_says(generated: Generated) -> None:
    pipeline = pipeline_file.load(generated.name, generated.pipelines)
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
    pipeline = pipeline_file.load(generated.name, generated.pipelines)
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
