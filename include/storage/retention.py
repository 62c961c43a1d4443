"""How long the versions of a table stay: until maintenance, which knows what refers to them."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError

from include.errors import SettingsError

# By default delta-rs deletes logs after 30 days as it writes checkpoints, and a vacuum the files
# of versions that were replaced a week ago. Models and lineage refer to versions for ever.
EVERY_VERSION = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


# How long what was replaced stays readable, unless a deployment says otherwise; and the shortest
# time, in which whoever waits (await_training does so for a week) still finds what it began with.
DAYS = 90
LEAST_DAYS = 14
_MOST_DAYS = 36_500


def retention(days: str | int) -> timedelta:
    """Turn the setting of a deployment into a time.

    Raises:
        SettingsError: If it is no whole number of days, or too few.
    """
    try:
        number = int(days)
    except ValueError:
        number = 0
    if not LEAST_DAYS <= number <= _MOST_DAYS:
        raise SettingsError(
            f"retention {days!r}: must be a whole number of days from {LEAST_DAYS} to "
            f"{_MOST_DAYS}, got something else. Correct the Airflow variable or the option."
        )
    return timedelta(days=number)


def keep_versions(delta: DeltaTable) -> None:
    """Keep every version of a table that an earlier release made, from its next write on."""
    if EVERY_VERSION.items() <= delta.metadata().configuration.items():
        return
    # Whoever writes at the same moment sets it too, or the next writer does.
    with suppress(CommitFailedError):
        delta.alter.set_table_properties(
            EVERY_VERSION,
            commit_properties=CommitProperties(max_commit_retries=0),
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )
