"""Kill every step of both DAGs after each thing that it writes, run it again, and compare.

One world is left alone. In the other every step is killed after its first write, run again and
killed after its second, and so on, until it gets through. At the end both hold the same rows, and
at no moment does a table hold a row that no suite has seen.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from include.registry.model_files import (
    ModelVersion,
)
from include.storage import drafts, lineage_records
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from tests.library.steps.world import ROWS, World


class Killed(BaseException):
    """What no step can catch."""


@contextmanager
def killing(monkeypatch: pytest.MonkeyPatch, after: int | None) -> Iterator[Counter[str]]:
    """Count what is written, and raise after the n-th write; before lineage is a moment too."""
    told: Counter[str] = Counter()

    def count(name: str) -> None:
        told[name] += 1
        if told.total() == after:
            raise Killed(f"after {name}, write {after}")

    def wrapped(name: str, function: Callable[..., Any], *, before: bool = False) -> Any:
        @functools.wraps(function)
        def write(*arguments: Any, **options: Any) -> Any:
            if before:
                count(name)
            result = function(*arguments, **options)
            if not before:
                count(name)
            return result

        return write

    with monkeypatch.context() as patched:
        for owner, name, before in (
            (Lake, "commit", False),
            (Lake, "append", False),
            (drafts, "_put", False),
            (ObjectStore, "write", False),
            (lineage_records, "record", True),
        ):
            function = getattr(owner, name)
            patched.setattr(owner, name, wrapped(name, function, before=before))
        yield told


@pytest.mark.usefixtures("surroundings")
def test_killed_anywhere_and_run_again_every_step_ends_in_the_same(
    store_settings: StoreSettings,
    make_pipeline: Any,
    version: ModelVersion,
    scored_world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unharmed = scored_world
    harmed = World(store_settings, make_pipeline, version)
    kills: Counter[str] = Counter()
    for task, run in harmed.steps():
        write = 0
        while True:
            write += 1
            with killing(monkeypatch, write):
                try:
                    run()
                except Killed:
                    kills[task] += 1
                else:
                    break
            harmed.assert_only_validated()

    expected, found = unharmed.content(), harmed.content()
    for table, rows in expected.items():
        assert rows, table
        assert found[table] == rows, table
    assert set(kills) == {task for task, _ in harmed.steps()}
    assert kills["build_training_set"] >= 9
    assert len([text for text in expected["features"] if '"x"' in text]) == 5 * (ROWS - 2)
