"""Which columns a feature function returns, as far as its text tells: nothing is run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_KEEPS_COLUMNS = frozenset(
    (
        *("filter", "where", "distinct", "dropDuplicates", "drop_duplicates", "orderBy", "sort"),
        *("limit", "repartition", "cache", "persist", "fillna", "dropna", "replace"),
        *("union", "unionAll", "alias"),
    )
)


def returned_columns(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Read the names in the last ``select`` of a function.

    Args:
        function: A feature function.

    Returns:
        Names of the columns; None if the text does not tell all of them, e.g. because some are
        made in a loop, or everything of a source is passed on.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    outline = tree.body[0]
    if hasattr(function, "__wrapped__") or not isinstance(outline, ast.FunctionDef):
        return None  # what a decorator does with the frame is not in this text
    returns = [node for node in _own_statements(outline) if isinstance(node, ast.Return)]
    if len(returns) != 1 or returns[0].value is None:
        return None
    local = {*_stored(outline), *_parameters(outline)}
    constants = {name: value for name, value in function.__globals__.items() if name not in local}
    names = _Names(_assigned(outline), constants)
    found = names.of_frame(returns[0].value)
    return None if found is None else tuple(found)


class _Names:
    """Resolves expressions to column names; None where that needs more than the text.

    Args:
        assigned: Local variables that are assigned once, and what to.
        constants: Variables of the module.
    """

    def __init__(self, assigned: Mapping[str, ast.expr], constants: Mapping[str, Any]) -> None:
        self.assigned = assigned
        self.constants = constants

    def of_frame(self, node: ast.expr) -> list[str] | None:
        """Name the columns of a frame."""
        if isinstance(node, ast.Name) and node.id in self.assigned:
            rest = {key: value for key, value in self.assigned.items() if key != node.id}
            return _Names(rest, self.constants).of_frame(self.assigned[node.id])
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return None
        method = node.func.attr
        if method == "select":
            return _all(name for item in node.args for name in self._selected(item))
        if method in _KEEPS_COLUMNS:
            return self.of_frame(node.func.value)
        if method in ("withColumn", "drop", "withColumnRenamed"):
            before = self.of_frame(node.func.value)
            named = _all(map(_text, node.args[: 1 if method == "withColumn" else None]))
            return None if before is None or named is None else _changed(method, before, named)
        return None

    def _selected(self, node: ast.expr) -> Iterator[str | None]:
        """Name what one argument of a select adds."""
        if isinstance(node, ast.Starred):
            yield from self._selected(node.value)
        elif isinstance(node, ast.List | ast.Tuple):
            for item in node.elts:
                yield from self._selected(item)
        elif isinstance(node, ast.Name) and isinstance(
            self.assigned.get(node.id), ast.List | ast.Tuple
        ):
            yield from self._selected(self.assigned[node.id])
        elif isinstance(node, ast.Name) and node.id not in self.assigned:
            constant = self.constants.get(node.id)
            if isinstance(constant, list | tuple) and all(isinstance(x, str) for x in constant):
                yield from map(_plain, constant)
            else:
                yield None
        else:
            yield _column(node)


def _column(node: ast.expr) -> str | None:
    """Name a column expression as Spark does, if its end says the name."""
    text = _text(node)
    if text is not None:
        return _plain(text)
    if isinstance(node, ast.Subscript):
        return _plain(_text(node.slice))
    if not isinstance(node, ast.Call):
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "alias" and len(node.args) == 1:
        return _text(node.args[0])
    if name in ("col", "column") and node.args:
        return _plain(_text(node.args[0]))
    if name in ("cast", "astype") and isinstance(node.func, ast.Attribute):
        return _column(node.func.value)
    return None


def _plain(name: str | None) -> str | None:
    """Take backticks off; a dot outside them means a field of a structure, a star everything."""
    if name is None:
        return None
    if len(name) > 2 and name[0] == name[-1] == "`" and "`" not in name[1:-1].replace("``", ""):
        return name[1:-1].replace("``", "`")
    return None if any(sign in name for sign in "`*.") else name


def _changed(method: str, before: Sequence[str], named: Sequence[str]) -> list[str] | None:
    match method:
        case "withColumn":
            # Spark compares names without their case.
            held = {name.lower() for name in before}
            return [*before, *(name for name in named if name.lower() not in held)]
        case "drop":
            gone = {name.lower() for name in named}
            return [name for name in before if name.lower() not in gone]
        case _:
            if len(named) != 2:
                return None
            return [named[1] if name == named[0] else name for name in before]


def _own_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Walk over a function without what is nested in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own_statements(child)


def _stored(function: ast.AST) -> Counter[str]:
    """Count how often a function gives a value to each of its variables."""
    return Counter(
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    )


def _parameters(function: ast.AST) -> set[str]:
    return {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}


def _assigned(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """Name the variables that are what the function assigns to them, once and in any case."""
    stored = _stored(function)
    # A list may be changed by its methods (`append`) or its items.
    touched = {
        node.value.id
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name)
    }
    found = {}
    for node in function.body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        name, value = node.targets[0].id, node.value
        is_changed = name in touched and isinstance(value, ast.List | ast.Tuple)
        if stored[name] == 1 and not is_changed:
            found[name] = value
    return found


def _text(node: ast.expr) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else None  # type: ignore[attr-defined]


def _all(names: Iterator[str | None] | map[str | None]) -> list[str] | None:
    held = list(names)
    known = [name for name in held if name is not None]
    return known if len(known) == len(held) else None
