"""Which entities only judge: the same ones whoever asks, in whatever type they come."""

from __future__ import annotations

import pandas as pd
import pytest

from include.features.held_out import is_held_out


def test_an_entity_judges_always_or_never() -> None:
    entities = pd.Series([f"c{i}" for i in range(1_000)])
    held = is_held_out(entities, 0.2)
    assert 150 < held.sum() < 250
    later = pd.Series([*entities[::-1], "new"])
    assert dict(zip(later[:-1], is_held_out(later, 0.2)[:-1], strict=True)) == dict(
        zip(entities, held, strict=True)
    )
    assert (held <= is_held_out(entities, 0.4)).all()


@pytest.mark.parametrize("first", [0, 2**53 + 1])
def test_whole_numbers_and_their_texts_are_the_same_entities(first: int) -> None:
    numbers = pd.Series(range(first, first + 200), dtype="int64")
    held = is_held_out(numbers, 0.5)
    assert 70 < held.sum() < 130
    for kind in ("Int64", "str", "int64[pyarrow]"):
        assert (is_held_out(numbers.astype(kind), 0.5) == held).all()


def test_no_rows() -> None:
    assert not len(is_held_out(pd.Series([], dtype=object), 0.2))
