"""A copy of the project with pipelines of the harness only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from datetime import date
from pathlib import Path

from include.calendar.partitions import Frequency, parse
from stack.embedded.layout import REPOSITORY

# Copied, not linked: the code finds its own project by its place.
_COPIED = ("include", "plugins", "stack")
_OWN = ("dags", "expectations", ".relevo")

FIRST_LANDED = parse("2020-01", Frequency.MONTHLY)
HISTORY = 4

_PIPELINE = """\
description: A pipeline of the fault harness.
owner: torture
task: binary
entity: loan_id
event_time: made_at
partition: monthly
schedule: {{cron: "0 6 2 * *", start: {start}{end}}}
sources:
  loans:
    uri: "s3://landing/{name}/loans/{{partition}}/"
    suite: {name}_loans
    max_quarantined: 0.2
  outcomes:
    uri: "s3://landing/{name}/outcomes/{{partition}}/"
    suite: {name}_outcomes
    max_quarantined: 0.2
    labels: {{column: bad, known_at: known_at}}
features: {{function: "include.pipelines.{name}:features", suite: {name}_features}}
training:
  window: 3
  holdout: 1
  metric: roc_auc
  candidates: {{logistic_regression: {{}}, k_nearest_neighbors: {{}}}}
  seed: 7
promotion:
  require: {{roc_auc: 0.6}}
  guard: {{calibration: 0.5}}
monitoring:
  drift: {{minimum_rows: 50}}
retraining:
  when: [drift, performance]
  persist: 1 of 1
  cooldown: 2
  budget: 3 in 8
"""
_FEATURES = '''\
"""Features of a pipeline of the fault harness."""

from pyspark.sql import DataFrame


def features(loans: DataFrame) -> DataFrame:
    """Take the columns as they are."""
    return loans.select("loan_id", "made_at", "x", "y", "colour")
'''
_DAGS = '''\
"""A pipeline of the fault harness: two Airflow DAGs."""

from relevo.dags import declare

declare("{name}")
'''


def _expectation(kind: str, **kwargs: object) -> dict[str, object]:
    return {"type": f"expect_column_values_to_{kind}", "kwargs": kwargs, "severity": "critical"}


_SUITES = {
    "loans": [
        _expectation("be_unique", column="loan_id"),
        _expectation("be_between", column="x", min_value=-50, max_value=50),
    ],
    "outcomes": [
        _expectation("be_unique", column="loan_id"),
        _expectation("be_in_set", column="bad", value_set=[0, 1]),
    ],
    "features": [
        _expectation("not_be_null", column="x"),
        _expectation("be_between", column="y", min_value=-6, max_value=6),
    ],
}


def lay_out(folder: Path) -> Path:
    """Copy the project, without its pipelines' DAGs and suites."""
    copy_code(folder, without=_OWN)
    plugin = Path("stack", "torture", "clock_plugin.py")
    shutil.copy(REPOSITORY / plugin, folder / "plugins" / "torture_clock.py")
    (folder / "dags").mkdir()
    (folder / "expectations").mkdir()
    return folder


def copy_code(folder: Path, *, without: Collection[str] = ()) -> Path:
    """Make a project with code of its own, and links to everything else but what is left out."""
    folder.mkdir(parents=True)
    for path in REPOSITORY.iterdir():
        if path.name not in (*_COPIED, *without):
            (folder / path.name).symlink_to(path)
    for name in _COPIED:
        shutil.copytree(
            REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def write_pipeline(project: Path, name: str, start: date, end: date | None) -> None:
    """Write the files of one pipeline; the DAG file last, since Airflow looks for it.

    Args:
        project: The copy.
        name: Name of the pipeline.
        start: First day of its schedule.
        end: Last day of its schedule; None without one.
    """
    pipelines = project / "include" / "pipelines"
    until = f", end: {end}" if end else ""
    text = _PIPELINE.format(name=name, start=start, end=until)
    (pipelines / f"{name}.yaml").write_text(text, encoding="utf-8")
    (pipelines / f"{name}.py").write_text(_FEATURES, encoding="utf-8")
    for dataset, expectations in _SUITES.items():
        suite = f"{name}_{dataset}"
        document = {"name": suite, "expectations": expectations}
        (project / "expectations" / f"{suite}.json").write_text(json.dumps(document))
    (project / "dags" / f"{name}.py").write_text(_DAGS.format(name=name), encoding="utf-8")


def retire_pipeline(project: Path, name: str) -> None:
    """Take the DAG file of a pipeline away, so that nobody parses it any more; the rest stays."""
    (project / "dags" / f"{name}.py").unlink(missing_ok=True)
