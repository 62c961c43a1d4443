"""Tables of generations that a pipeline has left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from include.registry import succession
from include.registry.champions import Registry
from include.specification.generations import (
    FEATURES,
    LABELS,
    of_generation,
    quarantine_table,
    raw_table,
    repairs_table,
)
from include.specification.pipeline import Pipeline
from include.storage.lake_tables import Lake


def outdated_tables(lake: Lake, pipeline: Pipeline, cutoff: datetime) -> dict[str, str]:
    """Name the tables that nobody needs any more, if they are there, and why.

    Those are of a generation older than that of the file, of which no version is in use or was
    since the cutoff. Training sets stay, because registered versions refer to them; and while
    nothing is in use everything does.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        cutoff: Moment, aware.
    """
    used = list(_used_since(lake, cutoff))
    if not used:
        return {}
    found: dict[str, str] = {}
    for dataset, present in pipeline.of_now().generations.items():
        kept = {generations.get(dataset, 1) for generations in used}
        for number in range(1, present):
            if number not in kept:
                why = f"Generation {number} of {dataset}, of which no version is in use any more"
                names = (of_generation(first, number) for first in _tables(pipeline, dataset))
                found |= dict.fromkeys(names, why)
    return found


def _tables(pipeline: Pipeline, dataset: str) -> tuple[str, ...]:
    if dataset == FEATURES:
        return FEATURES, quarantine_table(FEATURES)
    own = (raw_table(dataset), quarantine_table(dataset), repairs_table(dataset))
    return (*own, LABELS) if dataset == pipeline.label_source else own


def _used_since(lake: Lake, cutoff: datetime) -> Iterator[Mapping[str, int]]:
    """Tell the generations of the versions that were in use at some moment since a cutoff."""
    registry, since = Registry(lake), cutoff.astimezone(UTC).replace(tzinfo=None)
    changes = succession.changes(registry.events())
    for at, change in enumerate(changes):
        is_over = at + 1 < len(changes) and changes[at + 1].event["recorded_at"] < since
        if change.after is not None and not is_over:
            yield registry.get(change.after).generations
