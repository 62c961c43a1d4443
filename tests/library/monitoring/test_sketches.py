"""Sketches: ranks within their error, every value of equal weight, the same in every run."""

from __future__ import annotations

import numpy as np
import pytest

from include.monitoring.sketches import estimate_quantile, merge_sketches, sketch_values


@pytest.mark.parametrize("rows", [100, 4_096, 4_097, 50_000])
def test_ranks_are_within_three_percent(rows: int) -> None:
    sketch = sketch_values(np.arange(rows, dtype=np.float64))
    for q in (0.01, 0.25, 0.5, 0.75, 0.99):
        assert abs(estimate_quantile(sketch, q) / rows - q) <= 0.03


def test_one_value_is_every_quantile() -> None:
    sketch = sketch_values(np.array([7.0]))
    assert [estimate_quantile(sketch, q) for q in (0, 0.5, 1)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("rows", [100_000, 99_999])
def test_values_weigh_the_same_on_both_sides_of_a_merge(rows: int) -> None:
    many, few = sketch_values(np.zeros(rows)), sketch_values(np.ones(rows // 10))
    for merged in (merge_sketches(many, few), merge_sketches(few, many)):
        assert estimate_quantile(merged, 0.85) == 0.0
        assert estimate_quantile(merged, 0.95) == 1.0


def test_no_values_are_neutral() -> None:
    none, some = sketch_values(np.array([])), sketch_values(np.arange(10.0))
    for merged in (merge_sketches(none, some), merge_sketches(some, none)):
        assert estimate_quantile(merged, 0.5) == estimate_quantile(some, 0.5)


def test_same_values_same_bytes() -> None:
    values = np.sort(np.random.default_rng(1).normal(size=9_999))
    assert sketch_values(values) == sketch_values(values.copy())
