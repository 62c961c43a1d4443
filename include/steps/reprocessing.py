"""Making anew what depends on corrected data: what a person asks for, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from include.errors import SourceError
from include.registry import interventions
from include.registry.champions import PROFILES, Registry
from include.scoring import reprocessing_requests
from include.scoring.batch_scoring import TABLE as PREDICTIONS
from include.scoring.made_then import DETAIL
from include.scoring.reprocessing_requests import Request, RunToRepeat
from include.specification.pipeline import Pipeline
from include.steps.stale import find_stale
from include.steps.staleness import Stale, StaleRun
from include.storage.connections import Connections
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.lineage_records import PartitionCommits, written
from include.wording import some

_log = logging.getLogger(__name__)
# Given a DAG and a run id: how often that was cleared, and whether it has failed; None if there is
# no such run.
LookUp = Callable[[str, str], tuple[int, bool] | None]


def ask(
    lake: Lake,
    pipeline: Pipeline,
    wanted: Sequence[str] | None,
    why: str,
    who: str,
    look_up: LookUp,
    origin: Origin,
    *,
    connections: Connections,
) -> Request | None:
    """Put on record what is to be made anew; a run that asks again finds what it asked for.

    A training whose run Airflow knows no more is not repeated: another run would not take back
    what that one had put in use.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        wanted: Partitions whose corrections are to be taken over; None for all of them.
        why: The reason, for the ledger.
        who: Who asks.
        look_up: Looks a run up.
        origin: The run that asks.
        connections: Resolves the connections of SQL sources.

    Returns:
        The request; None if nothing is stale.

    Raises:
        SourceError: If a partition that is wanted was not corrected, one that was cannot be
            ingested, or a source cannot be listed.
        RegistryError: If a training is to be repeated, and the champion is frozen.
    """
    asked = reprocessing_requests.asked_by(lake, origin, why)
    if asked is not None:
        return asked
    stale = find_stale(lake, pipeline, only=wanted, connections=connections)
    trained = [run for run in stale.runs if run.kind == "train"]
    forgotten = [run.run_id for run in trained if look_up(run.dag_id, run.run_id) is None]
    if forgotten:
        _log.warning(
            "Airflow knows %s no more, which trained on data of before: not repeated, and what "
            "came of it counts as it is. Train as of a later partition.",
            some(forgotten),
        )
        stale = find_stale(
            lake, pipeline, only=wanted, connections=connections, forgotten=forgotten
        )
    _refuse(pipeline, stale, wanted)
    if stale.is_nothing:
        reprocessing_requests.give_up(lake)
        return None
    if any(run.kind == "train" for run in stale.runs):
        # What they make would be refused, and stay stale.
        events = Registry(lake).events()
        interventions.demand_unfrozen(events, lake.pipeline, "to repeat its trainings")
    request = Request(
        run_id=origin.dag_run_id,
        who=who,
        why=why,
        corrected=[(item.source, item.partition) for item in stale.corrections],
        told=[str(item) for item in stale.corrections],
        history=stale.history,
        runs=[_to_repeat(run, look_up, origin) for run in stale.runs],
        versions=list(stale.versions),
        forgotten=forgotten,
        predictions=_predicted(lake, stale),
    )
    reprocessing_requests.record(lake, request, origin)
    return reprocessing_requests.asked_by(lake, origin, why)


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
    now, scored = PartitionCommits(written(lake, PREDICTIONS)), lake.partitions(PROFILES)
    replaced = {
        name: {"then": version, "now": now.at(name).version}
        for name, version in request.predictions.items()
        # Equal rows of a partition's own run are those made then, and not marked.
        if now.at(name).version != version
        and (DETAIL in now.at(name).details or name not in scored)
    }
    reprocessing_requests.close(lake, request, replaced, origin)
    left = find_stale(
        lake, pipeline, only=wanted, connections=connections, forgotten=request.forgotten
    )
    return replaced, left


def _refuse(pipeline: Pipeline, stale: Stale, wanted: Sequence[str] | None) -> None:
    corrected = {item.partition for item in stale.corrections}
    if strange := sorted(set(wanted or ()) - corrected):
        raise SourceError(
            f"pipeline {pipeline.name}: partitions to reprocess must have been corrected, got "
            f"{some(strange)}. `./relevo stale {pipeline.name}` lists those that were."
        )
    gone = [str(item) for item in stale.corrections if item.content is None]
    if gone:
        raise SourceError(
            f"pipeline {pipeline.name}: what is taken over must be there to be ingested, got "
            f"{some(gone)}. Put it back, land an empty file where the source has allow_empty, or "
            "name the partitions to reprocess."
        )


def _predicted(lake: Lake, stale: Stale) -> dict[str, int]:
    commits = PartitionCommits(written(lake, PREDICTIONS))
    named = {run.partition for run in stale.runs if PREDICTIONS in run.tables}
    named |= {name for name, tables in stale.history.items() if PREDICTIONS in tables}
    return {name: commits.at(name).version for name in sorted(named)}


def _to_repeat(run: StaleRun, look_up: LookUp, origin: Origin) -> RunToRepeat:
    found, run_id = look_up(run.dag_id, run.run_id), run.run_id
    if found is None:
        run_id = f"{origin.dag_run_id}__{run.kind}_{run.partition}"
    number, had_failed = found or (None, False)
    return RunToRepeat(run.partition, run.kind, run.dag_id, run_id, number, had_failed)
