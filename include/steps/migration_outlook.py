"""What a plan says of a migration that was tried before, and of what the next one leaves behind."""

from __future__ import annotations

from include.specification.pipeline import Pipeline
from include.steps.migration import BEGUN
from include.storage import ledger
from include.storage.lake_tables import Lake


def latest(lake: Lake, to_be: Pipeline) -> str:
    """Say how the latest migration to a generation stands; '' if there was none.

    Args:
        lake: The pipeline's tables.
        to_be: The pipeline file, of that generation.
    """
    entries = ledger.entries(lake, "migration")
    begun = [item for item in entries if item.evidence.get("after") == to_be.generations]
    if not begun:
        return ""
    run = begun[-1].dag_run_id
    last = [item for item in entries if item.dag_run_id == run][-1]
    at = f"{last.recorded_at:%Y-%m-%d %H:%M} UTC"
    if last.decision == BEGUN:
        return f"was begun on {at} by run {run} of {last.dag_id}, which has not ended: look there"
    return f"was tried by run {run} of {last.dag_id}, until {at}: {last.decision}. {last.reason}"


def repairs_left(lake: Lake, pipeline: Pipeline, to_be: Pipeline) -> dict[str, int]:
    """Count by source the repairs that a generation does not take over; those without any not."""
    tables = {
        name: pipeline.repairs_table(name)
        for name in pipeline.sources
        if pipeline.repairs_table(name) != to_be.repairs_table(name)
    }
    counts = {
        name: sum(lake.row_counts(table).values())
        for name, table in tables.items()
        if lake.exists(table)
    }
    return {name: count for name, count in counts.items() if count}
