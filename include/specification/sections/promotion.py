"""What a challenger has to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from include.specification.sections.section import Section, Share


class BeatChampion(Section):
    """How sure the improvement on the champion must be, by a paired bootstrap.

    Args:
        confidence: Confidence of the interval of the difference, in (0.5, 1).
        margin: What the interval's lower bound must exceed, in units of the metric.
    """

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    margin: Annotated[float, Field(ge=0)] = 0.0


class Guard(Section):
    """What must not get worse.

    Args:
        slices: Feature columns whose values cut the held-out rows into slices. Those too small to
            judge alone are judged together; 80 % of the rows must be judged.
        max_drop: Largest loss of the metric on any slice.
        calibration: The most by which the challenger's expected calibration error may exceed the
            champion's on the same held-out rows, in [0, 1]; not for regression.
    """

    slices: tuple[str, ...] = ()
    max_drop: Annotated[float, Field(ge=0)] = 0.05
    calibration: Share = 0.10


class Promotion(Section):
    """What a challenger has to show before it takes the baton.

    Args:
        require: By metric, the least (or, for an error, the largest) held-out value;
            ``calibration_error``, of classification, counts as a metric here.
        beat_champion: How sure the improvement on the champion must be.
        guard: What must not get worse.
        approval: Whether a person must agree.
    """

    require: Annotated[Mapping[str, float], Field(min_length=1)]
    beat_champion: BeatChampion = BeatChampion()
    guard: Guard = Guard()
    approval: Literal["none", "required"] = "none"
