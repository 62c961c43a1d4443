"""What a migration puts in place."""

from __future__ import annotations

from collections.abc import Mapping

from include.specification.sections.features import Features
from include.specification.sections.section import Name, Section
from include.specification.sections.sources import Source


class Next(Section):
    """What a migration puts in place of the sections of now, by tables of a new generation.

    ``./relevo migrate`` fills those tables, trains on them, and switches if the gate passes. When
    that is over, put the content of ``next`` in the place of what it replaces, and remove ``next``.

    Args:
        features: The features to be; named whenever a source of features changes.
        sources: The sources that change, each whole.
    """

    features: Features | None = None
    sources: Mapping[Name, Source] = {}
