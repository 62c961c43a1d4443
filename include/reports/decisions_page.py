"""What happened to every partition, as one table: for the terminal and for the UI."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from include.errors import SourceError, SpecificationError
from include.monitoring.gaps import Gap
from include.monitoring.performance import PerformanceRecord
from include.registry import interventions, retirement, succession
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.reports.page_views import LATEST, View, latest_part
from include.scoring import batch_scoring
from include.specification.generations import FEATURES, of_generation, quarantine_table
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import load
from include.steps import monitoring
from include.steps.gaps import find_gaps
from include.steps.stale import find_stale
from include.steps.staleness import Stale
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.templates import render

# On one page.
_PARTITIONS, _ENTRIES = 50, 100
# By DAG, what a person does with it, and the command that does the same.
ACTIONS = {
    "platform_rollback": ("go back to a version", "rollback {name}"),
    "platform_promote": ("put a version in use", "promote {name} VERSION"),
    "platform_refuse": ("keep a version out of use", "refuse {name} VERSION"),
    "platform_freeze": ("let nothing take the champion's place", "freeze {name}"),
    "platform_unfreeze": ("let the gate decide again", "unfreeze {name}"),
    "platform_withdraw": ("take back a requested training", "withdraw {name} PARTITION"),
    "platform_reprocess": ("make anew what is stale", ""),
    "platform_migrate": ("put in use what the file names under next", "migrate {name}"),
    "platform_release": (
        "release repaired rows of quarantine",
        "release {name} --dataset SOURCE --partition PARTITION --file FILE",
    ),
    "platform_erase": ("forget somebody", "erase {name} FILE"),
    "platform_retire": ("end the pipeline, or undo that", "retire {name}"),
}
_BY_HAND = ("rollback", "by_hand", "freeze", "retirement")
# The web server looks for unjudged partitions, and reads all labels to do so, up to so many.
_MOST_LABELS = 1_000_000
HEADS = (
    "partition",
    "rows",
    "quarantined",
    "champion",
    "drift",
    "matured",
    "performance",
    "held out",
    "retrain",
    "training",
    "reason",
)


@dataclass(frozen=True)
class Row:
    """One scored partition.

    Args:
        partition: Name.
        rows: Rows that were scored.
        quarantined: Rows that were moved to quarantine, of all its data sets.
        champion: Version that scored it.
        drift: Drift verdict.
        performance: One record for each partition whose labels matured meanwhile.
        retrain: ``yes`` or ``no``; '' before the decision.
        reason: Reason of the decision.
        training: How the training that it started ended; '' without one.
        training_reason: Why.
    """

    partition: str
    rows: int
    quarantined: int
    champion: int
    drift: str
    performance: tuple[PerformanceRecord, ...]
    retrain: str
    reason: str
    training: str
    training_reason: str

    def cells(self) -> tuple[str, ...]:
        """Render in the order of ``HEADS``."""
        records = self.performance
        return (
            self.partition,
            f"{self.rows:,}",
            str(self.quarantined),
            f"v{self.champion}",
            self.drift,
            "\n".join(
                f"{record.partition} ({'back-scored' if record.back_scored else 'made then'})"
                for record in records
            ),
            "\n".join(_performance(record) for record in records) or "not measured",
            "\n".join(_number(record.held_out) for record in records),
            self.retrain,
            self.training,
            "; ".join(filter(None, (self.reason, self.training_reason))),
        )


class _Quarantined:
    """Counts the quarantined rows of partitions, of the generation that each was scored from."""

    def __init__(self, lake: Lake, pipeline: Pipeline) -> None:
        self.lake, self.pipeline = lake, pipeline
        self._counts: dict[str, dict[str, int]] = {}

    def count(self, partition: str, version: int) -> int:
        """Count them in the tables of all data sets."""
        generations = self._generations.get(version, {})
        tables = [
            of_generation(quarantine_table(dataset), generations.get(dataset, 1))
            for dataset in (*self.pipeline.sources, FEATURES)
        ]
        for table in tables:
            if table not in self._counts:
                self._counts[table] = self.lake.row_counts(table)
        return sum(self._counts[table].get(partition, 0) for table in tables)

    @cached_property
    def _generations(self) -> Mapping[int, Mapping[str, int]]:
        models = (
            ModelVersion.from_dict(json.loads(row["details"]))
            for row in Registry(self.lake).events()
            if row["event"] == "registered"
        )
        return {model.version: model.generations for model in models}


def rows(lake: Lake, pipeline: Pipeline) -> list[Row]:
    """Collect every partition that was scored at its time, in time order."""
    watched = {row["partition"]: row for row in monitoring.rows(lake, monitoring.DRIFT)}
    scored = lake.row_counts(batch_scoring.TABLE)
    performance: dict[str, list[PerformanceRecord]] = {}
    for row in monitoring.rows(lake, monitoring.PERFORMANCE):
        record = PerformanceRecord.from_dict(json.loads(row["details"]))
        performance.setdefault(row["partition"], []).append(record)
    decisions = {entry.partition: entry for entry in _current(lake, "retraining")}
    trained = {entry.partition: entry for entry in _current(lake, "training")}
    quarantined = _Quarantined(lake, pipeline)
    found = []
    for name, drift in sorted(watched.items()):
        decision, training = decisions.get(name), trained.get(name)
        found.append(
            Row(
                partition=name,
                rows=scored.get(name, 0),
                quarantined=quarantined.count(name, drift["model_version"]),
                champion=drift["model_version"],
                drift=drift["verdict"],
                performance=tuple(sorted(performance.get(name, []), key=lambda r: r.partition)),
                retrain=decision.decision if decision else "",
                reason=decision.reason if decision else "",
                training=training.decision if training else "",
                training_reason=training.reason if training else "",
            )
        )
    return found


@dataclass(frozen=True)
class Decision:
    """One decision of the ledger, with the champion that it found and the one that it left.

    Args:
        partition: Partition that it is about.
        about: ``retraining``, ``training``, ``rollback``, ``by_hand``, ``freeze`` or
            ``retirement``.
        decision: ``yes`` or ``no``; ``promoted``, ``refused``, ``failed``, ``withdrawn``, or
            ``started``; ``rolled back``; ``frozen`` or ``unfrozen``; ``retired``, ``reinstated`` or
            ``removed``.
        before: Version in use before; None if there was none, or none is known.
        after: Version in use afterwards.
        reason: Why.
    """

    partition: str
    about: str
    decision: str
    before: int | None
    after: int | None
    reason: str

    @property
    def champion(self) -> str:
        """Tell the version in use, before and after if it changed."""
        before, after = (f"v{item}" if item else "none" for item in (self.before, self.after))
        return before if before == after else f"{before} -> {after}"


def decisions(lake: Lake) -> list[Decision]:
    """List what was decided, by partition, and of one partition in the order of recording.

    Answers that were superseded are left out.
    """
    entries = _current(lake)
    scored_by = {
        row["partition"]: row["model_version"] for row in monitoring.rows(lake, monitoring.DRIFT)
    }
    judged = {
        (entry.dag_run_id, entry.partition): entry.evidence
        for entry in entries
        if entry.kind == "promotion"
    }
    latest = {
        (entry.dag_run_id, entry.partition): entry for entry in entries if entry.kind == "training"
    }
    found = []
    for entry in entries:
        run = (entry.dag_run_id, entry.partition)
        if entry.kind == "retraining":
            before = after = scored_by.get(entry.partition)
        elif entry.kind == "training" and (entry.decision != "started" or entry is latest[run]):
            verdict = judged.get(run, {})
            before = after = verdict.get("champion", scored_by.get(entry.partition))
            if entry.decision == "promoted":
                after = verdict.get("challenger")
        elif entry.kind in _BY_HAND:
            before = entry.evidence["champion"]
            after = entry.evidence.get("restored", before)
        else:
            continue
        found.append(
            Decision(entry.partition, entry.kind, entry.decision, before, after, entry.reason)
        )
    return sorted(found, key=lambda item: item.partition)


def render_decisions(lake: Lake, view: View = LATEST, *, may_act: bool = False) -> str:
    """Render the page with gaps, what is stale, partitions and the ledger, the latest first.

    Of a pipeline whose file is wrong: what is wrong, and the ledger.

    Args:
        lake: The pipeline's tables.
        view: Which partitions and entries.
        may_act: Whether the person may trigger the DAGs by which people decide.
    """
    found: list[Row] = []
    gaps: list[Gap] = []
    stale, unlisted, wrong = None, "", ""
    events = Registry(lake).events()
    retired = retirement.told(events)
    try:
        pipeline = load(lake.pipeline)
        found = [row for row in rows(lake, pipeline) if row.partition.startswith(view.partition)]
        if not retired:
            now = datetime.now(UTC).replace(tzinfo=None)
            gaps = find_gaps(lake, pipeline, now, most_labels=_MOST_LABELS)
            try:
                stale = find_stale(lake, pipeline, brief=True)
            except SourceError as error:
                unlisted = str(error)
    except SpecificationError as error:
        wrong = str(error)
    told = ledger.entries(lake)
    badges = _badges(told, stale, gaps, [row.partition for row in found])
    marked = [row for row in found if view.badge in ("", *badges[row.partition])]
    shown = latest_part(marked, view.page, _PARTITIONS)
    return render(
        "decisions",
        title=f"{lake.pipeline}: decisions",
        pipeline=lake.pipeline,
        heads=HEADS,
        rows=[row.cells() for row in shown.items],
        badges=badges,
        marks=sorted({view.badge, *(mark for marks in badges.values() for mark in marks)} - {""}),
        gaps=gaps,
        stale=stale,
        unlisted=unlisted,
        in_use=succession.effective(events, None),
        freeze=interventions.freeze_told(events),
        retired=retired,
        wrong=wrong,
        entries=latest_part(
            [
                entry
                for entry in told
                if view.kind in ("", entry.kind) and entry.partition.startswith(view.partition)
            ],
            view.entries,
            _ENTRIES,
        ),
        kinds=sorted({entry.kind for entry in told}),
        part=shown,
        view=view,
        actions=ACTIONS if may_act else {},
    )


def _badges(
    told: Sequence[ledger.Entry],
    stale: Stale | None,
    gaps: Sequence[Gap],
    partitions: Sequence[str],
) -> dict[str, list[str]]:
    """Say of partitions what is not as it shall be, or not over."""
    asked = {entry.partition for entry in ledger.open_questions(told)}
    blocked: dict[str, str] = {}
    for entry in told:
        if entry.kind == "retraining" and not entry.superseded:
            blocked[entry.partition] = entry.evidence.get("blocked_by") or ""
    under_way = {
        name
        for name, training in ledger.follow(told).items()
        if training.state in ("requested", "started")
    }
    stale_ones = set(stale.partitions) if stale else set()
    found: dict[str, list[str]] = {}
    for name in partitions:
        badges = {
            "stale": name in stale_ones,
            "unmeasured": any(gap.is_unmeasured(name) for gap in gaps),
            "approval waits": name in asked,
            "training": name in under_way,
            f"blocked by {blocked.get(name)}": bool(blocked.get(name)),
        }
        found[name] = [badge for badge, counts in badges.items() if counts]
    return found


def _current(lake: Lake, *kinds: ledger.Kind) -> list[ledger.Entry]:
    return [entry for entry in ledger.entries(lake, *kinds) if not entry.superseded]


def _performance(record: PerformanceRecord) -> str:
    if record.value is None:
        told = f"not measured: {record.reason}"
    else:
        told = f"{record.metric} {_number(record.value)}"
        told += ", cannot tell" if record.verdict == "cannot tell" else ""
    classes = len(record.unseen)
    return told + (f", {classes} unknown class{'es' if classes > 1 else ''}" if classes else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
