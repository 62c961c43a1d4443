"""Two weeks of hourly runs with daily maintenance, at speed: what the lake holds, what a run takes.

    .venv/bin/python -m bench.maintenance

Each run drafts, validates, commits, scores, watches and decides as the tasks of a scoring run write
and read, on real Delta tables on the store of the running stack (or the one that RELEVO_STORE_*
names), without Spark and suites, so that what the tables cost is all that is measured. It replaces
one of ``--partitions`` hourly partitions. A day ends when 24 runs have; what was replaced more than
``--retention`` such days ago may go.
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

import numpy as np
import pyarrow as pa

from include.calendar.partitions import Frequency, parse
from include.registry.champions import PROFILES, Registry
from include.steps.maintenance import AirflowRuns, Maintenance
from include.steps.monitoring import DRIFT, PERFORMANCE, rows
from include.storage import drafts, ledger
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore
from include.storage.settings import LAKE, REPORTS
from stack.commands.store_access import store_settings
from stack.embedded.layout import Layout

FIRST = parse("2026-01-01T00", Frequency.HOURLY)
RETENTION = timedelta(days=90)
NOBODY = AirflowRuns(open_since=lambda dags: None, is_open=lambda dag, run: False)


@dataclass(frozen=True)
class Day:
    """What one simulated day ended with.

    Args:
        seconds: Median of its runs.
        data: (files, bytes) of data.
        log: (files, bytes) of logs and records, which say who wrote what and stay.
        upkeep: Seconds that maintenance took.
    """

    seconds: float
    data: tuple[int, int]
    log: tuple[int, int]
    upkeep: float


def main() -> None:
    """Simulate, print a line for each day and the ratios, and remove what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--partitions", type=int, default=24)
    parser.add_argument("--retention", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--never", action="store_true", help="without maintenance, to compare")
    options = parser.parse_args()
    settings = store_settings(Layout.from_environment())
    aged, young = (Lake(settings, f"bench_{uuid.uuid4().hex[:8]}") for _ in range(2))
    world = World(options.partitions, None if options.never else options.retention, options.rows)
    settled = options.retention + 1
    try:
        print("day   run, median    upkeep    data files and bytes     log files and bytes")
        days = []
        for number, day in enumerate(simulate(aged, options.days, world), 1):
            days.append(day)
            data, log = (
                f"{files:8,} {size / 2**20:9.2f} MB" for files, size in (day.data, day.log)
            )
            told = f"{number:3} {day.seconds:10.3f} s {day.upkeep:7.2f} s {data} {log}"
            print(told, flush=True)
        list(simulate(young, settled, world))
        ratio = side_by_side(aged, young, world)
    finally:
        for lake, bucket in product((aged, young), (LAKE, REPORTS)):
            ObjectStore(settings).delete_below(f"s3://{bucket}/{lake.pipeline}/")
    first, last = days[settled - 1], days[-1]
    print(f"after day {options.days} over after day {settled}:")
    print(f"  a run, side by side {ratio:6.2f}  (budget 1.2)")
    print(f"  data files          {last.data[0] / first.data[0]:6.2f}  (flat: 1.0)")
    print(f"  data bytes          {last.data[1] / first.data[1]:6.2f}  (flat: 1.0)")


@dataclass(frozen=True)
class World:
    """What is simulated.

    Args:
        partitions: How many hourly partitions there are; later runs replace them in turn.
        retention: Simulated days that what was replaced stays; None to never maintain.
        batch: Rows of a partition.
        hours: Runs of a day.
    """

    partitions: int
    retention: int | None
    batch: int
    hours: int = 24


def simulate(lake: Lake, days: int, world: World) -> Iterator[Day]:
    """Run and maintain; yields each day when it has ended."""
    began: list[datetime] = []
    for day in range(days):
        began.append(datetime.now(UTC))
        hours = range(day * world.hours, (day + 1) * world.hours)
        seconds = [_timed(partial(run, lake, hour, world)) for hour in hours]
        upkeep = 0.0
        if world.retention is not None:
            # What was replaced before this day began is past its retention.
            cutoff = began[max(0, day + 1 - world.retention)]
            upkeep = _timed(partial(_maintain, lake, f"day {day}", cutoff))
        usage = take_inventory(lake).usage
        data, log, records = (usage.get(kind, (0, 0)) for kind in ("data", "log", "records"))
        told = (log[0] + records[0], log[1] + records[1])
        yield Day(statistics.median(seconds), data, told, upkeep)


def side_by_side(aged: Lake, young: Lake, world: World) -> float:
    """Run another day in both, in turns; returns the ratio of the medians."""
    seconds: dict[Lake, list[float]] = {aged: [], young: []}
    for hour in range(world.hours):
        for lake, found in seconds.items():
            found.append(_timed(partial(run, lake, 1_000_000 + hour, world)))
    return statistics.median(seconds[aged]) / statistics.median(seconds[young])


def _maintain(lake: Lake, name: str, cutoff: datetime) -> None:
    maintenance = Maintenance(lake, NOBODY, RETENTION)
    maintenance.plan(name, cutoff + RETENTION)
    maintenance.carry_out(name, cutoff + RETENTION)


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(lake: Lake, number: int, world: World) -> None:
    """Write and read what the tasks of a scoring run do."""
    partition, batch = str(FIRST.shift(number % world.partitions)), world.batch
    origin = Origin(f"{lake.pipeline}_score", f"run_{number}", "task")
    landed = _rows(partition, number, batch)
    raw = _prepare(lake, "raw_trips", landed, origin)
    lake.write("quarantine_trips", landed.slice(0, 2), partitions=[partition], origin=origin)
    features = _prepare(lake, "features", landed, origin.reading(raw))
    Registry(lake).promoted_for(parse(partition, Frequency.HOURLY))
    predictions = lake.write(
        "predictions", landed, partitions=[partition], origin=origin.reading(features)
    )
    for table in (PROFILES, DRIFT, PERFORMANCE):
        told = with_partition(pa.table({"details": ["x" * 2_000], "run": [number]}), partition)
        lake.write(table, told, partitions=[partition], origin=origin.reading(predictions))
    for table in (DRIFT, PERFORMANCE):
        rows(lake, table)
    ledger.training_states(lake)
    ledger.record(lake, "retraining", partition, "no", f"Run {number} saw no drift.", origin=origin)


def _prepare(lake: Lake, table: str, landed: pa.Table, origin: Origin) -> TableReference:
    """Draft, read the draft, and commit it, as ingesting and validating do."""
    (partition,) = set(landed["partition"].to_pylist())
    draft = drafts.write(lake, table, landed, partitions=[partition], origin=origin)
    manifest = drafts.load(lake, draft)
    drafts.read(lake, draft, manifest, partition)
    return lake.commit(
        table, manifest.of(partition), manifest.schema, partitions=[partition], origin=origin
    )


def _rows(partition: str, number: int, batch: int) -> pa.Table:
    values = np.random.default_rng(number).normal(size=(4, batch))
    columns = {"trip": [f"{number}/{row}" for row in range(batch)]}
    columns |= {f"x{at}": column for at, column in enumerate(values)}
    return with_partition(pa.table(columns), partition)


if __name__ == "__main__":
    main()
