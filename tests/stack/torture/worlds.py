"""A small world in which everything holds, to plant violations in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from stack.torture.observation import Row, World

MOMENT = datetime(2026, 1, 1)
MODEL, DIGEST = "s3://lake/p/models/a/model.skops", "a" * 64
PARTITIONS = ("2020-04", "2020-05")


def entry(key: str, kind: str, partition: str, decision: str, reason: str = "because") -> Row:
    return {
        "key": key,
        "kind": kind,
        "partition": partition,
        "decision": decision,
        "reason": reason,
        "recorded_at": MOMENT,
    }


def event(
    kind: str,
    version: int,
    partition: str,
    effective_from: str = "",
    *,
    sequence: int = 9,
    **details: Any,
) -> Row:
    if kind == "registered":
        details = {"candidate": "knn", "files": {"model.skops": [MODEL, DIGEST]}}
    return {
        "key": f"{kind}/{version}",
        "event": kind,
        "version": version,
        "partition": partition,
        "effective_from": effective_from,
        "details": json.dumps(details),
        "recorded_at": MOMENT,
        "sequence": sequence,
    }


def sound(pipeline: str = "p") -> World:
    """Make a world: two partitions of two good and one bad loan, one version, one decision."""
    names = [(f"{partition}/{number}", partition) for partition in PARTITIONS for number in (1, 2)]

    def rows(**columns: Any) -> list[Row]:
        return [{"loan_id": i, "partition": p, **columns} for i, p in names]

    quarantined = [{"_row": 3, "partition": partition} for partition in PARTITIONS]
    return World(
        pipeline=pipeline,
        tables={
            "raw_loans": rows(x=1.0),
            "quarantine_loans": quarantined,
            "raw_outcomes": rows(bad=0),
            "labels": rows(label=0),
            "features": rows(x=1.0),
            "predictions": rows(score=0.5, model_version=1, back_scored=False),
            "profiles": [{"partition": p, "model_version": 1} for p in PARTITIONS],
            "drift": [
                {"partition": p, "reason": f"{pipeline}: version 1 is fine", "model_version": 1}
                for p in PARTITIONS
            ],
            "ledger": [
                entry("training/2020-03/first/started", "training", "2020-03", "started"),
                entry("training/2020-03/first/promoted", "training", "2020-03", "promoted"),
                entry("retraining/2020-04/a", "retraining", "2020-04", "no"),
            ],
            "registry": [
                event("registered", 1, "2020-03", sequence=1),
                event("promoted", 1, "2020-03", "2020-04", sequence=2),
            ],
        },
        landed={
            "loans": dict.fromkeys(PARTITIONS, 3),
            "outcomes": dict.fromkeys(PARTITIONS, 2),
        },
        files={MODEL: DIGEST},
        runs={"r": "FINISHED"},
        versions=frozenset({1}),
        alias=1,
    )


def with_rows(world: World, table: str, rows: list[Row]) -> World:
    """Replace the rows of a table."""
    return replace(world, tables={**world.tables, table: rows})
