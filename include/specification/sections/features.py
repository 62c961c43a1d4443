"""The feature function."""

from __future__ import annotations

from include.specification.sections.section import Count, FunctionPath, Name, Section, Share


class Features(Section):
    """The feature function and the suite of what it returns.

    Args:
        function: ``module:function`` below ``include``; takes one frame per source, by name.
        suite: Name of the expectation suite (``expectations/<suite>.json``).
        max_quarantined: Largest share of rows that may be quarantined, in [0, 1].
        generation: Which generation of its tables it fills; a higher one begins new tables.
    """

    function: FunctionPath
    suite: Name
    max_quarantined: Share = 0.05
    generation: Count = 1
