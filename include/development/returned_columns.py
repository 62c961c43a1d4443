"""Which columns a feature function returns, as far as its text tells: nothing is run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_KEEPS_COLUMNS = frozenset(
    (
        *("filter", "where", "distinct", "dropDuplicates", "drop_duplicates", "orderBy", "sort"),
        *("limit", "repartition", "cache", "persist"),
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
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        return None
    body = list(_own_statements(tree.body[0]))
    returns = [node for node in body if isinstance(node, ast.Return)]
    if len(returns) != 1 or returns[0].value is None:
        return None
    names = _Names(_assigned(body), inspect.unwrap(function).__globals__)
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
    if name == "alias" and node.args:
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
            return list(dict.fromkeys([*before, *named]))
        case "drop":
            return [name for name in before if name not in named]
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


def _assigned(body: Sequence[ast.AST]) -> dict[str, ast.expr]:
    found: dict[str, list[ast.expr]] = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _text(node: ast.expr) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else None  # type: ignore[attr-defined]


def _all(names: Iterator[str | None] | map[str | None]) -> list[str] | None:
    held = list(names)
    known = [name for name in held if name is not None]
    return known if len(known) == len(held) else None
