"""Columns of every name that a file may hold, from `./relevo new` to a scored batch."""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from include.development.checking import check
from include.development.local_run import run
from include.development.scaffold import writing
from include.development.scaffold.proposal import Place, Wish, propose
from include.development.scaffold.sampling import read_file
from include.ingestion.landing import land
from include.quality.suites import load_suite
from include.specification import pipeline_file
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings
from tests.library.development import data_sets

NAME = "odd_names"
ENTITY = "the\nid"
TARGET = 'the.target" of `it`'
SCRIPT = "</script><script>alert(1)</script>"
NAMES = [
    "petal.width",
    ".",
    "*",
    "``",
    "'one' \"two\"",
    'a"""b',
    "a/b",
    "a\\nb",
    " around ",
    "[]{}():,;=",
    "${dollar} $column",
    "{{ jinja }} {% raw %}",
    "%s 100%",
    "tab\tnew\nline",
    "#hash",
    "?",
    "-",
    "1",
    "class",
    "select",
    "null",
    "index",
    "stra\u00dfe",
    "\u65e5\u672c\u8a9e \U0001f600",
    "nbsp\u00a0x right\u202eleft \x7f",
    "line\u2028separator",
    "\ufeffbom",
    "long <body>&amp; " * 20,
    SCRIPT,
    "label",
    "known_at",
    "held_out",
    "source_partition",
    "score",
    "prediction",
    "model_version",
    "entity",
]
TEXTS = frozenset(NAMES[3::4])


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a column of each name; every second one says something of the target."""
    generator = np.random.default_rng(7)
    target = np.arange(300) % 2
    columns: dict[str, Any] = {ENTITY: [f"key {row}" for row in range(300)]}
    for name in NAMES:
        numbers = (target + generator.normal(size=300)).round(3)
        columns[name] = np.where(numbers > 0.5, "high", "<i>low</i>") if name in TEXTS else numbers
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(pa.table({**columns, TARGET: target}), path)
    return path


@pytest.fixture(scope="module")
def project(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files that are proposed for it, where a pipeline finds its own."""
    with data_sets.project(tmp_path_factory.mktemp("project")) as root:
        wish = Wish(NAME, target=TARGET, entity=ENTITY)
        proposal = propose(wish, Place(uri=writing.default_uri(NAME)), read_file(rows))
        writing.write(writing.render(proposal), root)
        yield root


def test_the_files_hold_the_names_as_they_are(project: Path) -> None:
    folder = project / "include" / "pipelines"
    assert [
        str(finding)
        for finding in check(
            NAME, pipelines=folder, expectations=project / "expectations", dags=project / "dags"
        )
    ] == []
    document = yaml.safe_load((folder / f"{NAME}.yaml").read_text(encoding="utf-8"))
    assert document["entity"] == ENTITY
    assert document["sources"]["records"]["labels"]["column"] == TARGET
    suite = load_suite(f"{NAME}_features", project / "expectations")
    assert suite["expectations"][0]["kwargs"]["column_set"] == [ENTITY, *NAMES]
    for path in project.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"))


def test_the_generated_test_goes_through_the_feature_function(project: Path, spark: Any) -> None:
    code = (project / "tests" / "pipelines" / f"test_{NAME}.py").read_text(encoding="utf-8")
    module: dict[str, Any] = {}
    exec(code, module)
    module["load"] = functools.partial(pipeline_file.load, folder=project / "include" / "pipelines")
    module["load_suite"] = functools.partial(load_suite, folder=project / "expectations")
    module["test_every_row_comes_out_once_with_the_columns_of_the_suite"](spark)


def test_they_are_landed_learned_from_and_scored(
    rows: Path, project: Path, spark: Any, services: Settings, imported: None
) -> None:
    importlib.invalidate_caches()
    store = ObjectStore(services.store)
    pipeline = pipeline_file.load(NAME, project / "include" / "pipelines")
    # One fit: how well it learns is not the question.
    candidate = pipeline.training.candidates["logistic_regression"].model_copy(update={"trials": 0})
    candidates = {"logistic_regression": candidate}
    training = pipeline.training.model_copy(update={"candidates": candidates})
    pipeline = pipeline.model_copy(update={"training": training})
    land(store, pipeline, rows)
    result = run(spark, services, pipeline, lambda step, outcome, seconds: None)
    assert result.scored == "snapshot-0001"
    lake = Lake(services.store, result.pipeline)
    assert lake.row_counts("predictions") == {"snapshot-0001": 300}
    features = lake.read("features")
    assert features.drop_columns(["partition"]).column_names == [ENTITY, *NAMES]
    held = pq.read_table(rows)
    for name in set(NAMES) - TEXTS:
        order = features.sort_by([(ENTITY, "ascending")])[name].to_pylist()
        assert order == held.sort_by([(ENTITY, "ascending")])[name].to_pylist(), name
    learned = lake.read("training_sets")
    assert set(learned.column_names) >= {*NAMES, "_label", "_held_out"}
    for uri in result.pages:
        assert SCRIPT not in store.read(uri).decode(), uri
