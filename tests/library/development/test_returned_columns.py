"""The columns of a feature function by its text, or that its text does not tell them."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.development.returned_columns import returned_columns

HEAD = "from pyspark.sql import functions as f\n\nCODES = ['k', 'l']\nWEIGHT = 3\n\n\n"


def function_of(tmp_path: Path, body: str) -> Callable[..., Any]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    file = tmp_path / "module.py"
    file.write_text(f"{HEAD}def features(rows, others):\n{lines}")
    spec = importlib.util.spec_from_file_location("module", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.features  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ('return rows.select("a", f.col("b"), f.upper("c").alias("d"))', "abd"),
        (
            'return rows.select(f.col("a").cast("int"), rows["b"], "`c.d`", ["e", "f"])',
            "a b c.d e f",
        ),
        ('return rows.select("a", *CODES)', "akl"),
        ('kept = ("a", "b")\nreturn rows.select(*kept)', "ab"),
        ('rows = rows.join(others, "a").select("a", "b")\nreturn rows.where("a > 1")', "ab"),
        ('return rows.select("a", "b").withColumn("c", f.lit(1)).drop("a")', "bc"),
        ('return rows.select("a", "b").withColumnRenamed("b", "c")', "ac"),
        ('return rows.select("a", "b").drop("B").withColumn("A", f.lit(1)).fillna(0)', "a"),
        ('def inner():\n    return 1\nreturn rows.select("a").dropDuplicates(["a"])', "a"),
    ],
)
def test_what_the_text_tells(tmp_path: Path, body: str, names: str) -> None:
    expected = names.split() if " " in names else list(names)
    assert returned_columns(function_of(tmp_path, body)) == tuple(expected)


@pytest.mark.parametrize(
    "body",
    [
        "return rows",
        'return rows.withColumn("a", f.lit(1))',
        'return rows.select("*")',
        'return rows.select("a.b")',
        'return rows.select("`a`.`b`")',
        'return rows.select("a", f.upper("b"))',
        'return rows.select(*(f"{name}_sum" for name in CODES))',
        "return rows.select(*WEIGHT)",
        'kept = ["a"]\nkept += ["b"]\nreturn rows.select(kept)',
        'kept = ["a"]\nkept.append("b")\nreturn rows.select(*kept)',
        'kept = ["a"]\nkept[0] = "b"\nreturn rows.select(*kept)',
        'if rows:\n    rows = rows.select("a")\nreturn rows',
        'for CODES in (["a"],):\n    pass\nreturn rows.select(*CODES)',
        'return rows.select("a", f.explode("b").alias("c", "d"))',
        'return rows.groupBy("a").agg(f.sum("b").alias("c"))',
        'rows = rows.select("a")\nrows = rows.select("b")\nreturn rows',
        'if rows:\n    return rows.select("a")\nreturn rows.select("b")',
        "frame = frame\nreturn frame",
        "pass",
    ],
)
def test_what_it_does_not_tell(tmp_path: Path, body: str) -> None:
    assert returned_columns(function_of(tmp_path, body)) is None


def test_what_has_no_text() -> None:
    assert returned_columns(len) is None


def test_a_decorator_may_do_anything_with_the_frame(tmp_path: Path) -> None:
    function = function_of(tmp_path, 'return rows.select("a")')
    assert returned_columns(function) == ("a",)
    assert returned_columns(functools.wraps(function)(lambda rows: rows)) is None
