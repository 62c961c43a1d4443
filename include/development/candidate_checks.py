"""Whether the candidates of a pipeline file can be made, with their arguments."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.development.checked_file import Checked
from include.errors import TrainingError
from include.specification.pipeline_file import Finding
from include.specification.sections.training import SearchRange
from include.wording import nearest


def check_candidates(checked: Checked) -> Iterator[Finding]:
    for name in checked.pipeline.training.candidates:
        wrong = list(_arguments(checked, name))
        yield from wrong
        if not any(item.level == "error" for item in wrong):
            yield from _estimator(checked, name)


def _arguments(checked: Checked, name: str) -> Iterator[Finding]:
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


def _estimator(checked: Checked, name: str) -> Iterator[Finding]:
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
