"""What `./relevo run` leaves of a pipeline on the store, under a name of its own."""

from __future__ import annotations

from include.specification.trial_names import trial_name
from include.storage.object_store import ObjectStore
from include.storage.settings import LAKE, REPORTS


def trial_folders(pipeline: str) -> tuple[str, ...]:
    """Name the folders that a trial run fills."""
    return tuple(f"s3://{bucket}/{trial_name(pipeline)}/" for bucket in (LAKE, REPORTS))


def remove_trial(store: ObjectStore, pipeline: str) -> int:
    """Remove all that the latest trial run has left; returns how many objects."""
    return sum(store.delete_below(folder) for folder in trial_folders(pipeline))
