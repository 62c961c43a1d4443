"""Check a pipeline before anything runs: its file, and everything that the file names.

Heavy libraries are imported inside the functions: reading a wrong file should answer at once.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from include.calendar import partitions
from include.errors import SpecificationError, TrainingError
from include.quality.suites import EXPECTATIONS, load_suite
from include.specification import pipeline_file
from include.specification.located_yaml import Document, Location
from include.specification.pipeline import Pipeline, SearchRange, nearest
from include.specification.pipeline_file import PIPELINES, Finding

DAGS = Path(__file__).parents[2] / "dags"
_RUNS = 40
_DECLARATION = '''\
"""{description}"""

from relevo.dags import declare

declare("{name}")'''


def check(
    name: str,
    *,
    pipelines: Path = PIPELINES,
    expectations: Path = EXPECTATIONS,
    dags: Path = DAGS,
) -> tuple[Finding, ...]:
    """List what keeps a pipeline from running and what its owner should know.

    Runs the modules that the file names, as importing them does, but none of their functions, and
    reads no data.

    Args:
        name: Name of the pipeline: ``<name>.yaml``.
        pipelines: Folder of the pipeline files.
        expectations: Folder of the suites.
        dags: Folder of the DAG files.

    Returns:
        Findings, those of the pipeline file first, by line; none if all is well.

    Raises:
        SpecificationError: If there is no such pipeline file.
    """
    file = pipeline_file.read(name, pipelines)
    if file.pipeline is None:
        return file.findings
    checked = _Checked(f"{name}.yaml", file.document, file.pipeline)
    found = [
        *file.findings,
        *_features(checked),
        *_metrics(checked),
        *_candidates(checked),
        *_suites(checked, expectations),
        *_expression(checked),
        *_schedule(checked),
        *_sources_without_time(checked),
        *_shared_landings(checked, pipelines),
        *_declaration(checked, dags),
    ]
    return tuple(sorted(found, key=lambda item: (item.file != checked.file, item.file, item.line)))


class _Checked:
    """A pipeline and where its file says what."""

    def __init__(self, file: str, document: Document, pipeline: Pipeline) -> None:
        self.file = file
        self.document = document
        self.pipeline = pipeline

    def error(self, location: Location, rule: str) -> Finding:
        """Say what is wrong at a location of the file."""
        where = ".".join(str(part) for part in location)
        return Finding(self.file, self.document.line(location), f"{where}: {rule}")

    def warning(self, location: Location, rule: str) -> Finding:
        """Say what to know about a location of the file."""
        where = f"{'.'.join(str(part) for part in location)}: " if location else ""
        return Finding(self.file, self.document.line(location), f"{where}{rule}", "warning")


def _features(checked: _Checked) -> Iterator[Finding]:
    pipeline, location = checked.pipeline, ("features", "function")
    function = _load(checked, location, pipeline.features.function)
    if isinstance(function, Finding):
        yield function
        return
    parameters = inspect.signature(function).parameters
    if any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        return
    wanted = pipeline.feature_sources
    missing = [source for source in wanted if source not in parameters]
    unknown = [
        item.name
        for item in parameters.values()
        if item.name not in wanted and item.default is item.empty
    ]
    code = inspect.unwrap(function).__code__
    file, line, subject = Path(code.co_filename).name, code.co_firstlineno, f"{function.__name__}()"
    sources = ", ".join(wanted)
    for name in unknown:
        suggestion = nearest(name, missing or wanted)
        yield Finding(
            file,
            line,
            f"{subject}: its parameters must be the sources of features of {checked.file}, "
            f"{sources}, got {name!r}{suggestion}",
        )
        missing = [source for source in missing if repr(source) not in suggestion]
    for source in missing:
        yield Finding(
            file,
            line,
            f"{subject}: its parameters must be the sources of features of {checked.file}, "
            f"{sources}, got none for {source!r}. Add the parameter.",
        )


def _metrics(checked: _Checked) -> Iterator[Finding]:
    for name, own in checked.pipeline.metrics.items():
        location = ("metrics", name, "function")
        function = _load(checked, location, own.function)
        if isinstance(function, Finding):
            yield function
            continue
        try:
            inspect.signature(function).bind(None, None)
        except TypeError as error:
            yield checked.error(
                location,
                f"must be callable with two arguments, labels and predictions, got: {error}. "
                "Correct its parameters.",
            )


def _load(checked: _Checked, location: Location, path: str) -> Callable[..., Any] | Finding:
    """Import ``module:function``; returns why it cannot be had, at the line that is at fault."""
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            file = f"{error.name.replace('.', '/')}.py"
            return checked.error(location, f"its module must exist, got no {file}. Write it.")
        return _failed_import(module_name, error)
    except (Exception, SystemExit) as error:
        return _failed_import(module_name, error)
    function = getattr(module, name, None)
    if inspect.isfunction(function):
        return function
    known = [key for key, item in vars(module).items() if inspect.isfunction(item)]
    if function is None:
        return checked.error(
            location,
            f"must be a function of {module_name}, got none of the name {name!r}"
            f"{nearest(name, known) if known else '. Write it.'}",
        )
    return checked.error(
        location, f"must be a function, got a {type(function).__name__}. Name a function."
    )


def _failed_import(module_name: str, error: BaseException) -> Finding:
    """Point at the line of the module at which importing it failed."""
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 1
    else:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [item for item in frames if _is_of(module_name, item.filename)] or list(frames)
        file, line = ours[-1].filename, ours[-1].lineno or 1
    told = error.msg if isinstance(error, SyntaxError) else f"{type(error).__name__}: {error}"
    return Finding(Path(file).name, line, f"must be importable, got {told}. Correct the line.")


def _is_of(module_name: str, filename: str) -> bool:
    return Path(filename).with_suffix("").parts[-1:] == tuple(module_name.split(".")[-1:])


def _candidates(checked: _Checked) -> Iterator[Finding]:
    for name in checked.pipeline.training.candidates:
        wrong = list(_arguments(checked, name))
        yield from wrong
        if not any(item.level == "error" for item in wrong):
            yield from _estimator(checked, name)


def _arguments(checked: _Checked, name: str) -> Iterator[Finding]:
    """Compare the arguments that the file names with those of the estimator."""
    pipeline, location = checked.pipeline, ("training", "candidates", name)
    path = pipeline.candidate(name).estimator(pipeline.task) or ""
    module_name, _, class_name = path.rpartition(".")
    given = pipeline.training.candidates[name]
    try:
        module = importlib.import_module(module_name)
        kind = getattr(module, class_name)
    except (ImportError, AttributeError):
        known = _classes(module_name)
        yield checked.error(
            (*location, "estimator"),
            f"must be importable, got {path!r}"
            + (nearest(class_name, known) if known else ". Install its package."),
        )
        return
    if not inspect.isclass(kind) or not all(hasattr(kind, name) for name in ("fit", "predict")):
        yield checked.error(
            (*location, "estimator"),
            f"must be a class with fit and predict, got the {type(kind).__name__} {path!r}. Name "
            "an estimator class.",
        )
        return
    known, takes_any = _accepted(kind)
    for section, arguments in (("parameters", given.parameters), ("search", given.search)):
        for argument in arguments:
            if argument in known:
                continue
            at = (*location, section, argument)
            rule = f"must be an argument of {class_name}, got {argument!r}{_near(argument, known)}"
            yield checked.warning(at, rule) if takes_any else checked.error(at, rule)


def _accepted(kind: type) -> tuple[list[str], bool]:
    """List the arguments of an estimator, and tell whether it takes others as well.

    XGBoost's and others take any argument, and list the usual ones as parameters only.
    """
    parameters = inspect.signature(kind).parameters
    takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    if takes_any and hasattr(kind, "get_params"):
        return list(kind().get_params()), True
    return list(parameters), takes_any


def _classes(module_name: str) -> list[str]:
    """List the classes of a module; none if it cannot be imported."""
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        return []
    return [name for name in dir(module) if inspect.isclass(getattr(module, name, None))]


def _near(name: str, known: Sequence[str]) -> str:
    """Suggest the nearest argument; a list of all would be too long to read."""
    suggestion = nearest(name, known)
    return suggestion if "did you mean" in suggestion else ". See its documentation."


def _estimator(checked: _Checked, name: str) -> Iterator[Finding]:
    """Make the candidate as a training would, with its parameters and with what it searches."""
    from include.training import candidates

    pipeline, rules = checked.pipeline, checked.pipeline.training
    candidate = pipeline.candidate(name)
    searched = {key: _first(values) for key, values in candidate.search.items()}
    told = set()
    for parameters in (candidate.parameters, {**candidate.parameters, **searched}):
        try:
            candidates.build(
                candidate,
                pipeline.task,
                parameters,
                ("numeric",),
                ("categorical",),
                imbalance=rules.imbalance,
                calibration=rules.calibration,
                seed=rules.seed,
            )
        except TrainingError as error:
            told.add(str(error))
    for message in sorted(told):
        yield checked.error(("training", "candidates", name), message)


def _first(values: Any) -> Any:
    """Take one value of a search space."""
    if isinstance(values, SearchRange):
        return values.low
    return values["low"] if isinstance(values, Mapping) else values[0]


def _suites(checked: _Checked, folder: Path) -> Iterator[Finding]:
    named: dict[str, Location] = {}
    for source, rules in checked.pipeline.sources.items():
        named.setdefault(rules.suite, ("sources", source, "suite"))
    named.setdefault(checked.pipeline.features.suite, ("features", "suite"))
    for suite, location in named.items():
        try:
            load_suite(suite, folder)
        except SpecificationError as error:
            line = getattr(error.__cause__, "lineno", None)  # of a JSON error
            if line is None:
                yield checked.error(location, str(error))
            else:
                yield Finding(f"{suite}.json", line, str(error))


def _expression(checked: _Checked) -> Iterator[Finding]:
    expression = checked.pipeline.labels.expression
    if expression is None:
        return
    import duckdb

    location = ("sources", checked.pipeline.label_source, "labels", "expression")
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        try:
            # Parsed only: the columns that it names are not known before data land.
            statements = connection.extract_statements(f"select ({expression}) as label")
        except duckdb.Error as error:
            yield checked.error(
                location,
                f"must be an SQL expression, got {expression!r}: {str(error).splitlines()[0]}. "
                "Correct it.",
            )
            return
    if len(statements) != 1:
        yield checked.error(
            location, f"must be one SQL expression, got {len(statements)} statements. Keep one."
        )


def _schedule(checked: _Checked) -> Iterator[Finding]:
    schedule, frequency = checked.pipeline.schedule, checked.pipeline.partition
    if schedule is None or not checked.pipeline.has_time:
        return
    location = ("schedule", "cron")
    runs = list(islice(run_dates(checked.pipeline), _RUNS))
    if not runs:
        yield checked.warning(
            location,
            f"never falls between {schedule.start} and {schedule.end}, got {schedule.cron!r}. "
            "Correct it, or the days.",
        )
    for earlier, later in pairwise(runs):
        before = partitions.latest_closed(earlier, frequency)
        left_out = before.shift(1)
        if partitions.latest_closed(later, frequency) > left_out:
            yield checked.warning(
                location,
                f"runs more rarely than {frequency}, got {schedule.cron!r}: {left_out} is left "
                f"out between the runs of {earlier:%Y-%m-%d} and {later:%Y-%m-%d}. Run at least "
                "once a partition, or choose longer ones.",
            )
            return


def run_dates(pipeline: Pipeline, after: datetime | None = None) -> Iterator[datetime]:
    """Walk over the dates on which scoring is due, naive UTC; none without a schedule.

    Args:
        pipeline: The pipeline file.
        after: First moment that counts, naive UTC; the schedule's start if that is later or None.
    """
    from croniter import croniter_range

    schedule = pipeline.schedule
    if schedule is None:
        return
    first = datetime.combine(schedule.start, datetime.min.time())
    # An expression that comes true once in some years must not search forever.
    last = first + timedelta(days=366 * 100)
    if schedule.end is not None:
        last = datetime.combine(schedule.end, datetime.min.time()) + timedelta(days=1)
    first = max(first, after or first)
    if first <= last:  # else croniter walks backwards
        yield from croniter_range(first, last, schedule.cron)


def _sources_without_time(checked: _Checked) -> Iterator[Finding]:
    pipeline = checked.pipeline
    if not pipeline.has_time:
        return
    for name in pipeline.feature_sources:
        source = pipeline.sources[name]
        if source.is_partitioned or source.time or (source.query and ":end" in source.query):
            continue
        yield checked.warning(
            ("sources", name),
            "has no time, so that a backfill of a past partition sees today's rows. Name its time, "
            "or bring one partition at a time, if its rows change.",
        )


def _shared_landings(checked: _Checked, folder: Path) -> Iterator[Finding]:
    uris = {source.uri: name for name, source in checked.pipeline.sources.items() if source.uri}
    for other in pipeline_file.names(folder):
        if other == checked.pipeline.name:
            continue
        path = folder / f"{other}.yaml"
        for uri in _uris(path, path.stat().st_mtime_ns):
            if uri in uris:
                yield checked.warning(
                    ("sources", uris[uri], "uri"),
                    f"is read by pipeline {other} as well, got {uri!r}. What lands there must "
                    "serve both.",
                )


@functools.lru_cache(maxsize=1024)
def _uris(path: Path, modified: int) -> tuple[str, ...]:
    """List what another pipeline reads; its own mistakes are told when it is checked itself."""
    file = pipeline_file.read(path.stem, path.parent)
    if file.pipeline is None:
        return ()
    return tuple(source.uri for source in file.pipeline.sources.values() if source.uri)


def _declaration(checked: _Checked, folder: Path) -> Iterator[Finding]:
    name = checked.pipeline.name
    if any(name in _declared(path) for path in sorted(folder.glob("*.py"))):
        return
    lines = _DECLARATION.format(description=checked.pipeline.description, name=name)
    yield checked.warning(
        (),
        f"no file of {folder.name}/ declares {name}, so that Airflow does not show it. Write "
        f"{folder.name}/{name}.py:\n{lines}",
    )


def _declared(path: Path) -> set[str]:
    """Name the pipelines that a DAG file declares."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return set()  # Airflow shows it as an import error of that file
    return {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name | ast.Attribute)
        and (call.func.id if isinstance(call.func, ast.Name) else call.func.attr) == "declare"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
