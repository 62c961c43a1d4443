"""Scoring with profiling on Spark, against one plain process per core without Spark or profiling.

    ./relevo demo && .venv/bin/python -m bench.scoring --rows 2000000

Both read the same Parquet files of a Delta table on the store, predict with the same verified
model, and write their predictions back to the store.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.stack import connect_settings
from include.registry.champions import Registry
from include.registry.model_files import MODEL, ModelVersion, load_model, prepare
from include.scoring import batch_scoring
from include.spark.session import connect
from include.specification import pipeline_file
from include.storage.data_files import write_files
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings

PARTITION = "2005-Q1"
ORIGIN = Origin("bench", "scoring", "bench")


def main() -> None:
    """Make the table, run both in turns, print seconds and the ratio of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    settings = connect_settings()
    pipeline = pipeline_file.load("loan_default")
    champion = Registry(Lake(settings.store, "loan_default")).get(1)
    lake = Lake(settings.store, "bench")
    features = _make_table(settings.store, lake, options.rows, options.files)
    paths = [f"{lake.uri('features')}/{file.path}" for file in lake.files(features)]
    seconds: dict[str, list[float]] = {"spark": [], "plain": []}
    with connect(settings.spark_remote) as spark:
        run_spark = partial(batch_scoring.score, spark, lake, pipeline, features, champion, ORIGIN)
        run_spark()  # warms the Python workers, as in a deployment
        for _ in range(options.rounds):
            seconds["spark"].append(_timed(run_spark))
            seconds["plain"].append(_timed(partial(_score_plain, champion, paths)))
    spark_median, plain_median = (statistics.median(seconds[name]) for name in ("spark", "plain"))
    per_row = 1e6 / options.rows
    print(f"rows {options.rows:,} in {options.files} files, {os.cpu_count()} cores")
    print(f"spark, with profiling  {spark_median:6.1f} s  {spark_median * per_row:5.2f} us a row")
    print(f"one process per core   {plain_median:6.1f} s  {plain_median * per_row:5.2f} us a row")
    print(f"ratio                  {spark_median / plain_median:6.2f}  (budget 1.25)")


def _make_table(settings: StoreSettings, lake: Lake, rows: int, files: int):
    source = Lake(settings, "loan_default").read("features", partitions=[PARTITION])
    rng = np.random.default_rng(7)
    written = []
    for _ in range(files):
        part = source.take(pa.array(rng.integers(0, source.num_rows, rows // files)))
        written += write_files(settings, lake.uri("features"), with_partition(part, PARTITION))
    return lake.commit("features", written, source.schema, partitions=[PARTITION], origin=ORIGIN)


def _score_plain(champion: ModelVersion, paths: list[str]) -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(_score_file, champion), paths))


def _score_file(champion: ModelVersion, path: str) -> None:
    settings = StoreSettings.from_environment()
    filesystem = settings.filesystem()
    model = load_model(settings, champion.files[MODEL])
    columns = ["loan_id", *champion.numeric, *champion.categorical]
    rows = pq.read_table(settings.path(path), filesystem=filesystem, columns=columns)
    prepared = prepare(to_pandas(rows), champion.numeric, champion.categorical)
    scores = pa.array(model.predict_proba(prepared)[:, 1])
    target = f"lake/bench/plain/{uuid.uuid4().hex}.parquet"
    pq.write_table(
        pa.table({"loan_id": rows["loan_id"], "score": scores}), target, filesystem=filesystem
    )


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
