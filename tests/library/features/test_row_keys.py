"""Rows told by their keys: what changes the sum, and what does not."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from include.features.row_keys import KeySum, are_comparable, key_sum


def of(*keys: object, kind: pa.DataType | None = None) -> KeySum:
    return key_sum(pa.chunked_array([pa.array(keys, kind)]))


def test_the_order_and_the_pieces_change_nothing() -> None:
    assert of("a", "b", None) == of(None, "b", "a")
    assert of("a") + of("b", "c") == of("c", "a", "b")
    assert of(kind=pa.string()) == KeySum(0, 0)


def test_another_key_does() -> None:
    assert of("a", "b") != of("a", "c")
    assert of("a", "b", "b") != of("a", "a", "b")
    assert of("a", None) != of("a", "")
    assert of(2**53) != of(2**53 + 1)
    assert of(Decimal("1.10")) != of(Decimal("1.11"))


def test_whole_numbers_of_any_width_are_the_same() -> None:
    assert of(1, 2, kind=pa.int32()) == of(2, 1, kind=pa.int64())
    assert are_comparable(pa.int32(), pa.int64())
    assert are_comparable(pa.string(), pa.large_string())
    assert are_comparable(pa.timestamp("us"), pa.timestamp("us"))
    assert not are_comparable(pa.int64(), pa.string())
    assert not are_comparable(pa.decimal128(4, 1), pa.decimal128(4, 2))
