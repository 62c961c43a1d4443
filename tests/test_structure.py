"""One-way doors: who may import whom, and what must stay cheap to import."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from stack.commands import mutate

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
    "include.wording",
    "stack.cli",  # it sets what numeric libraries read when they are loaded
)
# What docs and the tests of teams import: it may move no more.
ADDRESSES = {
    "include.checking": ("check",),
    "include.errors": ("RelevoError", "SpecificationError"),
    "include.estimators": ("ClassFolds", "EncodedClassifier", "ScarceColumns"),
    "include.pipeline_file": ("load",),
    "include.reference": ("text",),
    "include.point_in_time": ("as_of_join",),
    "include.suites": ("load_suite",),
    "relevo.dags": ("declare",),
    "relevo.operators.monitoring": ("ScoreBatchOperator",),
    "relevo.operators.preparation": ("IngestSourceOperator",),
    "relevo.operators.training": ("TrainCandidateOperator",),
    "relevo.triggers": ("TrainingsEndedTrigger",),
}
# Found from the repository or by Airflow, and in none of the packages that the contracts hold.
AROUND = ("dags", "plugins", "relevo_plugin", "tests")
# Whole by nature, and still read in one go.
LONGEST = 400
# Arrow, Spark and DuckDB to pandas: whole numbers with a missing one become floats on the way.
LOSSY = ("to_pandas", "toPandas", "df", "fetchdf", "fetch_df", "read_sql", "read_parquet")
EXACT = "include/storage/data_frames.py"


def run(*command: str, project: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(project / "plugins"), str(project)])
    return subprocess.run(
        command,
        cwd=project,
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


def lint_imports(project: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).parent / "lint-imports")
    return run(program, "--no-cache", "--no-logo", project=project)


def test_the_contracts_of_import_linter_hold() -> None:
    done = lint_imports()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "0 broken" in done.stdout


def test_the_contracts_fail_when_an_import_runs_up(tmp_path: Path) -> None:
    for root in ("include", "plugins", "stack"):
        for path in (PROJECT / root).rglob("*.py"):
            copy = tmp_path / path.relative_to(PROJECT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for path, wrong in (
        ("include/monitoring/drift.py", "import include.steps.monitoring"),  # up three floors
        ("include/quality/suites.py", "import include.monitoring.drift"),  # beside
        ("include/evaluation/bootstrap.py", "import include.storage.lake_tables"),  # I/O
        ("include/monitoring/binning.py", "import include.specification.pipeline_file"),
        ("include/calendar/moments.py", "def f(): import pathlib"),
        ("include/wording.py", "import airflow"),
        ("include/errors.py", "import plugins.relevo.hooks, relevo_plugin, dags, tests.conftest"),
        ("plugins/relevo/hooks.py", "import stack.errors"),
        ("plugins/relevo/links.py", "import plugins.relevo.hooks"),
        ("stack/embedded/layout.py", "import stack.commands.up"),
    ):
        with (tmp_path / path).open("a", encoding="utf-8") as stream:
            stream.write(f"\n{wrong}\n")
    (tmp_path / "include" / "new_room").mkdir()
    (tmp_path / "include" / "new_room" / "__init__.py").touch()  # on no floor
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "Contracts: 0 kept, 5 broken" in done.stdout
    for line in (
        "include.monitoring is not allowed to import include.steps",
        "include.quality is not allowed to import include.monitoring",
        "include.evaluation is not allowed to import include.storage",
        "include.monitoring is not allowed to import include.specification.pipeline_file",
        "include.calendar is not allowed to import pathlib",
        *(f"include is not allowed to import {name}" for name in ("airflow", *AROUND)),
        "relevo is not allowed to import stack",
        "relevo is not allowed to import plugins",
        "stack.embedded is not allowed to import stack.commands",
        "new_room",
    ):
        assert line in done.stdout, line


@pytest.mark.parametrize("root", ["include", "relevo", "stack"])
def test_no_modules_import_each_other_in_a_circle(root: str) -> None:
    graph = grimp.build_graph(root, exclude_type_checking_imports=True)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", ADDRESSES)
def test_what_docs_and_teams_import_keeps_its_address(module: str, imported: None) -> None:
    found = importlib.import_module(module)
    assert [name for name in ADDRESSES[module] if not hasattr(found, name)] == []


def test_the_launcher_starts_with_the_standard_library_alone() -> None:
    code = "import sys; sys.path.insert(0, '.'); import stack.bootstrap, stack.compose.env_file"
    done = run(sys.executable, "-I", "-S", "-c", code)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("root", ["include", "plugins", "stack"])
def test_every_module_and_room_says_what_it_is_for(root: str) -> None:
    silent, long = [], []
    for path in sorted((PROJECT / root).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text and ast.get_docstring(ast.parse(text)) is None:
            silent.append(str(path))
        if len(text.splitlines()) > LONGEST:
            long.append(str(path))
    assert silent == [], "begin them with what they are for"
    assert long == [], f"more than {LONGEST} lines: is it still one responsibility?"


def lossy_conversions(text: str) -> list[int]:
    """List the lines that turn rows into a data frame without the one conversion."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr in LOSSY or any(item.arg == "coerce_float" for item in node.keywords))
    ]


def test_rows_become_data_frames_in_one_place() -> None:
    found = []
    for root in ("include", "plugins", "dags", "stack", "bench"):
        for path in sorted((PROJECT / root).rglob("*.py")):
            name = path.relative_to(PROJECT).as_posix()
            lines = lossy_conversions(path.read_text(encoding="utf-8"))
            if name == EXACT:
                assert len(lines) == 1
            else:
                found += [f"{name}:{line}" for line in lines]
    assert found == [], f"call to_pandas() or to_series() of {EXACT}: floats round long identifiers"


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("rows['id'].to_pandas()", [1]),
        ("x = 1\nframe.toPandas().id", [2]),
        ("connection.sql(query).df()", [1]),
        ("pd.DataFrame.from_records(rows, coerce_float=True)", [1]),
        ("to_pandas(rows)", []),
        ("pd.DataFrame(rows)", []),
    ],
)
def test_another_conversion_would_be_noticed(code: str, lines: list[int]) -> None:
    assert lossy_conversions(code) == lines


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


def folders_without_init(root: Path) -> set[Path]:
    """Name folders with modules, at any depth, that are no packages: no contract sees them."""
    holding = {folder for path in root.rglob("*.py") for folder in path.parents}
    inside = {folder for folder in holding if folder.is_relative_to(root)}
    return {folder for folder in inside if not (folder / "__init__.py").exists()}


@pytest.mark.parametrize("root", ["include", "plugins/relevo", "stack"])
def test_every_folder_with_modules_is_a_package(root: str) -> None:
    # Airflow finds the module of stack/preload by its own name, on the path.
    found = folders_without_init(PROJECT / root) - {PROJECT / "stack" / "preload"}
    assert found == set(), "add __init__.py"


def test_a_package_in_a_folder_that_is_none_is_noticed(tmp_path: Path) -> None:
    for name in ("__init__.py", "room/inner/__init__.py", "room/inner/drift.py", "texts/page.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert folders_without_init(tmp_path) == {tmp_path / "room"}


def hidden_imports(source: str) -> list[str]:
    """Name what a module imports by a call with a fixed name, which no contract sees."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if ast.unparse(call.func).rpartition(".")[2] in ("import_module", "__import__")
        and any(isinstance(word, ast.Constant | ast.JoinedStr) for word in call.args[:1])
    ]


@pytest.mark.parametrize("root", ["include", "plugins", "stack", "dags"])
def test_what_has_a_fixed_name_is_imported_by_a_statement(root: str) -> None:
    found = {
        str(path): hidden
        for path in (PROJECT / root).rglob("*.py")
        if (hidden := hidden_imports(path.read_text(encoding="utf-8")))
    }
    assert found == {}, "write an import statement, which the contracts see"


@pytest.mark.parametrize(
    ("source", "hidden"),
    [
        ("importlib.import_module('include.steps')", True),
        ("def f():\n    return import_module('airflow.sdk').Variable", True),
        ("__import__('airflow')", True),
        ("import_module(f'include.{room}')", True),
        ("importlib.import_module(module_name)", False),  # what a pipeline file names
    ],
)
def test_an_import_by_a_call_is_noticed(source: str, hidden: bool) -> None:
    assert bool(hidden_imports(source)) == hidden


def modules_that_decide() -> set[Path]:
    """Read from the contract which modules do no I/O, as paths from the project."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    (sources,) = (
        contract["source_modules"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["name"] == "Decisions never do I/O"
    )
    places = [PROJECT.joinpath(*name.split(".")) for name in sources]
    files = {path for place in places for path in (*place.rglob("*.py"), place.with_suffix(".py"))}
    return {
        path.relative_to(PROJECT) for path in files if path.exists() and path.name != "__init__.py"
    }


def test_what_decides_opens_no_file() -> None:
    opening = [
        str(path)
        for path in modules_that_decide()
        for node in ast.walk(ast.parse((PROJECT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id == "open"
    ]
    assert opening == []


def test_what_decides_is_mutated_and_has_tests_of_its_own() -> None:
    assert set(mutate.DECIDING.values()) == modules_that_decide()
    assert [
        str(path)
        for path in mutate.DECIDING.values()
        if not (PROJECT / mutate.tests_of(path)).exists()
    ] == []


@pytest.mark.parametrize("folder", ["dags", "plugins"])
def test_what_airflow_loads_by_itself_goes_through_the_doors(folder: str) -> None:
    """These modules are in no package, so that no contract looks at them."""
    wrong = {
        f"{path.name}: {name}"
        for path in (PROJECT / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported_by(node)
        if name.partition(".")[0] in {"bench", "dags", "plugins", "stack", "tests"}
    }
    assert wrong == set()


def imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_parquet_files_are_opened_in_one_way() -> None:
    # Any other way reads old times after 2262 as those of another century, without a word.
    bare = re.compile(
        r"\b(pq|parquet)\.(read_table|read_pandas|ParquetFile|ParquetDataset)\("
        r"|\b(pd|pandas)\.read_parquet\(|\bds\.dataset\("
    )
    opened = [
        str(path.relative_to(PROJECT))
        for root in ("include", "plugins", "stack")
        for path in sorted((PROJECT / root).rglob("*.py"))
        if bare.search(path.read_text(encoding="utf-8"))
    ]
    assert opened == ["include/storage/parquet.py"], "use include.storage.parquet.open_parquet"
