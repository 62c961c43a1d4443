"""What goes of a retired pipeline when its waiting time is over, and what stays.

Tables, drafts, models and pages go. Ledger, registry and the archive stay; so do the records of
maintenance and of erasing, and what landed, which is not ours. That it begins is an event of the
registry: from then on nobody can undo the retirement, and whoever was killed is finished by the
next one, also if the pipeline's file is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from include.registry import retirement, retiring
from include.registry.champions import TABLE as REGISTRY
from include.registry.champions import Registry
from include.steps.interventions import record
from include.steps.retirement_archive import demand_archive, recorded
from include.steps.trial_tables import trial_folders
from include.storage import ledger
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import THREADS, ObjectStore
from include.storage.settings import LAKE, REPORTS, StoreSettings
from include.storage.table_removal import list_table, remove_table

_TABLES = frozenset({ledger.TABLE, REGISTRY})
# Folders beside tables: the archive, and what was done to the pipeline.
_FOLDERS = frozenset({"retired", "maintenance", "erasures"})


@dataclass(frozen=True)
class Leftover:
    """Something that goes.

    Args:
        kind: What it is.
        name: Address of the table or object.
        size: Bytes.
    """

    kind: Literal["table", "object"]
    name: str
    size: int


def retired_pipelines(settings: StoreSettings) -> list[str]:
    """Name the pipelines on a store that are retired, sorted."""
    names = ObjectStore(settings).folders(f"s3://{LAKE}")
    return [name for name in names if Registry(Lake(settings, name)).retired()]


def state(lake: Lake, moment: datetime) -> tuple[bool, str]:
    """Tell whether what is left of a pipeline is to be removed, and what a plan says of it.

    Args:
        lake: The pipeline's tables.
        moment: The present moment, naive UTC.
    """
    registry = Registry(lake)
    told = registry.retired()
    if not told:
        return False, ""
    if retiring.is_due(registry.events(), moment) and recorded(lake) is None:
        return False, f"The pipeline is {told}; nothing goes before its archive is there."
    return retiring.is_due(registry.events(), moment), f"The pipeline is {told}."


def leftovers(lake: Lake) -> Iterator[Leftover]:
    """List what is left of a retired pipeline and goes."""
    store, root = ObjectStore(lake.settings), f"s3://{LAKE}/{lake.pipeline}/"
    tables = take_inventory(lake).tables.keys() - _TABLES
    listed: set[str] = set()
    for table in sorted(tables):
        items = list_table(lake, table)
        listed |= {item.uri for item in items}
        yield Leftover("table", lake.uri(table), sum(item.size for item in items))
    for item in store.list(root):
        folder, _, rest = item.uri.removeprefix(root).partition("/")
        about = rest.partition("/")[0] if folder in ("lineage", "drafts") else folder
        if item.uri not in listed and folder not in _FOLDERS and about not in _TABLES:
            yield Leftover("object", item.uri, item.size)
    pages = f"s3://{REPORTS}/{lake.pipeline}/"
    for item in store.list(pages):
        if not item.uri.startswith(f"{pages}maintenance/"):
            yield Leftover("object", item.uri, item.size)
    for folder in trial_folders(lake.pipeline):
        for item in store.list(folder):
            yield Leftover("object", item.uri, item.size)


def begin(lake: Lake, moment: datetime, origin: Origin) -> bool:
    """Put on record that the tables go, if they may; returns whether they do.

    Args:
        lake: The pipeline's tables.
        moment: The present moment, naive UTC.
        origin: Who removes them.

    Raises:
        RegistryError: If there is no archive, or it is not what was written.
    """
    registry = Registry(lake)
    found = retirement.find(registry.events())
    if found is not None and found.removed_at is None and found.until <= moment:
        archive = demand_archive(lake)
        registry.add(
            lambda held: retiring.remove(held, lake.pipeline, moment, str(archive), origin), origin
        )
    events = registry.events()
    record(lake, events, origin)
    found = retirement.find(events)
    return found is not None and found.removed_at is not None


def remove(lake: Lake, found: Sequence[Leftover]) -> None:
    """Remove what goes; again, if somebody was killed."""
    store = ObjectStore(lake.settings)
    store.connect()
    for item in found:
        if item.kind == "table":
            remove_table(lake, item.name.rpartition("/")[2])
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(store.delete, [item.name for item in found if item.kind == "object"]))
