"""How the champion is watched."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.specification.sections.section import Count, Section


class DriftMonitoring(Section):
    """When a batch counts as drifted.

    Args:
        share_of_features: Share of the features that must have drifted, in (0, 1].
        prediction: Whether drifted scores alone are enough.
        minimum_rows: Fewer rows than this tell nothing.
    """

    share_of_features: Annotated[float, Field(gt=0, le=1)] = 0.3
    prediction: bool = True
    minimum_rows: Count = 500


class PerformanceMonitoring(Section):
    """When performance counts as dropped.

    Args:
        metric: Metric that is watched; the one of training unless told.
        max_drop: How much worse than on the held-out rows it may be, in its own units. More counts
            once it is surely worse at all.
    """

    metric: str = ""
    max_drop: Annotated[float, Field(ge=0)] = 0.05


class Monitoring(Section):
    """How the champion is watched.

    Args:
        drift: When a batch counts as drifted.
        performance: When performance counts as dropped.
    """

    drift: DriftMonitoring = DriftMonitoring()
    performance: PerformanceMonitoring = PerformanceMonitoring()
