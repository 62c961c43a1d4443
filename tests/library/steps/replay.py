"""Scoring runs one by one, with the real steps on a real store, and a model that needs no Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa

from include.calendar.partitions import Frequency, Partition, parse
from include.registry.champions import PROFILES, Registry
from include.registry.model_files import ModelVersion
from include.scoring import batch_scoring
from include.specification.pipeline import Pipeline
from include.steps import monitoring
from include.steps.monitoring import decide, measure_performance
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference

VERSION = ModelVersion("p", 5, "2004-Q3", "run", "logistic_regression", ("x",), (), {}, {})
# When and where rows were written is no part of what they say.
_OF_THE_RUN = {"key", "dag_id", "dag_run_id", "task_id", "commit", "recorded_at", "sequence"}


def quarter(name: str) -> Partition:
    """Name a quarter."""
    return parse(name, Frequency.QUARTERLY)


def ids(name: str) -> list[str]:
    """Name the loans of a partition."""
    return [f"{name}-{letter}" for letter in "abcd"]


@dataclass
class Replay:
    """A quarterly pipeline of four loans a quarter, whose labels land in the two quarters after it.

    Args:
        lake: Its tables.
        pipeline: Its file.
    """

    lake: Lake
    pipeline: Pipeline

    def run(self, name: str) -> None:
        """Run all steps about a partition."""
        self.prepare(name)
        self.score(name)
        self.measure(name)
        self.decide(name)

    def prepare(self, *names: str) -> None:
        """Compute the features of partitions, and ingest the labels that land in them."""
        features, labels = [], []
        for name in names:
            at = pa.array([quarter(name).start] * 4, pa.timestamp("us"))
            features.append({"id": ids(name), "at": at, "x": [1.0, 2.0, 3.0, 4.0]})
            before = [ids(str(quarter(name).shift(-step))) for step in (1, 2)]
            known = [quarter(name).start + timedelta(days=9)] * 4
            labels.append(
                {
                    "id": [*before[0][:2], *before[1][2:]],
                    "label": [0, 1, 0, 1],
                    "known_at": pa.array(known, pa.timestamp("us")),
                }
            )
        self._write("features", names, features)
        self._write("labels", names, labels)

    def score(self, *names: str, back_scored: bool = False) -> None:
        """Predict partitions; at their time also profile, and compare."""
        scores = {"score": [0.1, 0.6, 0.4, 0.8], "model_version": [5] * 4}
        predicted = [{"id": ids(name), **scores} for name in names]
        self._write(
            batch_scoring.TABLE,
            names,
            [{**columns, "back_scored": [back_scored] * 4} for columns in predicted],
        )
        if not back_scored:
            version = {"model_version": [5]}
            drift = {"verdict": ["no drift"], "reason": ["r"], "details": ["{}"], **version}
            self._write(PROFILES, names, [version] * len(names))
            self._write(monitoring.DRIFT, names, [drift] * len(names))

    def measure(self, name: str) -> list[str]:
        """Judge what matured; returns the partitions."""
        registry = create_autospec(Registry, instance=True)
        registry.require_champion.return_value = registry.get.return_value = VERSION
        records = measure_performance(
            None, self.lake, registry, self.pipeline, quarter(name), self.origin(name)
        )
        return [record.partition for record in records]

    def decide(self, name: str) -> None:
        """Decide on retraining."""
        decide(self.lake, self.pipeline, quarter(name), self.origin(name))

    def judged(self) -> dict[str, list[str]]:
        """List by partition what it judged."""
        found: dict[str, list[str]] = {}
        for row in monitoring.rows(self.lake, monitoring.PERFORMANCE):
            found.setdefault(row["partition"], []).append(row["measured"])
        return {name: sorted(found[name]) for name in sorted(found)}

    def tables(self) -> dict[str, list[tuple[tuple[str, str], ...]]]:
        """Tell what each table says, in an order of its own."""
        names = ("features", "labels", batch_scoring.TABLE, PROFILES)
        return {
            table: sorted(
                tuple(sorted((key, str(row[key])) for key in row.keys() - _OF_THE_RUN))
                for row in self.lake.read_held(table).to_pylist()
            )
            for table in (*names, monitoring.DRIFT, monitoring.PERFORMANCE, "ledger")
        }

    def origin(self, name: str) -> Origin:
        """Name the run about a partition."""
        return Origin("p_score", f"scheduled__{name}", "task")

    def _write(self, table: str, names: Sequence[str], columns: Sequence[dict[str, Any]]) -> None:
        parts = [
            with_partition(pa.table(part), name) for name, part in zip(names, columns, strict=True)
        ]
        self.lake.write(
            table, pa.concat_tables(parts), partitions=names, origin=self.origin(names[-1])
        )


def back_score(
    spark: Any, lake: Lake, pipeline: Pipeline, features: TableReference, *_: Any, **how: Any
) -> SimpleNamespace:
    """Stand in for ``batch_scoring.score``."""
    name = str(features.partition)
    assert how.pop("replacing", None) in (None, lake.paths(batch_scoring.TABLE, name))
    Replay(lake, pipeline).score(name, **how)
    return SimpleNamespace(predictions=lake.reference(batch_scoring.TABLE, name))
