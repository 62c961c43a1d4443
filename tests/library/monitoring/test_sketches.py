"""Sketches: ranks within their error, every value of equal weight, the same in every run."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from datasketches import tdigest_double

from include.monitoring.sketches import estimate_quantile, merge_sketches, sketch_values


@pytest.mark.parametrize("rows", [100, 4_096, 4_097, 50_000])
def test_ranks_are_within_three_percent(rows: int) -> None:
    sketch = sketch_values(np.arange(rows, dtype=np.float64))
    for q in (0.01, 0.25, 0.5, 0.75, 0.99):
        assert abs(estimate_quantile(sketch, q) / rows - q) <= 0.03


@pytest.mark.parametrize(
    ("rows", "smallest", "weight"),
    [
        (1, 0.0, 1),
        (4_096, 0.0, 4_096),
        (4_097, 1.0, 4_096),  # every second, from the second on
        (12_288, 1.0, 12_288),  # every third, from the second on
        (20_480, 2.0, 20_480),  # every fifth, from the third on
    ],
)
def test_evenly_spaced_values_stand_for_all(rows: int, smallest: float, weight: int) -> None:
    sketch = sketch_values(np.arange(rows, dtype=np.float64))
    assert estimate_quantile(sketch, 0) == smallest
    digest = tdigest_double.deserialize(base64.b64decode(sketch))
    assert (digest.get_total_weight(), digest.k) == (weight, 300)
    twice = tdigest_double.deserialize(base64.b64decode(merge_sketches(sketch, sketch)))
    assert twice.get_total_weight() == 2 * weight


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
