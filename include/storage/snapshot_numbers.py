"""Which snapshot a run is about, for data without a time (``partition: none``)."""

from __future__ import annotations

from include.calendar import partitions
from include.calendar.partitions import Frequency, Partition
from include.errors import PartitionError
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin


def next_snapshot(lake: Lake, origin: Origin) -> Partition:
    """Number a scoring run: one more than the latest; the same again for the same run.

    The number is taken by an entry of the ledger, so two runs never get the same one, and a task
    that runs again finds the number of its run.
    """
    while True:
        taken = taken_numbers(lake)
        mine = [partition for partition, run_id in taken.items() if run_id == origin.dag_run_id]
        if mine:
            return mine[0]
        free = partitions.snapshot(_latest_number(taken) + 1)
        take(lake, free, origin)


def snapshot_of(lake: Lake, origin: Origin) -> Partition:
    """Name the snapshot that a run took, or trains as of; takes none.

    Raises:
        PartitionError: If there is none, because nothing of the run has begun.
    """
    for entry in ledger.entries(lake, "snapshot", "training"):
        if entry.dag_run_id == origin.dag_run_id:
            return partitions.parse(entry.partition, Frequency.NONE)
    raise PartitionError(
        f"run {origin.dag_run_id}: must have begun to be about a snapshot, got none: its first "
        "tasks failed, or somebody marked it before. Clear it as a whole, or delete it."
    )


def latest_snapshot(lake: Lake, origin: Origin) -> Partition:
    """Name the latest snapshot, for a training that was asked for by hand; takes the first one.

    A training keeps the one that it started with, whatever is taken while it lasts.
    """
    for entry in ledger.entries(lake, "training"):
        if entry.dag_run_id == origin.dag_run_id:
            return partitions.parse(entry.partition, Frequency.NONE)
    taken = taken_numbers(lake)
    return max(taken) if taken else next_snapshot(lake, origin)


def take(lake: Lake, partition: Partition, origin: Origin) -> None:
    """Take a snapshot's number for a run, unless another run has it.

    Raises:
        PartitionError: If numbers before it are free: a snapshot can be no newer than the next one.
    """
    taken = taken_numbers(lake)
    following = partitions.snapshot(_latest_number(taken) + 1)
    if partition > following:
        raise PartitionError(
            f"partition {partition}: must be {following} or one before it, because snapshots are "
            "numbered in their order. Name none to take the next one."
        )
    ledger.record(
        lake,
        "snapshot",
        str(partition),
        "taken",
        f"Run {origin.dag_run_id} is about {partition}.",
        origin=origin,
    )


def taken_numbers(lake: Lake) -> dict[Partition, str]:
    """Tell which run took which snapshot."""
    return {
        partitions.parse(entry.partition, Frequency.NONE): entry.dag_run_id
        for entry in ledger.entries(lake, "snapshot")
    }


def _latest_number(taken: dict[Partition, str]) -> int:
    return max((int(str(partition).rpartition("-")[2]) for partition in taken), default=0)
