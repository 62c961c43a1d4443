"""Making anew what depends on corrected data: what a person asks for, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from include.errors import SourceError
from include.scoring import reprocessing_requests
from include.scoring.batch_scoring import TABLE as PREDICTIONS
from include.scoring.reprocessing_requests import Request, RunToRepeat
from include.specification.pipeline import Pipeline
from include.steps.stale import Stale, StaleRun, find_stale
from include.storage.connections import Connections
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.lineage_records import PartitionCommits, written
from include.wording import some

# Given a DAG and a run id: how often that was cleared; None if there is no such run.
ClearNumber = Callable[[str, str], int | None]


def ask(
    lake: Lake,
    pipeline: Pipeline,
    wanted: Sequence[str] | None,
    why: str,
    who: str,
    clear_number: ClearNumber,
    origin: Origin,
    *,
    connections: Connections,
) -> Request | None:
    """Put on record what is to be made anew; a run that asks again finds what it asked for.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        wanted: Partitions whose corrections are to be taken over; None for all of them.
        why: The reason, for the ledger.
        who: Who asks.
        clear_number: Looks a run up.
        origin: The run that asks.
        connections: Resolves the connections of SQL sources.

    Returns:
        The request; None if nothing is stale.

    Raises:
        SourceError: If a partition that is wanted has no correction, or a source cannot be listed.
    """
    asked = reprocessing_requests.asked_by(lake, origin)
    if asked is not None:
        return asked
    stale = find_stale(lake, pipeline, only=wanted, connections=connections)
    corrected = {item.partition for item in stale.corrections}
    if strange := sorted(set(wanted or ()) - corrected - set(stale.partitions)):
        raise SourceError(
            f"pipeline {pipeline.name}: partitions to reprocess must have something stale, got "
            f"{some(strange)}. Look with `./relevo stale {pipeline.name}`."
        )
    if stale.is_nothing:
        return None
    request = Request(
        who=who,
        why=why,
        corrections=[f"{c.source} {c.partition}: {c.what}" for c in stale.corrections],
        history=stale.history,
        runs=[_to_repeat(run, clear_number, origin) for run in stale.runs],
        versions={str(version): as_of for version, as_of in stale.versions.items()},
        predictions=_predicted(lake, stale),
    )
    reprocessing_requests.ask(lake, request, origin)
    return request


def finish(
    lake: Lake,
    pipeline: Pipeline,
    request: Request,
    wanted: Sequence[str] | None,
    origin: Origin,
    *,
    connections: Connections,
) -> tuple[Mapping[str, Any], Stale]:
    """Put on record which predictions were replaced, and look what is stale all the same.

    Returns:
        (by partition the versions of the table of then and of now, what is left).
    """
    now = PartitionCommits(written(lake, PREDICTIONS))
    replaced = {
        name: {"then": version, "now": now.at(name).version}
        for name, version in request.predictions.items()
        if now.at(name).version != version
    }
    left = find_stale(lake, pipeline, only=wanted, connections=connections)
    reprocessing_requests.finish(lake, request, replaced, origin)
    return replaced, left


def _predicted(lake: Lake, stale: Stale) -> dict[str, int]:
    commits = PartitionCommits(written(lake, PREDICTIONS))
    named = {run.partition for run in stale.runs if PREDICTIONS in run.tables}
    named |= {name for name, tables in stale.history.items() if PREDICTIONS in tables}
    return {name: commits.at(name).version for name in sorted(named)}


def _to_repeat(run: StaleRun, clear_number: ClearNumber, origin: Origin) -> RunToRepeat:
    number, run_id = clear_number(run.dag_id, run.run_id), run.run_id
    if number is None:  # Airflow knows it no more
        run_id = f"{origin.dag_run_id}__{run.kind}_{run.partition}"
    return RunToRepeat(run.partition, run.kind, run.dag_id, run_id, number)
