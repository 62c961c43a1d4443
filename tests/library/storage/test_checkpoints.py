"""A commit whose checkpoint cannot be written fails after it was made: done again, nothing doubles.

delta-rs writes a checkpoint after so many commits, and a pointer to it, and raises if it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from deltalake.exceptions import DeltaError

from include.storage import ledger
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.table_properties import PROPERTIES
from stack.embedded.layout import Layout
from stack.torture.gate import Gate, Rule, in_front
from tests.conftest import free_ports

INTERVAL = int(PROPERTIES["delta.checkpointInterval"])
NAMES = [f"2020-{month:02}" for month in range(1, INTERVAL + 2)]


@contextmanager
def refusing(lake: Lake, path: str, folder: Path) -> Iterator[tuple[Lake, Gate]]:
    """The tables behind a store that refuses what a path matches, as often as delta-rs asks."""
    host, _, upstream = str(lake.settings.endpoint_url).rpartition(":")
    (port,) = free_ports(1)
    with in_front(Layout(folder), port, int(upstream)) as gate:
        gate.arm(Rule(fault=1, action="error 500", method="PUT", path=path, times=11))
        settings = lake.settings.model_copy(update={"endpoint_url": f"{host}:{port}"})
        yield Lake(settings, lake.pipeline), gate


def write_all(write: Callable[[str], object]) -> list[str]:
    """Write every partition, again where it failed, as Airflow does; returns where it failed."""
    failed = []
    for name in NAMES:
        try:
            write(name)
        except (OSError, DeltaError):
            failed.append(name)
            write(name)
    return failed


def test_rows_of_a_partition_are_there_once(lake: Lake, origin: Origin, tmp_path: Path) -> None:
    with refusing(lake, r"\.checkpoint\.parquet$", tmp_path) as (harmed, gate):

        def write(name: str) -> None:
            rows = with_partition(pa.table({"id": [f"{name}/{n}" for n in range(3)]}), name)
            harmed.write("rows", rows, partitions=[name], origin=origin)

        assert write_all(write)
    assert gate.hits
    assert lake.row_counts("rows") == dict.fromkeys(NAMES, 3)
    ids = lake.read("rows")["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 3 * len(NAMES)


def test_decisions_are_there_once(lake: Lake, tmp_path: Path) -> None:
    with refusing(lake, "/_last_checkpoint$", tmp_path) as (harmed, gate):

        def decide(name: str) -> None:
            origin = Origin("p_score", f"run {name}", "decide_retraining")
            ledger.record(harmed, "retraining", name, "no", "nothing moved", origin=origin)

        assert write_all(decide)
    assert gate.hits
    assert [entry.partition for entry in ledger.entries(lake)] == NAMES
