"""Errors of ours that a worker gives back as values."""

from __future__ import annotations

import pytest

from include.errors import FeatureError, RegistryError, UnavailableError
from include.spark.worker_errors import raise_first, told


def test_they_are_raised_as_they_were() -> None:
    with pytest.raises(FeatureError, match=r"^x must be set\. Set it\.$"):
        raise_first([None, told(RegistryError("y")), told(FeatureError("x must be set. Set it."))])


def test_without_one_nothing_happens() -> None:
    raise_first([None, None])
    raise_first([])


def test_one_that_may_pass_is_left_to_spark_to_try_again() -> None:
    with pytest.raises(UnavailableError, match="the store"):
        told(UnavailableError("the store"))
