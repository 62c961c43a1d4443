"""One-way doors: who may import whom, and what must stay cheap to import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
HEAVY = (
    "airflow",
    "boto3",
    "deltalake",
    "evidently",
    "great_expectations",
    "mlflow",
    "numpy",
    "optuna",
    "pandas",
    "plotly",
    "pyarrow",
    "pyspark",
    "scipy",
    "skops",
    "sklearn",
)
# What a DAG file, a trigger or the command line imports.
LIGHT = (
    "include.errors",
    "include.storage.lineage",
    "include.calendar.partitions",
    "include.storage.settings",
    "include.specification.pipeline",
    "include.storage.object_store",
    "include.quality.suites",
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT)])
    return subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def loaded_by(*modules: str) -> set[str]:
    """Import modules in a process of their own; returns the names of all packages loaded."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print('RESULT' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr[-3000:]
    return set(json.loads(done.stdout.rpartition("RESULT")[2]))


def modules_below(folder: str, root: str) -> tuple[str, ...]:
    """Name the modules of a package, without the package itself."""
    files = sorted((PROJECT / root / folder).rglob("*.py"))
    names = (path.relative_to(PROJECT / root).with_suffix("") for path in files)
    return tuple(".".join(name.parts) for name in names if name.name != "__init__")


def test_the_contracts_of_import_linter_hold() -> None:
    done = run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "0 broken" in done.stdout


def test_light_modules_import_nothing_heavy() -> None:
    assert loaded_by(*LIGHT) & set(HEAVY) == set()


def test_the_airflow_layer_imports_nothing_heavy() -> None:
    modules = modules_below("relevo", "plugins")
    assert "relevo.operators.training" in modules
    # Airflow itself brings boto3 and others in places; only the light ones of ours may come along.
    found = loaded_by(*[name for name in modules if name != "relevo.pages"])
    assert found & (set(HEAVY) - {"airflow", "boto3"}) == set()


def test_a_heavy_module_would_be_noticed() -> None:
    assert "pandas" in loaded_by("include.features.feature_function")


@pytest.mark.parametrize("root", ["include", "plugins/relevo"])
def test_every_folder_with_modules_is_a_package(root: str) -> None:
    for path in (PROJECT / root).rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), f"{path.parent}: add __init__.py"
