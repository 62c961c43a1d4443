"""What every table is told when it is made: to keep its versions, and to sum its log up often."""

from __future__ import annotations

from contextlib import suppress

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError

# By default delta-rs deletes logs after 30 days as it writes checkpoints, and a vacuum the files
# of versions that were replaced a week ago. Models and lineage refer to versions for ever, so they
# stay until maintenance, which knows what refers to them. Whoever opens a table reads the commits
# since its latest checkpoint, by default up to a hundred.
PROPERTIES = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.checkpointInterval": "10",
}


def set_properties(delta: DeltaTable) -> None:
    """Give a table that an earlier release made the properties, from its next write on."""
    if PROPERTIES.items() <= delta.metadata().configuration.items():
        return
    # Whoever writes at the same moment sets it too, or the next writer does.
    with suppress(CommitFailedError):
        delta.alter.set_table_properties(
            PROPERTIES,
            commit_properties=CommitProperties(max_commit_retries=0),
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )
