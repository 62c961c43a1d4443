"""Read the pipeline file.

A wrong file is one :class:`~include.errors.SpecificationError` that lists every problem with its
line, the rule, the value and the nearest valid spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from include.consistency import problems
from include.errors import SpecificationError
from include.specification import Pipeline, nearest

PIPELINES = Path(__file__).parent / "pipelines"


def names(folder: Path = PIPELINES) -> tuple[str, ...]:
    """List the pipelines of a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def load(name: str, folder: Path = PIPELINES) -> Pipeline:
    """Read and validate ``<name>.yaml``.

    Raises:
        SpecificationError: If the file is missing, is no YAML, or breaks a rule.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise SpecificationError(
            f"pipeline {name}: its file must be {path.name} in {folder}, got none"
            f"{nearest(name, names(folder))}"
        )
    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecificationError(
            f"{path.name}:{line}: must be YAML, got {error.problem}. Correct the line."
        ) from error
    if not isinstance(document, CommentedMap):
        raise SpecificationError(f"{path.name}:1: must be a mapping, got {type(document).__name__}")
    if "name" in document:
        raise SpecificationError(
            f"{path.name}:{_line(document, ['name'])}: name: the file's name is the pipeline's, "
            f"got {str(document['name'])!r}. Remove the key, or rename the file."
        )
    try:
        pipeline = Pipeline.model_validate({**_plain(document), "name": name})
    except ValidationError as error:
        lines = [_render(path.name, document, item) for item in error.errors()]
        raise SpecificationError("\n".join(lines)) from error
    wrong = [f"{path.name}:{_line(document, item.location)}: {item}" for item in problems(pipeline)]
    if wrong:
        raise SpecificationError("\n".join(wrong))
    return pipeline


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    return node


def _render(file: str, document: CommentedMap, error: ErrorDetails) -> str:
    location = [part for part in error["loc"] if part != "[key]"]
    where = ".".join(str(part) for part in location) or "file"
    line = _line(document, location)
    value = error["input"]
    got = f", got {value!r}" if isinstance(value, str | int | float | bool) else ""
    match error["type"]:
        case "extra_forbidden":
            field = str(location[-1])
            return f"{file}:{line}: {where}: unknown key{nearest(field, _keys(location[:-1]))}"
        case "missing":
            return f"{file}:{line}: {where}: required. Add it."
        case "literal_error" | "enum":
            choices = re.findall(r"'([^']+)'", str(error.get("ctx", {}).get("expected", "")))
            return f"{file}:{line}: {where}: not a valid value{got}{nearest(str(value), choices)}"
        case "value_error":
            return f"{file}:{line}: {where}: {error['ctx']['error']}{got}"
        case _:
            return f"{file}:{line}: {where}: {error['msg'][0].lower()}{error['msg'][1:]}{got}"


def _line(document: CommentedMap, location: Sequence[str | int]) -> int:
    node: Any = document
    line = 1
    for part in location:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return int(line)


def _keys(location: Sequence[str | int]) -> list[str]:
    """List the keys that are valid at a location of the file."""
    models: list[Any] = [Pipeline]
    for part in location:
        following: list[Any] = []
        for model in models:
            field = model.model_fields.get(str(part))
            following += list(_models(field.annotation)) if field else [model]
        models = following
    return [key for model in models for key in model.model_fields if key != "name"]


def _models(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)
