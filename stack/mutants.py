"""Wrong versions of a module, made by Cosmic Ray: each differs in one place."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Of Cosmic Ray's. `*` becomes `+`, not `/`: the `*` before keyword-only parameters is one, too.
OPERATORS = re.compile(
    r"core/(AddNot|NumberReplacer|ExceptionReplacer|ZeroIterationForLoop"
    r"|Replace(And|Or|True|False|Break|Continue)With\w+"
    r"|ReplaceUnaryOperator_(Delete_Not|Delete_Invert|USub_UAdd)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is"
    r"|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Add|Div_Mul|FloorDiv_Div|Mod_Add|Pow_Mul"
    r"|RShift_LShift|LShift_RShift|BitOr_BitAnd|BitAnd_BitOr))"
)


@dataclass(frozen=True)
class Mutant:
    """A module with one change: the line where it begins, and the whole source."""

    line: int
    source: str


def find_mutants(source: str) -> Iterator[Mutant]:
    """Make every change of a module that is Python and can decide something."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(source)))
    for name in filter(OPERATORS.fullmatch, operator_names()):
        operator = get_operator(name)()
        places = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, (line, _) in enumerate(places):
            changed = mutate_code(source, operator, occurrence)
            with contextlib.suppress(SyntaxError):
                if _meaning(changed) != _meaning(source):
                    yield Mutant(line, changed)


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
            if isinstance(node, ast.FunctionDef):
                node.returns = None
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            node.value = ast.Constant(None)
    return ast.dump(tree)
