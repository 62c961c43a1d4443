"""Run a pipeline's steps one after the other in this process, without Airflow, on a sample.

The calls are those of the tasks, so a breakpoint in a feature function, a metric or an estimator
stops where the task would be. Everything is written below ``<pipeline>_dev``, which each run
begins anew: nothing that a deployment uses is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from include.calendar import partitions
from include.calendar.partitions import Frequency, Partition
from include.development.landed_checks import latest, shortage
from include.errors import PartitionError, SourceError
from include.features import feature_function
from include.features.known_labels import mature_as_of
from include.ingestion.landed_partitions import landed_partitions
from include.registry.champions import Registry
from include.registry.mlflow_runs import PARTITION, Tracking
from include.reports.drift_report import publish_drift_report
from include.reports.evidence_page import publish_evidence
from include.reports.exploration_report import publish_exploration
from include.specification.pipeline import Pipeline
from include.specification.trial_names import trial_name
from include.steps import (
    history_completion,
    monitoring,
    preparation,
    training,
    training_course,
)
from include.steps.trial_tables import remove_trial
from include.storage.connections import Connections, from_environment
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import REPORTS, Settings
from include.training import training_sets

# Says what a step did: its name, its outcome, how many seconds it took.
Report = Callable[[str, str, float], None]


@dataclass(frozen=True)
class LocalRun:
    """What a run left behind.

    Args:
        pipeline: Name under which tables, model and pages were written.
        scored: Partition that was scored; None if no model was good enough to be used.
        promoted: Whether the challenger passed the gate.
        pages: Addresses of the pages on the store, sorted.
    """

    pipeline: str
    scored: str | None
    promoted: bool
    pages: tuple[str, ...]


def run(
    spark: Any,
    settings: Settings,
    pipeline: Pipeline,
    report: Report,
    *,
    partition: str | None = None,
    sample: int | None = None,
    connections: Connections = from_environment,
) -> LocalRun:
    """Train as of the partition before one, then score and watch that one.

    Args:
        spark: Spark Connect session.
        settings: Store and MLflow.
        pipeline: The pipeline file.
        report: Told of every step when it is done.
        partition: Partition to score; the latest that landed if None. A snapshot is scored
            itself if it is the only one: performance then counts the entities held out alone.
        sample: Rows of a partition to work on, evenly spread; all of them if None.
        connections: Resolves the connections of SQL sources.

    Raises:
        RelevoError: What a task would fail with.
    """
    store = ObjectStore(settings.store)
    found = _landed(settings, pipeline, connections)
    current = _current(pipeline, found, partition)
    as_of = current.shift(-1)
    if not pipeline.has_time and as_of not in found:
        as_of = current
    told = shortage(pipeline, [item for item in found if item <= as_of])
    if told:
        raise SourceError(f"pipeline {pipeline.name}: training.window {told}")
    remove_trial(store, pipeline.name)
    pipeline = pipeline.of_now().model_copy(update={"name": trial_name(pipeline.name)})
    steps = _Steps(
        spark,
        Lake(settings.store, pipeline.name),
        Tracking(settings.mlflow, pipeline.name),
        pipeline,
        Origin("local", f"local__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}", "run"),
        report,
        sample,
        connections,
        found[0],
    )
    promoted = steps.train(as_of, current)
    if promoted:
        steps.score(current)
    pages = sorted(
        item.uri for item in store.list(f"s3://{REPORTS}/{pipeline.name}/") if _is_page(item.uri)
    )
    return LocalRun(pipeline.name, str(current) if promoted else None, promoted, tuple(pages))


@dataclass(frozen=True)
class _Steps:
    spark: Any
    lake: Lake
    tracking: Tracking
    pipeline: Pipeline
    origin: Origin
    report: Report
    sample: int | None
    connections: Connections
    earliest: Partition

    @property
    def registry(self) -> Registry:
        return Registry(self.lake, self.tracking)

    def complete_history(self, as_of: Partition) -> None:
        """Prepare as many partitions as training needs, from the latest back."""
        names: list[str] = []
        reach = window = self.pipeline.training.window
        while True:
            first = _earlier(as_of, reach, self.earliest)
            names += history_completion.complete_history(
                self.spark,
                self.lake,
                self.pipeline,
                as_of,
                self.origin,
                connections=self.connections,
                first=first,
                sample=self.sample,
            )
            mature = mature_as_of(self.lake, self.pipeline, as_of) if names else ()
            if len(mature) >= window or first <= self.earliest:
                return
            # Labels come late: go further back.
            reach *= 2

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; what it puts into the list is told."""
        told: list[str] = []
        begun = monotonic()
        yield told
        self.report(name, "; ".join(told), monotonic() - begun)

    def train(self, as_of: Partition, current: Partition) -> bool:
        """Train as of a partition; returns whether the challenger is in use for ``current``."""
        lake, pipeline, origin = self.lake, self.pipeline, self.origin
        training_course.start(lake, pipeline, as_of, origin)
        parent = self.tracking.parent(origin.dag_run_id, {PARTITION: str(as_of)})
        with self.step("build_training_set") as told:
            self.complete_history(as_of)
            training_set = training_sets.build_training_set(lake, pipeline, as_of, origin)
            rows, held_out = training_set.rows
            count = len(training_set.train) + len(training_set.holdout)
            told.append(
                f"{count} partition{'' if count == 1 else 's'}, {rows:,} rows to train, "
                f"{held_out:,} held out"
            )
            if training_set.rare:
                told.append(f"too rare to be learned: {training_set.rare}")
        with self.step("explore_training_set"):
            publish_exploration(lake, pipeline, training_set)
        with self.step("validate_training_set"):
            preparation.validate_training_set(lake, pipeline, training_set)
        results = []
        for name in sorted(pipeline.training.candidates):
            with self.step(f"train_candidate {name}") as told:
                result = training.fit(lake, self.tracking, pipeline, training_set, name, parent)
                results.append(result)
                told.append(f"{pipeline.training.metric} {result.validation:.4f} in validation")
                if result.decision is not None:
                    told.append(f"decides as 1 {result.decision.describe()}")
        with self.step("select_challenger") as told:
            version = training.select(lake, self.registry, pipeline, training_set, results, origin)
            told.append(version.candidate)
        with self.step("evaluate_challenger") as told:
            evaluation = training.evaluate(lake, self.registry, pipeline, version, as_of, origin)
            publish_evidence(lake, pipeline, version, evaluation)
            told.append(evaluation.decision.reason)
        if evaluation.decision.promoted:
            with self.step("promote_challenger") as told:
                self.registry.promote(
                    version.version, current.shift(-1), evaluation.decision.reason, origin
                )
                told.append(f"in use from {current} on")
        outcome, _ = training.close(lake, self.registry, pipeline, as_of, origin)
        self.tracking.close(parent, failed=outcome == "failed")
        return evaluation.decision.promoted

    def score(self, current: Partition) -> None:
        """Score and watch a partition."""
        lake, pipeline, origin = self.lake, self.pipeline, self.origin
        validated = {}
        for source in pipeline.sources:
            with self.step(f"ingest and validate {source}") as told:
                ingested = preparation.ingest(
                    lake,
                    pipeline,
                    source,
                    [current],
                    origin,
                    connections=self.connections,
                    sample=self.sample if source == pipeline.primary_source else None,
                )
                checked = preparation.validate_source(
                    lake, pipeline, source, ingested, current, origin
                )
                validated[source] = checked.reference
                told.append(f"{checked.reference.rows:,} rows, {checked.quarantined} quarantined")
        with self.step("compute_features") as told:
            sources = {name: validated[name] for name in pipeline.feature_sources}
            computed = feature_function.compute(
                self.spark, lake, pipeline, sources, [str(current)], origin
            )
            batch = preparation.validate_features(lake, pipeline, computed, current, origin)
            told.append(f"{batch.reference.rows:,} rows, {batch.quarantined} quarantined")
        with self.step("score_batch") as told:
            scored = monitoring.score_batch(
                self.spark, lake, self.registry, pipeline, batch.reference, current, origin
            )
            told.append(f"{scored.predictions.rows:,} rows by version {scored.model_version}")
        with self.step("detect_drift") as told:
            verdict, version = monitoring.watch_drift(
                lake, self.registry, pipeline, scored, current, origin
            )
            publish_drift_report(lake, pipeline, verdict, version, batch.reference)
            told.append(f"{verdict.verdict}: {verdict.reason}")
        with self.step("measure_performance") as told:
            records = monitoring.measure_performance(
                self.spark, lake, self.registry, pipeline, current, origin
            )
            told += [f"{record.partition}: {record.reason}" for record in records]
        with self.step("decide_retraining") as told:
            told.append(monitoring.decide(lake, pipeline, current, origin).reason)


def _landed(settings: Settings, pipeline: Pipeline, connections: Connections) -> list[Partition]:
    source = pipeline.primary_source
    if pipeline.partition is Frequency.NONE and not pipeline.sources[source].is_partitioned:
        return [partitions.snapshot(1), partitions.snapshot(2)]
    found = landed_partitions(settings.store, pipeline, source, latest(pipeline), connections)
    if not found:
        raise SourceError(
            f"source {source}: at least one partition must have landed, got none in "
            f"{pipeline.sources[source].uri}. Land it with ./relevo land {pipeline.name} FILE."
        )
    return found


def _earlier(partition: Partition, steps: int, earliest: Partition) -> Partition:
    try:
        return partition.shift(-steps)
    except PartitionError:  # before the year 1
        return earliest


def _current(pipeline: Pipeline, found: list[Partition], asked: str | None) -> Partition:
    if asked is None:
        return found[-1]
    partition = partitions.parse(asked, pipeline.partition)
    if partition not in found:
        raise SourceError(
            f"source {pipeline.primary_source}: partition {partition} must have landed, got "
            f"{found[0]} to {found[-1]}. Land it, or name one of them."
        )
    return partition


def _is_page(uri: str) -> bool:
    return uri.endswith(".html")
