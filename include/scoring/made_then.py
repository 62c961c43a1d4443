"""Which predictions of a partition were made then: by whoever was to score it, as its rows were.

The first scoring of a partition makes them. Scoring it again is left to the same version, and gives
the same rows from the same features. From others the rows of now replace them in the table, are
marked ``back_scored``, and their commit names the version of the table that holds those made then.
What ``measure_performance`` scores itself, because nobody had, was never made then. Whoever
reprocesses a partition wants the rows of now to count: those are judged from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from include.scoring.batch_scoring import TABLE
from include.specification.generations import FEATURES, is_one_of
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import ROW_ID
from include.storage.data_files import DataFile, open_data_file
from include.storage.lake_tables import Lake
from include.storage.lineage import TableReference
from include.storage.lineage_records import PartitionCommits, Written, written
from include.storage.parquet import open_parquet

DETAIL = "made_then"
# Names the run of a person who asked that predictions take the place of those made then.
REPROCESSED = "reprocessed"
_BATCH_ROWS = 131_072
_RECENT = 50  # commits; whoever scores again mostly scores again what is recent


def made_then(
    lake: Lake, partition: str, commits: PartitionCommits | None = None
) -> TableReference | None:
    """Find the predictions of a partition that were made then, at the version that holds them.

    Args:
        lake: The pipeline's tables.
        partition: Name of the partition.
        commits: Those of ``predictions``, of whoever asks about many partitions.

    Returns:
        A partition of ``predictions``; None if nobody scored it then.
    """
    if not lake.row_counts(TABLE).get(partition):
        return None
    held = lake.reference(TABLE, partition)
    if not _is_back_scored(lake, held):
        return held
    last = _last_commit(lake, partition, held.version, commits)
    if last is None or DETAIL not in last.details:
        return None
    then = TableReference(lake.pipeline, TABLE, int(last.details[DETAIL]), partition, 0)
    return replace(then, rows=sum(file.rows for file in lake.files(then)))


def to_judge(
    lake: Lake, pipeline: Pipeline, partition: str, commits: PartitionCommits | None = None
) -> tuple[TableReference | None, bool]:
    """Find the predictions of a partition that its labels go with.

    Those are the ones made then, unless the partition was reprocessed. Also, rows that are known by
    their place in a file are other rows in a file that was corrected, and its labels go with the
    predictions for it.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        partition: Name of the partition.
        commits: Those of ``predictions``, of whoever asks about many partitions.

    Returns:
        (a partition of ``predictions``, or None if nobody scored it then; whether they were made
        then).
    """
    then = made_then(lake, partition, commits)
    if then is None:
        return None, False
    if pipeline.entity != ROW_ID and reprocessed_for(lake, then, commits) is None:
        return then, True
    now = lake.reference(TABLE, partition)
    return now, now.version == then.version


def reprocessed_for(
    lake: Lake, then: TableReference, commits: PartitionCommits | None = None
) -> str | None:
    """Name the run of who asked that others take the place of predictions; None if nobody did."""
    version = int(lake.open(TABLE).version())
    if version == then.version:
        return None
    last = _last_commit(lake, str(then.partition), version, commits)
    return None if last is None else last.details.get(REPROCESSED)


def made_by(lake: Lake, predictions: TableReference) -> int:
    """Name the model version that made predictions."""
    models = lake.read(
        TABLE,
        partitions=[str(predictions.partition)],
        columns=["model_version"],
        version=predictions.version,
    )
    return int(models["model_version"][0].as_py())


def are_other_rows(lake: Lake, then: TableReference, features: TableReference) -> bool:
    """Tell whether features hold other rows than were scored then.

    Args:
        lake: The pipeline's tables.
        then: The predictions made then.
        features: What is scored now.
    """
    last = _last_commit(lake, str(then.partition), then.version)
    read = [item for item in last.inputs if is_one_of(item.table, FEATURES)] if last else []
    # A release that did not name partitions in the log: nobody knows which rows it scored.
    return bool(read) and not _same_rows(lake, read[0], features)


def _is_back_scored(lake: Lake, held: TableReference) -> bool:
    marks = lake.read(
        TABLE, partitions=[str(held.partition)], columns=["back_scored"], version=held.version
    )
    return bool(pc.any(marks["back_scored"]).as_py())


def _last_commit(
    lake: Lake, partition: str, version: int, commits: PartitionCommits | None = None
) -> Written | None:
    """Find the commit that wrote what the partition holds at a version of the table."""
    if commits is not None:
        return commits.until(partition, version)
    for latest in (_RECENT, None):
        for item in reversed(written(lake, TABLE, latest)):
            if item.version <= version and partition in item.partitions:
                return item
    return None


def _same_rows(lake: Lake, left: TableReference, right: TableReference) -> bool:
    """Compare a partition of the features at two versions, in whatever order its rows lie."""
    if left.table != right.table:
        return False
    files = [lake.files(reference) for reference in (left, right)]
    if {file.path for file in files[0]} == {file.path for file in files[1]}:
        return True
    return _digest(lake, left.table, files[0]) == _digest(lake, left.table, files[1])


def _digest(lake: Lake, table: str, files: Iterable[DataFile]) -> tuple[int, int, int]:
    """Count rows and add up their hashes, a batch at a time."""
    root = lake.uri(table)
    rows = total = mixed = 0
    with duckdb.connect() as connection:
        for file in files:
            with open_data_file(lake.settings, f"{root}/{file.path}") as source:
                for batch in open_parquet(source).iter_batches(_BATCH_ROWS):
                    # Numbered, because a column may have any name.
                    columns = [batch[name] for name in sorted(batch.schema.names)]
                    numbered = pa.table(columns, names=[f"_{at}" for at in range(len(columns))])
                    connection.register("landed", numbered)
                    ((count, added, xored),) = connection.execute(
                        "select count(*), sum(hash(landed)::hugeint), bit_xor(hash(landed)) "
                        "from landed"
                    ).fetchall()
                    rows, total, mixed = rows + count, total + (added or 0), mixed ^ (xored or 0)
    return rows, total, mixed
