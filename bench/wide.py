"""What our checks and descriptions of a wide table cost, against fitting the proposed candidates.

    .venv/bin/python -m bench.wide --columns 2000 --rows 400

Both in this process, without servers, in CPU seconds: the suites that `./relevo new` proposes, on
the source, the features and the training set, and the exploratory table; then the search and the
fit of each candidate that it proposes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from include.development.scaffold import writing
from include.development.scaffold.proposal import Place, Wish, propose
from include.development.scaffold.sampling import read_file
from include.quality.suites import load_suite
from include.quality.validation import validate
from include.registry.model_files import prepare
from include.reports.exploration_report import describe_features
from include.specification import pipeline_file
from include.specification.problem import Problem
from include.storage.data_frames import to_pandas
from include.training.search import train_candidate
from include.training.training_sets import TrainingData

NAME = "wide"
SUITES = ("records", "features")


def main() -> None:
    """Make a table, check it, fit on it, print CPU seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        table = _make_table(options.rows, options.columns)
        pq.write_table(table, root / "rows.parquet")
        wish = Wish(NAME, target="y", entity="id")
        place = Place(uri=writing.default_uri(NAME))

        def scaffold() -> None:
            files = writing.render(propose(wish, place, read_file(root / "rows.parquet")))
            writing.write(files, root)

        _seconds("./relevo new", scaffold)
        checks = fits = 0.0
        suites = [load_suite(f"{NAME}_{kind}", root / "expectations") for kind in SUITES]
        count = sum(len(suite["expectations"]) for suite in suites)
        for kind, suite in zip(SUITES, suites, strict=True):
            # The training set is checked by the suite of the features once more.
            times = 2 if kind == "features" else 1
            checks += times * _seconds(
                f"suite of {kind}{', each of 2' if times == 2 else ''}",
                lambda suite=suite, kind=kind: validate(table, suite, source=kind, partition="x"),
            )
        data = _training_data(table)
        checks += _seconds(
            "exploration", lambda: describe_features("binary", data.features, data.labels, 7)
        )
        pipeline = pipeline_file.load(NAME, root / "include" / "pipelines")
    rules = pipeline.training
    for name, candidate in rules.candidates.items():
        fits += _seconds(
            name,
            lambda name=name, candidate=candidate: train_candidate(
                name, pipeline.candidate(name), data, rules, trials=candidate.trials
            ),
        )
    print(f"{options.rows:,} rows x {options.columns:,} columns, {count:,} expectations")
    print(f"checks / fits                {checks / fits:7.2f}  ({checks:.1f} s, {fits:.1f} s)")


def _make_table(rows: int, columns: int) -> pa.Table:
    generator = np.random.default_rng(7)
    values = generator.normal(size=(columns, rows))
    named = {f"c{number}": column for number, column in enumerate(values)}
    target = (values[:5].sum(axis=0) + generator.normal(size=rows) > 0).astype(int)
    return pa.table({"id": [f"k{row}" for row in range(rows)], **named, "y": target})


def _training_data(table: pa.Table) -> TrainingData:
    frame = to_pandas(table.drop_columns(["id", "y"]))
    return TrainingData(
        problem=Problem("binary"),
        features=prepare(frame, list(frame.columns), []),
        labels=table["y"].to_numpy(),
        partitions=np.full(len(frame), "snapshot-0001", dtype=object),
        numeric=tuple(frame.columns),
        categorical=(),
        holdout=np.arange(len(frame)) % 5 == 0,
        ordered=False,
    )


def _seconds(name: str, action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    seconds = time.process_time() - start
    # At once: a run that is stopped has told what it measured.
    print(f"{name:<28} {seconds:7.1f} s", flush=True)
    return seconds


if __name__ == "__main__":
    # As tasks and commands do: threads that wait for one another would count as work.
    with threadpool_limits(1):
        main()
