"""Retiring a pipeline: nothing works on it any more, and its tables go after a waiting time.

The event in the registry comes first; ledger, archive and MLflow follow it. A run that is tried
again finishes what it began. Removing the tables is a matter of maintenance
(:mod:`include.steps.removal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.errors import SpecificationError, TableError
from include.registry import retirement, retiring
from include.registry.champions import Registry
from include.registry.interventions import Wish
from include.registry.succession import REINSTATED, RETIRED
from include.specification import pipeline_file
from include.steps.interventions import Done, do, last_scored
from include.steps.retirement_archive import Archive, recorded, write_archive
from include.storage.event_tables import Event
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore


def retire(
    lake: Lake,
    registry: Registry,
    keep_days: int,
    why: str,
    who: str,
    asked_at: datetime,
    origin: Origin,
) -> Done:
    """Let nothing work on a pipeline any more, on record; :func:`follow` does the rest.

    Args:
        lake: The pipeline's tables.
        registry: Its versions; without MLflow.
        keep_days: How long its tables stay, >= 1.
        why: The reason, for the ledger.
        who: Who asks for it.
        asked_at: When, naive UTC.
        origin: The run that does it.

    Raises:
        TableError: If there is no table of that name.
        RegistryError: If the champion is frozen, or somebody undid a retirement since this was
            asked for.
    """
    if not take_inventory(lake).tables:
        raise TableError(
            f"pipeline {lake.pipeline}: must have tables to be retired, got none. Check the name."
        )
    store, uri = ObjectStore(lake.settings), retirement.file_uri(lake.pipeline)
    if not (store.exists(uri) and retirement.find(registry.events())):
        # Before the event: where it is missing, nobody looks for one.
        store.write(uri, _pipeline_file(lake.pipeline), "text/plain")
    wish = Wish(lake.pipeline, RETIRED, "retired", None, who, why, asked_at)
    last = last_scored(lake)

    def as_wished(events: Sequence[Event]) -> str:
        told = retirement.told(events)
        return f"the pipeline is {told}" if told else ""

    return do(
        lake,
        registry,
        wish,
        lambda held: retiring.retire(held, wish, keep_days, last, origin),
        as_wished,
        origin,
    )


def reinstate(
    lake: Lake, registry: Registry, why: str, who: str, asked_at: datetime, origin: Origin
) -> Done:
    """Undo a retirement, on record; arguments as of :func:`retire`, and again :func:`follow`.

    Raises:
        RetiredError: If the tables are removed, or about to be.
        RegistryError: If somebody retired it since this was asked for.
    """
    wish = Wish(lake.pipeline, REINSTATED, "reinstated", None, who, why, asked_at)
    last = last_scored(lake)

    def as_wished(events: Sequence[Event]) -> str:
        return "" if retirement.find(events) else "the pipeline is not retired"

    return do(
        lake,
        registry,
        wish,
        lambda held: retiring.reinstate(held, wish, last, origin),
        as_wished,
        origin,
    )


def follow(lake: Lake, registry: Registry) -> Archive | None:
    """Let archive and MLflow follow what is on record; done again, it changes nothing.

    No run of the pipeline may be active.

    Args:
        lake: The pipeline's tables.
        registry: Its versions, with MLflow.

    Returns:
        The archive; None if the pipeline is in service, and there is none.
    """
    archive = None
    if retirement.find(registry.events()):
        archive = write_archive(lake)
    else:
        ObjectStore(lake.settings).delete_below(retirement.folder(lake.pipeline))
    registry.mark_retirement()
    return archive


def renew_archive(lake: Lake, versions: Sequence[int]) -> str:
    """Make the archive of a retired pipeline anew, after people were erased from its records.

    Args:
        lake: The pipeline's tables.
        versions: Model versions that were trained on them.

    Returns:
        A sentence that says which of these it keeps; '' if it keeps none, or there is none.
    """
    if recorded(lake) is None:
        return ""
    kept = set(versions) & set(write_archive(lake).versions)
    named = ", ".join(map(str, sorted(kept)))
    where = retirement.folder(lake.pipeline)
    return f"The archive in {where} keeps the models of versions {named}." if kept else ""


def _pipeline_file(name: str) -> bytes:
    """Read the pipeline file; a remark if it is gone."""
    try:
        pipeline_file.read(name)
        return (pipeline_file.PIPELINES / f"{name}.yaml").read_bytes()
    except (OSError, SpecificationError):
        return b"# There was no pipeline file any more.\n"
