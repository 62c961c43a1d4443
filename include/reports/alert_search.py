"""What people have to know of a pipeline, read from what is on record of it.

Failed tasks are no part of it: those Airflow knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from include.calendar.partitions import latest_closed
from include.features.feature_function import TABLE as FEATURES
from include.monitoring.alerts import Alert, is_nearly_full, overdue
from include.monitoring.performance import PerformanceRecord
from include.registry.champions import PROFILES
from include.reports.drift_report import drift_report_uri
from include.reports.evidence_page import evidence_uri
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import AlertKind
from include.steps.corrections import look
from include.steps.gaps import due_runs
from include.steps.generations import in_use_now
from include.steps.monitoring import DRIFT, PERFORMANCE
from include.steps.preparation import data_docs_uri
from include.steps.release import RELEASE
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage_records import PartitionCommits, Written, written

Search = Callable[[], Iterable[Alert]]
# What was recorded longer ago is no news.
LOOK_BACK = timedelta(days=7)
_RECENT = 200  # commits of a table
_APPROVAL = "approve_promotion"
_CLOSING = "close_training"


def searches(
    lake: Lake, pipeline: Pipeline, *, since: datetime, now: datetime
) -> dict[AlertKind, Search]:
    """Name the searches for what was recorded within seven days, waits for people, or is overdue.

    Each stands for itself, so that what one cannot read hides nothing else.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        since: When alerts were switched on, naive UTC: what was due before is not overdue.
        now: The present moment, naive UTC.
    """
    return {
        "drift": lambda: _drifted(lake, now),
        "performance": lambda: _dropped(lake, now),
        "quarantine": lambda: _nearly_full(lake, pipeline, now),
        "refused": lambda: _refused(lake, now),
        "approval": lambda: _asked(lake),
        "deadline": lambda: _overdue(lake, pipeline, since, now),
        "stale": lambda: find_stale_alerts(lake, pipeline),
    }


def find_stale_alerts(lake: Lake, pipeline: Pipeline) -> list[Alert]:
    """List the landed partitions that are not any more what was ingested.

    Only folders of partitions are looked at, as on the decisions page: other places and queries
    would have to be read again.

    Raises:
        SourceError: If a source cannot be listed.
    """
    pipeline = in_use_now(lake, pipeline)
    ingested = {
        source: PartitionCommits(written(lake, pipeline.raw_table(source), _RECENT))
        for source in pipeline.sources
    }
    return [
        Alert(
            key=f"stale/{item.source}/{item.partition}/{_digest(item.content)}",
            kind="stale",
            partition=item.partition,
            reason=f"{item}. `./relevo stale {pipeline.name}` lists what was made from the data of "
            "before; platform_reprocess makes it anew.",
        )
        for item in look(lake, pipeline, ingested, brief=True).corrections
    ]


def _recent(lake: Lake, table: str, now: datetime) -> dict[str, Written]:
    """Find the latest commit of each partition that was written lately."""
    commits = written(lake, table, _RECENT)
    return {
        name: commit
        for commit in commits
        if now - commit.recorded_at < LOOK_BACK
        for name in commit.partitions
    }


def _drifted(lake: Lake, now: datetime) -> Iterator[Alert]:
    recent = _recent(lake, DRIFT, now)
    if not recent:
        return
    columns = ["partition", "verdict", "reason", "model_version"]
    for row in lake.read(DRIFT, partitions=sorted(recent), columns=columns).to_pylist():
        if row["verdict"] == "drift":
            name = row["partition"]
            yield Alert(
                key=f"drift/{name}/version-{row['model_version']}",
                kind="drift",
                partition=name,
                reason=row["reason"],
                report=drift_report_uri(lake.pipeline, name),
                **_by(recent[name]),
            )


def _dropped(lake: Lake, now: datetime) -> Iterator[Alert]:
    recent = _recent(lake, PERFORMANCE, now)
    if not recent:
        return
    for row in lake.read(PERFORMANCE, partitions=sorted(recent)).to_pylist():
        record = PerformanceRecord.from_dict(json.loads(row["details"]))
        if record.verdict == "drop":
            yield Alert(
                key=f"performance/{record.partition}/version-{record.model_version}",
                kind="performance",
                partition=record.partition,
                reason=record.reason,
                **_by(recent[row["partition"]]),
            )


def _nearly_full(lake: Lake, pipeline: Pipeline, now: datetime) -> Iterator[Alert]:
    pipeline = in_use_now(lake, pipeline)
    limits = {
        name: (pipeline.raw_table(name), source.max_quarantined)
        for name, source in pipeline.sources.items()
        if source.on_failure == "quarantine"
    }
    limits[FEATURES] = (pipeline.features_table, pipeline.features.max_quarantined)
    for dataset, (table, limit) in limits.items():
        quarantined = pipeline.quarantine_table(dataset)
        latest = _recent(lake, quarantined, now)
        recent = {name: made for name, made in latest.items() if made.dag_id != RELEASE}
        if not recent:
            continue
        kept, moved = lake.row_counts(table), lake.row_counts(quarantined)
        for name in sorted(recent.keys() & moved.keys()):
            left, gone = kept.get(name, 0), moved[name]
            if is_nearly_full(left, gone, limit):
                yield Alert(
                    key=f"quarantine/{dataset}/{name}/{gone}-of-{left + gone}",
                    kind="quarantine",
                    partition=name,
                    reason=f"{gone} of {left + gone} rows of {dataset} went to quarantine "
                    f"({gone / (left + gone):.2%}), more than half of what may "
                    f"(max_quarantined {limit:.2%}).",
                    report=data_docs_uri(lake.pipeline, name, dataset),
                    **_by(recent[name]),
                )


def _refused(lake: Lake, now: datetime) -> Iterator[Alert]:
    refused = [
        entry
        for entry in ledger.entries(lake, "training", since=now - LOOK_BACK)
        if (entry.decision, entry.superseded) == ("refused", False)
    ]
    if not refused:
        return
    # Their challengers may have been judged long before: somebody was asked, and had time.
    judged = {
        (entry.partition, entry.dag_run_id): int(entry.evidence["challenger"])
        for entry in ledger.entries(lake, "promotion")
    }
    for entry in refused:
        version = judged.get((entry.partition, entry.dag_run_id))
        page = "" if version is None else evidence_uri(lake.pipeline, version)
        yield _of_entry(entry, "refused", _CLOSING, page)


def _asked(lake: Lake) -> Iterator[Alert]:
    """Find the questions that nobody has answered."""
    # Trainings, of which there are many more, are read only if somebody may still have to answer.
    if not ledger.open_questions(ledger.entries(lake, "approval")):
        return
    for entry in ledger.open_questions(ledger.entries(lake, "training", "approval")):
        page = evidence_uri(lake.pipeline, int(entry.evidence["challenger"]))
        yield _of_entry(entry, "approval", _APPROVAL, page)


def _of_entry(entry: ledger.Entry, kind: AlertKind, task_id: str, page: str) -> Alert:
    """Make the alert about an entry of the ledger."""
    return Alert(
        key=f"{kind}/{entry.key}",
        kind=kind,
        partition=entry.partition,
        reason=entry.reason,
        dag_id=entry.dag_id,
        run_id=entry.dag_run_id,
        task_id=task_id,
        report=page,
    )


def _overdue(lake: Lake, pipeline: Pipeline, since: datetime, now: datetime) -> Iterator[Alert]:
    scored = lake.partitions(PROFILES)
    first = max(since, now - LOOK_BACK)
    if not scored or not pipeline.has_time:
        return
    due = due_runs(pipeline, latest_closed(first, pipeline.partition), now)
    lately = {partition: at for partition, at in due.items() if at >= first}
    for partition in overdue(lately, scored, now):
        yield Alert(
            key=f"deadline/{partition}",
            kind="deadline",
            partition=str(partition),
            reason=f"It was to be scored from {lately[partition]:%Y-%m-%d %H:%M} UTC on, and was "
            f"not by {now:%Y-%m-%d %H:%M}. `./relevo gaps {pipeline.name}` tells what to do.",
            dag_id=f"{pipeline.name}_score",
        )


def _by(commit: Written) -> dict[str, Any]:
    return {"dag_id": commit.dag_id, "run_id": commit.dag_run_id, "task_id": commit.task_id}


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
