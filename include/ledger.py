"""The append-only table of decisions: the "no" as well as the "yes", with the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa

from include.lineage import Origin
from include.tables import Lake

TABLE = "ledger"
Kind = Literal["observation", "retraining", "promotion", "training", "rollback"]

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("kind", pa.string()),
        ("partition", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("evidence", pa.string()),
        ("dag_id", pa.string()),
        ("dag_run_id", pa.string()),
        ("task_id", pa.string()),
        ("commit", pa.string()),
        ("recorded_at", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True)
class Entry:
    """One decision.

    Args:
        kind: What was decided on: ``retraining`` (yes or no), ``promotion`` (promoted or
            refused), ``training`` (requested, started, promoted, refused or failed).
        partition: Partition that the decision is about.
        decision: The outcome.
        reason: One sentence for people.
        evidence: What the decision was made from, JSON-serialisable.
        dag_run_id: Run that decided.
        recorded_at: When, naive UTC.
    """

    kind: str
    partition: str
    decision: str
    reason: str
    evidence: Mapping[str, Any]
    dag_run_id: str
    recorded_at: datetime


def record(
    lake: Lake,
    kind: Kind,
    partition: str,
    decision: str,
    reason: str,
    *,
    origin: Origin,
    evidence: Mapping[str, Any] | None = None,
    step: str = "",
) -> bool:
    """Append a decision, once per kind, partition and run.

    Args:
        lake: The pipeline's tables.
        kind: What was decided on.
        partition: Partition that the decision is about.
        decision: The outcome.
        reason: One sentence for people.
        origin: Who decides; a task that is cleared and runs again adds nothing.
        evidence: What the decision was made from.
        step: Tells several entries of a kind in one run apart.

    Returns:
        Whether the entry is new.
    """
    row = {
        "key": "/".join((kind, partition, origin.dag_run_id, step)),
        "kind": kind,
        "partition": partition,
        "decision": decision,
        "reason": reason,
        "evidence": json.dumps(evidence or {}, sort_keys=True),
        "dag_id": origin.dag_id,
        "dag_run_id": origin.dag_run_id,
        "task_id": origin.task_id,
        "commit": origin.commit,
        "recorded_at": datetime.now(UTC).replace(tzinfo=None),
    }
    return bool(lake.append(TABLE, pa.Table.from_pylist([row], schema=_SCHEMA), origin=origin))


def entries(lake: Lake, *kinds: Kind) -> list[Entry]:
    """Read the decisions of some kinds (all if none is named), in the order of recording."""
    if not lake.exists(TABLE):
        return []
    rows = lake.read(TABLE).to_pylist()
    rows.sort(key=lambda row: (row["recorded_at"], row["key"]))
    return [
        Entry(
            kind=row["kind"],
            partition=row["partition"],
            decision=row["decision"],
            reason=row["reason"],
            evidence=json.loads(row["evidence"]),
            dag_run_id=row["dag_run_id"],
            recorded_at=row["recorded_at"],
        )
        for row in rows
        if not kinds or row["kind"] in kinds
    ]


def pending_trainings(lake: Lake) -> tuple[str, ...]:
    """List the partitions whose retraining was decided and has not ended yet, sorted."""
    wanted = {e.partition for e in entries(lake, "retraining") if e.decision == "yes"}
    ended = {
        e.partition
        for e in entries(lake, "training")
        if e.decision in ("promoted", "refused", "failed")
    }
    return tuple(sorted(wanted - ended))


def training_started(lake: Lake, partition: str) -> bool:
    """Tell whether a training as of a partition was ever started."""
    return any(entry.partition == partition for entry in entries(lake, "training"))
