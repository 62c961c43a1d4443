"""Whether the functions that a pipeline file names can be imported and called."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from include.development.checked_file import Checked
from include.development.returned_columns import returned_columns
from include.development.suite_checks import Columns, check_columns
from include.specification.located_yaml import Location
from include.specification.pipeline_file import Finding
from include.wording import nearest, some


def check_feature_function(checked: Checked) -> Iterator[Finding]:
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


def check_returned_columns(checked: Checked, expectations: Path) -> Iterator[Finding]:
    """Compare what the feature function returns, as its text tells, with file and suite.

    Args:
        checked: The pipeline.
        expectations: Folder of the suites.
    """
    pipeline = checked.pipeline
    function = _load(checked, ("features", "function"), pipeline.features.function)
    if isinstance(function, Finding):
        return
    returned = returned_columns(function)
    if returned is None:
        return
    code = inspect.unwrap(function).__code__
    file, name = Path(code.co_filename).name, function.__name__
    missing = [key for key in pipeline.keys if key not in returned]
    for key in missing:
        yield Finding(
            file,
            code.co_firstlineno,
            f"{name}(): must return column {key!r}, got {some(returned, 10)}. Keep it in the last "
            "select.",
        )
    advice = f"Change the line, or return the column in {file}."
    yield from check_columns(
        pipeline.features.suite, expectations, Columns(returned, f"{name}() returns", advice)
    )


def check_own_metrics(checked: Checked) -> Iterator[Finding]:
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


def _load(checked: Checked, location: Location, path: str) -> Callable[..., Any] | Finding:
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
