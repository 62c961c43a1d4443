"""Which generations of a table there are, told by the store.

The file knows those of now and of next alone: sections are taken out of it again, and what was
filled for them stays.
"""

from __future__ import annotations

from include.specification.generations import is_one_of
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import LAKE


def stored_generations(lake: Lake, *firsts: str) -> tuple[str, ...]:
    """Name all generations of tables that were ever begun and not removed, sorted.

    Args:
        lake: The pipeline's tables.
        firsts: Names of the first generations.
    """
    folders = ObjectStore(lake.settings).folders(f"s3://{LAKE}/{lake.pipeline}/")
    return tuple(name for name in folders if any(is_one_of(name, first) for first in firsts))
