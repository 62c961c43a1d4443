"""The append-only table of decisions: the "no" as well as the "yes", with the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc

from include.storage.event_tables import Event, EventTable, attempt_key
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

TABLE = "ledger"
Kind = Literal[
    "retraining",
    "promotion",
    "approval",
    "training",
    "rollback",
    "by_hand",
    "freeze",
    "snapshot",
    "reprocessing",
    "erasure",
    "migration",
    "retirement",
    "release",
]
TrainingState = Literal["requested", "started", "promoted", "refused", "failed", "withdrawn"]
VERDICTS = frozenset({"promoted", "refused"})
# How a training run ends.
ENDS = VERDICTS | {"failed"}
# What tells how far trainings have come.
_COURSE: tuple[Kind, ...] = ("retraining", "training")
# A later yes may ask for a training again.
_ASKED_AGAIN = frozenset({"failed", "withdrawn"})

_COLUMNS = (
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
)


@dataclass(frozen=True)
class Entry:
    """One decision.

    Args:
        kind: What was decided on: ``retraining`` (yes or no), ``promotion`` (promoted or
            refused), ``approval`` (asked, approved, rejected or expired), ``training`` (started,
            promoted, refused, failed or withdrawn), ``rollback`` (rolled back), ``by_hand`` (a
            version promoted or refused by a person), ``freeze`` (frozen or unfrozen), ``snapshot``
            (taken), ``reprocessing`` (asked or done), ``erasure`` (begun or done), ``migration``
            (begun, switched or refused), ``retirement`` (retired, reinstated or removed),
            ``release`` (begun or done; void, of repairs whose rows do not land any more).
        partition: Partition that the decision is about.
        decision: The outcome.
        reason: One sentence for people.
        evidence: What the decision was made from, JSON-serialisable.
        dag_run_id: Run that decided.
        recorded_at: When, naive UTC; tells no order, because clocks differ.
        dag_id: DAG of that run.
        key: Name of the entry, unique in the ledger.
        superseded: Whether the run decided again later, so that this counts no more.
    """

    kind: str
    partition: str
    decision: str
    reason: str
    evidence: Mapping[str, Any]
    dag_run_id: str
    recorded_at: datetime
    dag_id: str = ""
    key: str = ""
    superseded: bool = False


def record(
    lake: Lake,
    kind: Kind,
    partition: str,
    decision: str,
    reason: str,
    *,
    origin: Origin,
    evidence: Mapping[str, Any] | None = None,
    only_if: Training | None = None,
) -> bool:
    """Record what a run decides on a partition, unless that is what it decided last.

    Another answer than the last one of the same run is a new entry that supersedes it; so is the
    first answer given again after another one, of the run itself or, on retraining, of another run
    about the partition. A snapshot is taken once at all.

    Args:
        lake: The pipeline's tables.
        kind: What was decided on.
        partition: Partition that the decision is about.
        decision: The outcome.
        reason: One sentence for people.
        origin: Who decides; a task that runs again and decides the same adds nothing.
        evidence: What the decision was made from.
        only_if: How far the training as of the partition must have come at that moment, else
            nothing is recorded.

    Returns:
        Whether the entry is new.
    """
    event = {
        "kind": kind,
        "partition": partition,
        "decision": decision,
        "reason": reason,
        "evidence": json.dumps(evidence or {}, sort_keys=True),
        "dag_id": origin.dag_id,
        "dag_run_id": origin.dag_run_id,
        "task_id": origin.task_id,
        "commit": origin.commit,
    }
    # A snapshot belongs to the one run that takes it first.
    is_snapshot = kind == "snapshot"
    step = decision if kind == "training" else ""
    base = "/".join((kind, partition, *(() if is_snapshot else (origin.dag_run_id, step))))

    def entry(held: list[Event]) -> Event | None:
        if only_if not in (None, follow(_entries(held, *_COURSE)).get(partition)):
            return None
        mine = [item for item in held if _question(item) == _question(event)]
        if mine and is_snapshot:
            return None
        if mine and _answer(mine[-1]) == _answer(event) and not _is_overruled(event, held):
            return None
        earlier = sum(not step or item["decision"] == step for item in mine)
        return {**event, "key": attempt_key(base, earlier)}

    return EventTable(lake, TABLE, _COLUMNS).append(entry, origin=origin)


def entries(lake: Lake, *kinds: Kind, since: datetime | None = None) -> list[Entry]:
    """Read the decisions of some kinds (all if none is named), in the order of recording.

    Args:
        lake: The pipeline's tables.
        kinds: Which.
        since: Naive UTC; what was recorded before is not read.
    """
    where = pc.field("kind").isin(pa.array(kinds, pa.string())) if kinds else None
    if since is not None:
        late = pc.field("recorded_at") >= pa.scalar(since, pa.timestamp("us"))
        where = late if where is None else where & late
    return _entries(EventTable(lake, TABLE, _COLUMNS).events(where), *kinds)


def _entries(events: Sequence[Event], *kinds: Kind) -> list[Entry]:
    # By question: where its last opening is, and where its last entry is.
    opened = {_question(item): at for at, item in enumerate(events) if _opens(item)}
    last = {_question(item): at for at, item in enumerate(events)}
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
            key=row["key"],
            superseded=at not in (opened.get(_question(row)), last[_question(row)]),
        )
        for at, row in enumerate(events)
        if not kinds or row["kind"] in kinds
    ]


def latest(lake: Lake, kind: Kind, partition: str, dag_run_id: str) -> Entry | None:
    """Find what a run decided last on a partition: whoever acts on a decision reads it here."""
    found = [
        entry
        for entry in entries(lake, kind)
        if (entry.partition, entry.dag_run_id) == (partition, dag_run_id)
    ]
    return found[-1] if found else None


def _question(event: Event) -> tuple[str, ...]:
    """What a run answers: its later answers supersede the earlier ones; a snapshot is anyone's."""
    run = "" if event["kind"] == "snapshot" else event["dag_run_id"]
    return (event["kind"], event["partition"], run)


def _answer(event: Event) -> tuple[str, ...]:
    return (event["decision"], event["reason"], event["evidence"])


def _is_overruled(event: Event, held: Sequence[Event]) -> bool:
    """Tell whether another run decided otherwise on retraining since, and takes it back by that.

    What a person has withdrawn stays so until somebody has another answer.
    """
    about = [item for item in held if item["partition"] == event["partition"]]
    said = [item["decision"] for item in about if item["kind"] == "retraining"]
    if event["kind"] != "retraining" or said[-1] == event["decision"]:
        return False
    course = [item["decision"] for item in about if item["kind"] == "training"]
    return course[-1:] != ["withdrawn"]


def _opens(event: Event) -> bool:
    """Tell whether an entry begins what another one ends, and is not superseded by the end."""
    return event["decision"] in ("started", "asked")


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
    a withdrawal it asks again. Of several that ask, the first one is the request. A no withdraws
    what was asked for and not started. A run that fails takes no verdict of another run away.

    Returns:
        By partition, sorted.
    """
    return follow(entries(lake, *_COURSE))


def follow(told: Sequence[Entry]) -> dict[str, Training]:
    """Follow the trainings as of each partition through entries; see :func:`trainings`."""
    found: dict[str, Training] = {}
    verdicts: dict[str, dict[str, Training]] = {}
    for entry in told:
        held = found.get(entry.partition)
        if entry.kind == "training":
            now = Training(cast(TrainingState, entry.decision), entry.dag_id, entry.dag_run_id)
            reached = verdicts.setdefault(entry.partition, {})
            if now.state in ENDS:
                reached.pop(entry.dag_run_id, None)
            if now.state in VERDICTS:
                reached[entry.dag_run_id] = now
            elif now.state == "failed" and reached:
                now = list(reached.values())[-1]
            found[entry.partition] = now
        elif entry.decision == "yes" and (held is None or held.state in _ASKED_AGAIN):
            found[entry.partition] = Training("requested", entry.dag_id, entry.dag_run_id)
        elif entry.decision == "no" and held is not None and held.state == "requested":
            found[entry.partition] = Training("withdrawn", entry.dag_id, entry.dag_run_id)
    return dict(sorted(found.items()))


def training_states(lake: Lake) -> dict[str, TrainingState]:
    """Tell only the states of :func:`trainings`."""
    return {name: training.state for name, training in trainings(lake).items()}


def pending_trainings(lake: Lake) -> tuple[str, ...]:
    """List the partitions with a training that was decided or started and has not ended, sorted."""
    states = training_states(lake)
    return tuple(name for name, state in states.items() if state in ("requested", "started"))


def open_questions(told: Sequence[Entry]) -> list[Entry]:
    """Find the approvals that wait for an answer, in all entries or those of trainings.

    What counts is the run that asked: cleared after its end, it may ask again.
    """
    asked: dict[tuple[str, str], Entry] = {}
    ended: set[tuple[str, str]] = set()
    for entry in told:
        run = (entry.partition, entry.dag_run_id)
        if entry.kind == "approval":
            asked[run] = entry
        if entry.kind in ("approval", "training"):
            (ended.add if entry.decision in ENDS else ended.discard)(run)
    return [e for run, e in asked.items() if e.decision == "asked" and run not in ended]


def held_out_evidence(lake: Lake, version: int) -> Mapping[str, Any] | None:
    """Read what a version showed on its held-out rows, as judged; None if it never was."""
    found = [e for e in entries(lake, "promotion") if e.evidence["challenger"] == version]
    if not found:
        return None
    # If its run judged another version since, this one may still have scored, and is watched.
    counts = next((entry for entry in found if not entry.superseded), found[-1])
    evidence: Mapping[str, Any] = counts.evidence["evidence"]
    return evidence
