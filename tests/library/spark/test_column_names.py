"""Names of columns reach Spark as they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pyspark.sql.connect.types import parse_attr_name

from include.spark.column_names import backticked

INCLUDE = Path(__file__).parents[3] / "include"
ROOMS = ("features", "quality", "scoring", "spark", "steps")


@pytest.mark.parametrize("name", ["x", "petal.width", ".", "`", "a`.`b", "``", " ", "*", "a\nb"])
def test_spark_reads_one_name(name: str) -> None:
    assert parse_attr_name(backticked(name)) == [name]


def test_our_spark_code_names_no_column_by_a_bare_variable() -> None:
    bare = [
        f"{path.relative_to(INCLUDE)}:{call.lineno}"
        for room in ROOMS
        for path in sorted((INCLUDE / room).rglob("*.py"))
        if path.name != "column_names.py"
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("col", "column", "expr", "selectExpr")
        and not all(isinstance(argument, ast.Constant) for argument in call.args)
        and not (isinstance(call.func.value, ast.Name) and call.func.value.id in ("sa", "batch"))
    ]
    assert bare == [], "use include.spark.column_names.column: Spark makes paths of bare names"
