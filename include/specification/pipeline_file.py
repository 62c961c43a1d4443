"""Read the pipeline file.

A wrong file is one :class:`~include.errors.SpecificationError` that lists every problem with its
line, the rule, the value and the nearest valid spelling.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from include.errors import SpecificationError
from include.specification import consistency, error_messages, located_yaml
from include.specification.located_yaml import Document, Problem
from include.specification.pipeline import Pipeline
from include.wording import nearest

PIPELINES = Path(__file__).parents[1] / "pipelines"


@dataclass(frozen=True)
class Finding:
    """One thing to correct or to know, and where.

    Args:
        file: Name of the file.
        line: Line in it, from 1.
        message: Key, rule, value found, what to do.
        level: An error keeps the pipeline from running; a warning does not.
    """

    file: str
    line: int
    message: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Render as ``<file>:<line>: <message>``."""
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True)
class PipelineFile:
    """A file that was read, right or wrong.

    Args:
        document: Its content, with lines.
        pipeline: The pipeline; None if a section is wrong.
        findings: Every problem, by line.
    """

    document: Document
    pipeline: Pipeline | None
    findings: tuple[Finding, ...]


def names(folder: Path = PIPELINES) -> tuple[str, ...]:
    """List the pipelines of a folder, sorted; editors' own files (``.#x.yaml``) are none."""
    found = (path.stem for path in folder.glob("*.yaml"))
    return tuple(sorted(name for name in found if not name.startswith(".")))


def load(name: str, folder: Path = PIPELINES) -> Pipeline:
    """Read and validate ``<name>.yaml``.

    Raises:
        SpecificationError: If the file is missing, is no YAML, or breaks a rule.
    """
    file = read(name, folder)
    if file.pipeline is None or file.findings:
        raise SpecificationError("\n".join(str(finding) for finding in file.findings))
    return file.pipeline


def read(name: str, folder: Path = PIPELINES) -> PipelineFile:
    """Read ``<name>.yaml`` and list all that is wrong with it.

    Raises:
        SpecificationError: If there is no such file.
    """
    path = folder / f"{name}.yaml"
    if path not in folder.glob("*.yaml"):
        raise SpecificationError(
            f"pipeline {name}: its file must be {path.name} in {folder}, got none"
            f"{nearest(name, names(folder))}"
        )
    if not path.is_file():
        return _unreadable(path, "a folder, or a link to none")
    try:
        document = located_yaml.read(path)
    except OSError as error:
        return _unreadable(path, str(error.strerror))
    pipeline, problems = _validate(name, document)
    findings = [
        Finding(
            path.name,
            document.line(problem.location) if problem.line is None else problem.line,
            str(problem),
        )
        for problem in problems
    ]
    return PipelineFile(document, pipeline, tuple(sorted(findings, key=lambda item: item.line)))


def _unreadable(path: Path, found: str) -> PipelineFile:
    rule = f"must be a file that can be read, got {found}. Remove or replace it."
    return PipelineFile(Document(None, {}), None, (Finding(path.name, 1, rule),))


def _validate(name: str, document: Document) -> tuple[Pipeline | None, list[Problem]]:
    found, content = list(document.problems), document.content
    if not isinstance(content, dict):
        if not found:
            got = "an empty file" if content is None else error_messages.shown(content)
            found.append(
                Problem((), f"must be a section of keys such as `task: binary`, got {got}.")
            )
        return None, found
    if "name" in content:
        found.append(
            Problem(
                ("name",),
                f"the file's name is the pipeline's, got {error_messages.shown(content['name'])}. "
                "Remove the key, or rename the file.",
            )
        )
    try:
        pipeline = Pipeline.model_validate({**content, "name": name})
    except ValidationError as error:
        return None, [*found, *error_messages.problems(error, document)]
    return pipeline, [*found, *consistency.problems(pipeline)]
