"""Which partitions were passed over, read from the tables."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from include.calendar import partitions
from include.calendar.due_dates import due_dates
from include.calendar.partitions import Partition
from include.features.known_labels import mature_as_of
from include.monitoring import gaps as rules
from include.monitoring.gaps import Gap, Untrained
from include.registry.champions import PROFILES
from include.scoring import batch_scoring, made_then
from include.specification.pipeline import Pipeline
from include.steps import monitoring
from include.steps.generations import in_use
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage_records import PartitionCommits, written


def find_gaps(
    lake: Lake, pipeline: Pipeline, now: datetime, *, most_labels: int | None = None
) -> list[Gap]:
    """List the gaps between the first partition that was scored and the latest that was due.

    A partition whose run is still under way is among them. Before anything was scored there is no
    gap: history is not expected to be scored.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        now: The present moment, naive UTC.
        most_labels: Leave out what matured and was not judged, which reads all labels, if the table
            has more rows than that; None for no limit.
    """
    names = lake.partitions(PROFILES)
    scored = [partitions.parse(name, pipeline.partition) for name in names]
    if not scored:
        return []
    pipeline = in_use(lake, pipeline, scored[-1])
    due = due_runs(pipeline, scored[0], now)
    expected = {*due, *scored} if due else {*partitions.span(scored[0], scored[-1])}
    small = (
        most_labels is None or sum(lake.row_counts(pipeline.labels_table).values()) <= most_labels
    )
    found = rules.lacks(
        expected,
        scored=names,
        labelled=lake.partitions(pipeline.labels_table),
        decided={entry.partition for entry in ledger.entries(lake, "retraining")},
        unjudged=_unjudged(lake, pipeline, scored) if small and pipeline.has_time else {},
        outdated=_outdated(lake, pipeline, set(scored)),
        untrained=_untrained(lake, pipeline),
    )
    return rules.gaps(pipeline.name, found, due)


def due_runs(pipeline: Pipeline, first: Partition, now: datetime) -> dict[Partition, datetime]:
    """Name the partitions from the first on whose runs are due, and when they became so.

    Args:
        pipeline: The pipeline file.
        first: The first partition that may be named.
        now: The present moment, naive UTC.

    Returns:
        The runs' dates, naive UTC, in order; none without a schedule.
    """
    schedule = pipeline.schedule
    if schedule is None or not pipeline.has_time:
        return {}
    begin = max(first.end, datetime.combine(schedule.start, datetime.min.time()))
    if schedule.end is not None:
        end = datetime.combine(schedule.end, datetime.min.time()) + timedelta(days=1)
        now = min(now, end)
    found: dict[Partition, datetime] = {}
    for date in due_dates(schedule.cron, begin, now):
        found.setdefault(partitions.latest_closed(date, pipeline.partition), date)
    return found


def _unjudged(
    lake: Lake, pipeline: Pipeline, scored: list[Partition]
) -> Mapping[Partition, Partition]:
    """Find the mature partitions that nobody has judged, and the run that should have."""
    judged = {row["measured"] for row in monitoring.rows(lake, monitoring.PERFORMANCE)}
    held = lake.row_counts(pipeline.features_table).keys() - judged
    left = set(mature_as_of(lake, pipeline, scored[-1], among=held))
    left -= set(mature_as_of(lake, pipeline, scored[0].shift(-1), among=left))
    found: dict[Partition, Partition] = {}
    # The latest first: what was mature before it is a matter of earlier runs.
    for judge, before in zip(scored[::-1], [*scored[-2::-1], None], strict=True):
        if not left:
            break
        earlier = set(mature_as_of(lake, pipeline, before, among=left)) if before else set()
        since = monitoring.judges_since(lake, pipeline, judge)
        owed = left - earlier
        owed -= set(mature_as_of(lake, pipeline, since.shift(-1), among=owed))
        found.update({partitions.parse(name, pipeline.partition): judge for name in owed})
        left = earlier
    return found


def _outdated(
    lake: Lake, pipeline: Pipeline, scored: Collection[Partition]
) -> Mapping[Partition, Partition]:
    """Find the partitions that were judged by predictions made later, and scored since."""
    asked = {}
    for row in monitoring.rows(lake, monitoring.PERFORMANCE):
        measured = partitions.parse(row["measured"], pipeline.partition)
        if json.loads(row["details"])["back_scored"] and measured in scored:
            asked[measured] = partitions.parse(row["partition"], pipeline.partition)
    commits = PartitionCommits(written(lake, batch_scoring.TABLE) if asked else ())
    return {
        measured: judge
        for measured, judge in asked.items()
        if made_then.to_judge(lake, pipeline, str(measured), commits)[1]
    }


def _untrained(lake: Lake, pipeline: Pipeline) -> Mapping[Partition, Untrained]:
    """Find the partitions whose trainings have come to no verdict.

    One that failed is made up for by a later verdict; a request is waited for all the same.
    """
    found: dict[Partition, Untrained] = {}
    for name, state in ledger.training_states(lake).items():
        if state in ledger.VERDICTS:
            found = {item: was for item, was in found.items() if was == "requested"}
        elif state in ("requested", "failed"):
            found[partitions.parse(name, pipeline.partition)] = state
    return found
