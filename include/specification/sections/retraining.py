"""When the champion is challenged."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, field_validator

from include.specification.sections.section import Count, Section, matches

_K_OF_N = r"^[1-9]\d* of [1-9]\d*$"
_K_IN_N = r"^[1-9]\d* in [1-9]\d*$"


class Retraining(Section):
    """When the champion is challenged; every number counts partitions.

    For ``cooldown`` and ``budget`` a refused training counts half, and the one that made the first
    champion not at all. A run sees the trainings up to its own partition: one that comes late, for
    a gap, may decide on one more than they would have left for those that ran before it.

    Args:
        when: Triggers that count; ``new_class`` is a label that the champion has never seen.
        every: Also retrain when so many partitions have passed since the last training.
        persist: ``k of n``: a trigger must have fired in k of the latest n partitions.
        cooldown: Partitions that must pass after a training before the next; after a refused one
            half as many, rounded down.
        budget: ``k in n``: no retraining once k of the latest n partitions are spent.
    """

    when: tuple[Literal["drift", "performance", "new_class"], ...] = ()
    every: Count | None = None
    persist: Annotated[
        str,
        matches(_K_OF_N, "must read k of n, such as 2 of 3"),
        WithJsonSchema({"type": "string", "pattern": _K_OF_N}),
    ] = "1 of 1"
    cooldown: Annotated[int, Field(ge=0)] = 0
    budget: Annotated[
        str,
        matches(_K_IN_N, "must read k in n, such as 4 in 8"),
        WithJsonSchema({"type": "string", "pattern": _K_IN_N}),
    ] = "1 in 1"

    @property
    def persistence(self) -> tuple[int, int]:
        """(k, n) of ``persist``."""
        k, n = (int(part) for part in self.persist.split(" of "))
        return k, n

    @property
    def spending(self) -> tuple[int, int]:
        """(k, n) of ``budget``."""
        k, n = (int(part) for part in self.budget.split(" in "))
        return k, n

    @field_validator("persist", "budget")
    @classmethod
    def _is_possible(cls, rule: str) -> str:
        k, n = (int(part) for part in re.split(" of | in ", rule))
        if k > n:
            raise ValueError("must not have a first number above the second")
        return rule
