"""The append-only table of decisions: the "no" as well as the "yes", with the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import pyarrow as pa

from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

TABLE = "ledger"
Kind = Literal["retraining", "promotion", "training", "snapshot"]
TrainingState = Literal["requested", "started", "promoted", "refused", "failed", "withdrawn"]
# A later yes may ask for a training again.
_ASKED_AGAIN = frozenset({"failed", "withdrawn"})

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
            refused), ``training`` (started, promoted, refused, failed or withdrawn), ``snapshot``
            (taken).
        partition: Partition that the decision is about.
        decision: The outcome.
        reason: One sentence for people.
        evidence: What the decision was made from, JSON-serialisable.
        dag_run_id: Run that decided.
        recorded_at: When, naive UTC.
        dag_id: DAG of that run.
    """

    kind: str
    partition: str
    decision: str
    reason: str
    evidence: Mapping[str, Any]
    dag_run_id: str
    recorded_at: datetime
    dag_id: str = ""


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
    """Append a decision, once per kind, partition and run; a snapshot once at all.

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
    # A snapshot belongs to the one run that takes it first.
    owner = () if kind == "snapshot" else (origin.dag_run_id, step)
    row = {
        "key": "/".join((kind, partition, *owner)),
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
    rows = lake.read_held(TABLE).to_pylist()
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
            dag_id=row["dag_id"],
        )
        for row in rows
        if not kinds or row["kind"] in kinds
    ]


@dataclass(frozen=True)
class Training:
    """How far the training as of a partition has come.

    Args:
        state: ``requested``, ``started``, ``promoted``, ``refused``, ``failed`` or ``withdrawn``.
        dag_id: DAG of the run that brought it there.
        dag_run_id: That run: of a request the one that decided, later the one that trains.
    """

    state: TrainingState
    dag_id: str
    dag_run_id: str


def trainings(lake: Lake) -> dict[str, Training]:
    """Follow the trainings as of each partition through the ledger.

    A yes asks for a training unless one is under way or ended with a verdict; after a failure or
    a withdrawal it asks again. Of several that ask, the first one is the request.

    Returns:
        By partition, sorted.
    """
    found: dict[str, Training] = {}
    for entry in entries(lake, "retraining", "training"):
        held = found.get(entry.partition)
        if entry.kind == "training":
            state = cast(TrainingState, entry.decision)
            found[entry.partition] = Training(state, entry.dag_id, entry.dag_run_id)
        elif entry.decision == "yes" and (held is None or held.state in _ASKED_AGAIN):
            found[entry.partition] = Training("requested", entry.dag_id, entry.dag_run_id)
    return dict(sorted(found.items()))


def training_states(lake: Lake) -> dict[str, TrainingState]:
    """Tell only the states of :func:`trainings`."""
    return {name: training.state for name, training in trainings(lake).items()}


def pending_trainings(lake: Lake) -> tuple[str, ...]:
    """List the partitions with a training that was decided or started and has not ended, sorted."""
    states = training_states(lake)
    return tuple(name for name, state in states.items() if state in ("requested", "started"))


def held_out_metric(lake: Lake, version: int, metric: str) -> float | None:
    """Read the metric that a version reached on its held-out rows; None if it was never judged."""
    for entry in entries(lake, "promotion"):
        if entry.evidence["challenger"] == version:
            intervals = entry.evidence["evidence"]["challenger"]
            return float(intervals[metric]["value"]) if metric in intervals else None
    return None
