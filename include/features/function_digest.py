"""Which version of a feature function computed what: a digest of it, kept with each commit.

What it uses of its module counts, and comments, docstrings and what the module imports do not.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from include.specification.pipeline import Pipeline
from include.storage.lake_tables import Lake
from include.storage.lineage_records import PartitionCommits, written
from include.wording import some

# Detail of a commit of the features.
FUNCTION = "feature_function"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LATEST = 50  # commits of the table


def digest_function(function: Callable[..., Any]) -> str:
    """Digest a function with what it uses of its module; '' if its text is not known."""
    try:
        text = inspect.getsource(import_module(function.__module__))
    except (ImportError, OSError, TypeError):
        return ""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    name = getattr(function, "__qualname__", "")
    used = "\n".join(map(ast.dump, _used(tree.body, name.partition(".")[0])))
    told = f"{name}\n{used}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def computed_otherwise(
    lake: Lake,
    pipeline: Pipeline,
    function: Callable[..., Any],
    *,
    latest: int | None = _LATEST,
    among: Iterable[str] | None = None,
) -> tuple[str, ...]:
    """Name the partitions whose features another version of the function computed, sorted.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        function: The feature function of now.
        latest: How many of the latest commits to look at; all of them if None.
        among: Partitions to look at; all that are held if None.

    Returns:
        Without those of which nobody said which version it was.
    """
    digest = digest_function(function)
    if not digest:
        return ()
    commits = PartitionCommits(written(lake, pipeline.features_table, latest))
    held = set(lake.partitions(pipeline.features_table) if among is None else among)
    return tuple(
        name
        for name in commits.partitions
        if name in held and commits.at(name).details.get(FUNCTION, digest) != digest
    )


def told_of_change(lake: Lake, pipeline: Pipeline, function: Callable[..., Any]) -> str:
    """Say that another version of the feature function computed what is stored; '' if none did."""
    found = computed_otherwise(lake, pipeline, function)
    if not found:
        return ""
    plural = "" if len(found) == 1 else "s"
    return (
        f"Features of {len(found)} partition{plural} ({some(found)}) were computed by another "
        f"version of {pipeline.features.function}. If what it returns is otherwise now, undo the "
        "change, or keep the old function and name the new one under `next:`."
    )


def _used(body: Sequence[ast.stmt], name: str) -> list[ast.stmt]:
    """Leave out functions and classes that neither a function nor a plain statement names."""
    made = {node.name: node for node in body if isinstance(node, _DEFINITIONS)}
    if name not in made:
        return list(body)
    kept = [made[name], *(node for node in body if not isinstance(node, _DEFINITIONS))]
    for node in kept:  # grows meanwhile
        named = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
        kept += [made[other] for other in sorted(named & made.keys()) if made[other] not in kept]
    return [node for node in body if node in kept]


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        node.body = node.body[1:]
