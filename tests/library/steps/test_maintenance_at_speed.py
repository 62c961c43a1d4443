"""The short form of ``bench.maintenance``: days of runs that replace, with daily maintenance."""

from __future__ import annotations

import uuid

from bench.maintenance import World, simulate
from include.steps.monitoring import DRIFT, rows
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.settings import StoreSettings

DAYS, HOURS, PARTITIONS = 4, 4, 2


def test_files_and_bytes_of_what_is_replaced_stay(store_settings: StoreSettings) -> None:
    lake = Lake(store_settings, f"p{uuid.uuid4().hex[:12]}")
    days = list(simulate(lake, DAYS, World(PARTITIONS, retention=1, batch=20, hours=HOURS)))
    files, sizes = ([day.data[at] for day in days] for at in (0, 1))
    # Of seven tables those of the runs of a day or two stay, and what they replaced; each entry
    # of the ledger is a file until it is put together. Without maintenance there were 128.
    assert max(files) <= 7 * (PARTITIONS + 2 * HOURS) + HOURS * DAYS
    # How old a file is the store tells by the second, so how many stay a day is left to chance;
    # how large they are is not.
    assert sizes[-1] / files[-1] <= 1.2 * sizes[0] / files[0]
    # Whatever was removed: the tables hold the last run about each partition, and every decision.
    assert {row["run"] for row in rows(lake, DRIFT)} == {14, 15}
    assert len(ledger.entries(lake)) == DAYS * HOURS
