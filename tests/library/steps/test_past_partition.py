"""A run about a past partition, triggered today, sees what a run at that time saw."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from include.calendar.partitions import Frequency, Partition, parse
from include.features.known_labels import known_labels, mature_as_of
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.specification.pipeline import Pipeline
from include.steps import monitoring
from include.storage import ledger
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.training.training_sets import build_training_set

QUARTERS = ("2004-Q3", "2004-Q4", "2005-Q1", "2005-Q2", "2005-Q3", "2005-Q4")
NOW = parse("2005-Q1", Frequency.QUARTERLY)


@pytest.fixture
def pipeline(make_pipeline: Any) -> Pipeline:
    made: Pipeline = make_pipeline(
        training={"window": 2, "holdout": 1},
        retraining={"when": ["drift"], "persist": "1 of 2", "cooldown": 1, "budget": "2 in 4"},
    )
    return made


class Arrivals:
    """Writes everything that a quarter brings to the tables, whatever is there already."""

    def __init__(self, lake: Lake, pipeline: Pipeline, origin: Origin) -> None:
        self.lake, self.pipeline, self.origin = lake, pipeline, origin
        self.registry = Registry(lake)

    def come(self, name: str) -> None:
        """Let a quarter come: rows, labels, a drift verdict, a decision, a training, a champion."""
        quarter = parse(name, Frequency.QUARTERLY)
        position = QUARTERS.index(name)
        origin = replace(self.origin, dag_run_id=f"run {name}")
        ids = range(100 * position, 100 * position + 20)
        rows = {"id": ids, "at": quarter.start, "x": [float(i) for i in ids]}
        self.write("features", name, pd.DataFrame(rows))
        self.write("labels", name, pd.concat(self.labels(quarter, position), ignore_index=True))
        verdict = {
            "verdict": "drift" if position % 2 else "no drift",
            "reason": "",
            "details": "{}",
        }
        self.write("drift", name, pd.DataFrame([{**verdict, "model_version": 1}]))
        for kind, decision in (("retraining", "yes"), ("training", "promoted")):
            ledger.record(self.lake, kind, name, decision, "", origin=origin)  # type: ignore[arg-type]
        version = ModelVersion(self.lake.pipeline, position + 1, name, "r", "c", ("x",), (), {}, {})
        self.registry._append(
            "registered", version.version, name, "", "", version.to_dict(), origin
        )
        effective = str(quarter.shift(1))
        self.registry._append("promoted", version.version, name, effective, "", {}, origin)

    def labels(self, quarter: Partition, position: int) -> list[pd.DataFrame]:
        """Label the quarter before, and correct what was said two quarters ago.

        The corrections land now and say that they had been known for long.
        """
        found = []
        for back, known in ((1, quarter.start), (2, quarter.shift(-2).start), (3, quarter.start)):
            if position >= back:
                ids = list(range(100 * (position - back), 100 * (position - back) + 20))
                label = [float((i + back) % 2) for i in ids]
                found.append(pd.DataFrame({"id": ids, "label": label, "known_at": known}))
        empty = {"id": pd.Series(dtype="int64"), "label": pd.Series(dtype="float64")}
        return found or [pd.DataFrame({**empty, "known_at": pd.Series(dtype="datetime64[us]")})]

    def write(self, table: str, name: str, frame: pd.DataFrame) -> None:
        """Write a partition of a table."""
        rows = with_partition(pa.Table.from_pandas(frame, preserve_index=False), name)
        self.lake.write(table, rows, partitions=[name], origin=self.origin)

    def seen(self) -> dict[str, Any]:
        """Tell what a run about NOW sees and decides."""
        known = known_labels(self.lake, NOW).sort_values(["id", "known_at", "label"])
        champion = self.registry.require_champion(NOW)
        training_set = build_training_set(self.lake, self.pipeline, NOW, self.origin)
        trained = self.lake.read(
            "training_sets", partitions=[str(NOW)], version=training_set.reference.version
        )
        again = replace(self.origin, dag_run_id=f"again {datetime.now()}")
        return {
            "labels": known.to_json(),
            "mature": mature_as_of(self.lake, self.pipeline, NOW),
            "champion": champion.to_dict(),
            "training set": json.dumps(
                sorted(map(str, trained.drop_columns(["partition"]).to_pylist()))
            ),
            "decision": monitoring.decide(self.lake, self.pipeline, NOW, again).to_dict(),
        }


def test_nothing_that_came_later_is_seen(lake: Lake, pipeline: Pipeline, origin: Origin) -> None:
    arrivals = Arrivals(lake, pipeline, origin)
    for name in QUARTERS[:3]:
        arrivals.come(name)
    then = arrivals.seen()
    assert then["champion"]["version"] == 2  # that of 2005-Q1 is in use from the next quarter on
    assert "2004-Q4" in then["mature"]
    for name in QUARTERS[3:]:
        arrivals.come(name)
    assert arrivals.seen() == then
    # What later quarters decided stays as it is.
    later = [entry for entry in ledger.entries(lake) if entry.partition > str(NOW)]
    assert {entry.dag_run_id for entry in later} == {f"run {name}" for name in QUARTERS[3:]}
