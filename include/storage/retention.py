"""How long the versions of a table stay: until maintenance, which knows what refers to them."""

from __future__ import annotations

from contextlib import suppress

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError

# By default delta-rs deletes logs after 30 days as it writes checkpoints, and a vacuum the files
# of versions that were replaced a week ago. Models and lineage refer to versions for ever.
EVERY_VERSION = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


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
