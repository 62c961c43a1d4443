"""Pipeline files, suites and names: bombs, traversal, code, and what would be half true."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.calendar.partitions import Frequency, parse
from include.quality.suites import load_suite
from include.specification.pipeline_file import load

RIGHT = """\
description: Bad input.
owner: tests
task: binary
entity: id
event_time: at
partition: quarterly
sources:
  loans:
    uri: s3://landing/p/{partition}/
    suite: loans
    labels: {column: bad}
features: {function: "include.pipelines.loan_default:features", suite: loans}
training: {window: 3, candidates: {logistic_regression: {}}}
promotion: {require: {roc_auc: 0.6}}
"""
UNIQUE = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}}
BOMB = "a0: &a0 [x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@dataclass(frozen=True)
class Named:
    """A file, or a name, that a person writes.

    Args:
        what: What is in it, in a few words.
        read: Reads it; the folder is empty before.
        says: What the refusal must say, in this order.
    """

    what: str
    read: Callable[[Path], Any]
    says: Sequence[str]


def _pipeline(what: str, text: str, *says: str) -> Named:
    def read(folder: Path) -> Any:
        (folder / "p.yaml").write_text(text, encoding="utf-8")
        return load("p", folder)

    return Named(f"a pipeline file with {what}", read, says)


def _edited(what: str, old: str, new: str, *says: str) -> Named:
    assert old in RIGHT
    return _pipeline(what, RIGHT.replace(old, new, 1), *says)


def _suite(what: str, text: str, *says: str) -> Named:
    def read(folder: Path) -> Any:
        (folder / "s.json").write_text(text, encoding="utf-8")
        return load_suite("s", folder)

    return Named(f"a suite {what}", read, ("suite s.json", *says))


def _of(*expectations: Any) -> str:
    return json.dumps({"name": "s", "expectations": expectations})


def _partition(what: str, name: str) -> Named:
    return Named(
        f"a run about a partition named {what}",
        lambda folder: parse(name, Frequency.QUARTERLY),
        ("a quarterly partition reads like '2005-Q3', got",),
    )


CASES = (
    _pipeline("aliases that stand for billions of values", BOMB, "p.yaml", "values by aliases"),
    _pipeline("600 sections in each other", "a: " + "{a: " * 600 + "1" + "}" * 600, "a few deep"),
    _edited(
        "a tag that would run code",
        "owner: tests",
        "owner: !!python/object/apply:os.system [ls]",
        "p.yaml:2",
        "must be YAML",
    ),
    _edited("a key twice", "owner: tests", "owner: a\nowner: b", "p.yaml:3", "must stand once"),
    _edited(
        "a function outside the project",
        "include.pipelines.loan_default:features",
        "os:system",
        "features.function: must be module:function below include",
    ),
    _edited(
        "a suite's name that climbs out of the folder",
        "suite: loans}",
        "suite: ../../etc/passwd}",
        "features.suite: must be lower-case letters",
    ),
    _edited(
        "a source's name that climbs out of the tables",
        "  loans:",
        "  ../raw:",
        "sources.../raw: must be lower-case letters",
    ),
    _edited(
        "an address that is no store's",
        "s3://landing/p/{partition}/",
        "file:///etc/{partition}/",
        "sources.loans.uri: must be an address on the store",
    ),
    _edited(
        "an entity named as a column of Relevo",
        "entity: id",
        "entity: label",
        "p.yaml:4",
        "entity",
    ),
    Named(
        "a pipeline's name that climbs out of the folder",
        lambda folder: load("../../etc/passwd", folder),
        ("its file must be", "got none"),
    ),
    _partition("../../lake", "../../lake"),
    _partition("2005-Q5, which no year has", "2005-Q5"),
    _partition("with a line end", "2005-Q1\n"),
    _suite("that was cut off", '{"name": "s"', "must be JSON", "line 1"),
    _suite("without expectations", _of(), "at least one"),
    _suite(
        "with an expectation that nobody knows", _of({"type": "expect_it"}), "must be a known one"
    ),
    _suite(
        "with a severity that nobody knows",
        _of(UNIQUE | {"severity": "fatal"}),
        "severity must be one of critical, warning, info",
    ),
    _suite(
        "with a bound twice, of which JSON keeps the last",
        '{"name": "s", "expectations": [{"type": "expect_column_values_to_be_between",'
        ' "kwargs": {"column": "x", "min_value": 0, "min_value": -1}}]}',
        "must be JSON",
        "the key 'min_value' twice",
    ),
    _suite(
        "with a bound of NaN, beside which every comparison is false",
        '{"name": "s", "expectations": [{"type": "expect_column_values_to_be_between",'
        ' "kwargs": {"column": "x", "min_value": NaN}}]}',
        "must be JSON",
        "NaN, which is no number",
    ),
)
