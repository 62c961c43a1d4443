"""The files of a proposed pipeline."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from include.development.scaffold.expectations import features_suite, source_suite
from include.development.scaffold.feature_module import feature_module, selected
from include.development.scaffold.proposal import SOURCE, Proposal
from include.development.scaffold.rendering import description, rendered
from include.development.scaffold.specification_file import pipeline_file
from include.development.scaffold.testing import feature_test
from include.errors import SpecificationError
from include.specification.sections.sources import PLACEHOLDER

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_name(name: str) -> None:
    """Refuse names that cannot be those of a pipeline and of its module.

    Raises:
        SpecificationError: If it is one.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise SpecificationError(
            f"pipeline {name!r}: a name must be lower-case letters, digits and underscores, begin "
            "with a letter and be no word of Python. Choose another, e.g. 'telco_churn'."
        )


def render(proposal: Proposal) -> dict[Path, str]:
    """Render every file of the pipeline.

    Returns:
        Text by path relative to the project.
    """
    name = proposal.wish.name
    lines, columns = selected(proposal)
    return {
        Path(f"include/pipelines/{name}.yaml"): pipeline_file(proposal),
        Path(f"include/pipelines/{name}.py"): feature_module(proposal, lines, columns),
        Path(f"expectations/{name}_{SOURCE}.json"): source_suite(proposal),
        Path(f"expectations/{name}_features.json"): features_suite(proposal, columns),
        Path(f"dags/{name}.py"): rendered("dag.py", name=name, description=description(proposal)),
        Path(f"tests/pipelines/test_{name}.py"): feature_test(proposal),
    }


def write(files: Mapping[Path, str], root: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write files below a project; all of them or, if one exists already, none.

    Args:
        files: Text by path relative to the root.
        root: The project.
        force: Whether to overwrite.

    Returns:
        The paths written, relative to the root.

    Raises:
        SpecificationError: If a file exists and ``force`` is not set.
    """
    there = [str(path) for path in files if (root / path).exists()]
    if there and not force:
        raise SpecificationError(
            f"files: must not exist yet, got {', '.join(there)}. Choose another name, or add "
            "--force to overwrite them."
        )
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return tuple(files)


def default_uri(name: str) -> str:
    """Name the folder where a local file lands, a partition or snapshot at a time."""
    return f"s3://landing/{name}/{SOURCE}/{PLACEHOLDER}/"
