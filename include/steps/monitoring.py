"""Watch the champion: drift of what it scored, performance of what matured, and the decision."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from include.calendar import partitions
from include.calendar.partitions import Partition
from include.errors import FeatureError, MonitoringError, RegistryError
from include.evaluation import prediction_columns
from include.features.feature_columns import LABEL
from include.features.known_labels import known_labels, mature_as_of
from include.features.point_in_time import join_labels
from include.monitoring.drift import DriftVerdict, detect_drift
from include.monitoring.performance import (
    HeldOut,
    PerformanceRecord,
    assess_performance,
    partitions_to_judge,
)
from include.monitoring.retraining import (
    Observation,
    RetrainingDecision,
    TrainingRecord,
    decide_retraining,
    hold_back,
)
from include.registry import interventions
from include.registry.champions import PROFILES, Registry
from include.registry.model_files import ModelVersion, load_reference
from include.scoring import batch_scoring, made_then
from include.scoring.scoring_version import version_to_score
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.steps import generations
from include.storage import ledger
from include.storage.connections import Connections, from_environment
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.training.training_sets import TrainingSet, trained_on

DRIFT = "drift"
PERFORMANCE = "performance"
# What matured longer ago says little about the champion of now, and there may be years of it.
_ARREARS = 24  # partitions
# Of what a run owes to others; a store that does not answer is no reason to leave it.
_OF_THE_DATA = (FeatureError, MonitoringError, RegistryError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A scored batch: its predictions, its profile and who scored it."""

    predictions: TableReference
    profile: TableReference
    model_version: int

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping (for XCom)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scored:
        """Read what :meth:`to_dict` gave."""
        return cls(
            TableReference.from_dict(values["predictions"]),
            TableReference.from_dict(values["profile"]),
            values["model_version"],
        )


def score_batch(
    spark: Any,
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    features: TableReference,
    partition: Partition,
    origin: Origin,
    *,
    connections: Connections = from_environment,
) -> Scored:
    """Score and profile a partition with the champion as of it.

    If it was scored before, that is the version that did. From other features the rows of now are
    marked, and the predictions made then stay where ``made_then`` finds them. A run that is
    repeated for a request scores with what its trainings put in use meanwhile. Features of another
    generation than the champion's are taken from its own, completed if need be.

    Raises:
        RegistryError: If no champion was in use, or its features are described no more.
    """
    then = made_then.made_then(lake, str(partition))
    champion, asked_by = version_to_score(lake, registry, partition, then, origin)
    features = generations.features_to_score(
        spark, lake, pipeline, champion, features, partition, origin, connections
    )
    details = {}
    if then is not None and (
        champion.version != made_then.made_by(lake, then)
        or made_then.are_other_rows(lake, then, features)
    ):
        details[made_then.DETAIL] = str(then.version)
        if asked_by is not None:
            details[made_then.REPROCESSED] = asked_by
    scores = batch_scoring.score(
        spark,
        lake,
        pipeline,
        features,
        champion,
        origin,
        back_scored=bool(details),
        details=details,
    )
    written = batch_scoring.write_profile(
        lake, str(partition), champion, scores.profile, origin.reading(features)
    )
    return Scored(scores.predictions, written, champion.version)


def watch_drift(
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    scored: Scored,
    partition: Partition,
    origin: Origin,
) -> tuple[DriftVerdict, ModelVersion]:
    """Compare a batch's profile with the reference of the version that scored it."""
    version = registry.get(scored.model_version)
    reference = load_reference(lake.settings, version)
    _, current = batch_scoring.read_profile(lake, scored.profile)
    verdict = detect_drift(
        reference.profile, current, reference.thresholds, pipeline.monitoring.drift
    )
    row = {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "model_version": version.version,
        "details": json.dumps(verdict.to_dict(), sort_keys=True),
    }
    _write(lake, DRIFT, [row], partition, origin.reading(scored.profile))
    return verdict, version


def measure_performance(
    spark: Any,
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    partition: Partition,
    origin: Origin,
    *,
    connections: Connections = from_environment,
) -> tuple[PerformanceRecord, ...]:
    """Judge the predictions of every mature partition that no earlier partition has judged.

    In order that is what matured while this one lasted. What missing or failed runs of the 24
    partitions before should have judged comes with it; of these one that cannot be judged stays a
    gap and stops nothing. A run that comes late takes over what a later one judged in its place:
    the table ends as if runs had come in order.

    Predictions made at the time are judged as they were made. A partition that nobody scored then
    is scored now by the champion of now, and marked as back-scored. Labels are those of the
    generation in use.
    """
    pipeline = generations.caught_up(spark, lake, pipeline, partition, origin, connections)
    fresh, arrears = _to_judge(lake, pipeline, partition)
    wanted = sorted({*fresh, *arrears})
    records, read = [], [lake.reference(pipeline.labels_table)] if wanted else []
    for name in wanted:
        try:
            record, scored = _measure(spark, lake, registry, pipeline, name, partition, origin)
        except _OF_THE_DATA as error:
            if name in fresh:
                raise
            _log.warning("%s matured before %s and stays unjudged: %s", name, partition, error)
        else:
            read.append(scored)
            records += [record] if record is not None else []
    found = [
        {"measured": record.partition, "details": json.dumps(record.to_dict(), sort_keys=True)}
        for record in records
    ]
    judged = {record.partition for record in records}
    _take_back(lake, partition, {*wanted, *judged}, origin)
    _write(lake, PERFORMANCE, found, partition, origin.reading(*read))
    _keep_first(lake, judged, origin)
    return tuple(records)


def judges_since(lake: Lake, pipeline: Pipeline, partition: Partition) -> Partition:
    """Name the first partition whose matured ones a run judges if nobody has; of snapshots its own.

    That is the first that was scored at its time, but not one of too long ago.
    """
    if not pipeline.has_time:
        return partition
    names = lake.partitions(PROFILES)
    began = min([partition, *(partitions.parse(name, pipeline.partition) for name in names)])
    return max(began, partition.shift(-_ARREARS))


def _to_judge(
    lake: Lake, pipeline: Pipeline, partition: Partition
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List what matured while a partition lasted, and what should have been judged before it."""
    judged = {
        row["measured"] for row in rows(lake, PERFORMANCE) if row["partition"] < str(partition)
    }
    wanted = set(mature_as_of(lake, pipeline, partition)) - judged
    since = judges_since(lake, pipeline, partition)
    history = mature_as_of(lake, pipeline, since.shift(-1), among=wanted)
    before = history
    if since != partition:
        before = mature_as_of(lake, pipeline, partition.shift(-1), among=wanted)
    return partitions_to_judge(wanted, before, history, judged)


def _take_back(lake: Lake, partition: Partition, mature: set[str], origin: Origin) -> None:
    """Remove what a run predicted only to judge it, and has not to judge any more."""
    held = rows(lake, PERFORMANCE)
    before = {row["measured"] for row in held if row["partition"] == str(partition)}
    others = {row["measured"] for row in held if row["partition"] != str(partition)}
    for name in sorted(before - mature - others):
        paths, schema = lake.paths(batch_scoring.TABLE, name), lake.schema(batch_scoring.TABLE)
        if schema is not None and made_then.made_then(lake, name) is None:
            lake.commit(
                *(batch_scoring.TABLE, [], schema),
                partitions=[name],
                origin=origin,
                replacing=paths,
            )


def _keep_first(lake: Lake, judged: set[str], origin: Origin) -> None:
    """Of several records of one partition, keep that of the earliest run."""
    held: dict[str, set[str]] = {}
    for row in rows(lake, PERFORMANCE):
        held.setdefault(row["measured"], set()).add(row["partition"])
    for name in sorted(judged & held.keys()):
        if len(held[name]) > 1:
            where = f"measured = '{name}' and partition > '{min(held[name])}'"
            lake.remove(PERFORMANCE, where, origin=origin)


def decide(
    lake: Lake, pipeline: Pipeline, partition: Partition, origin: Origin
) -> RetrainingDecision:
    """Apply the retraining policy to what is on record up to a partition, and record the answer.

    While the champion is frozen nothing is trained by itself.

    Raises:
        MonitoringError: If the partition's drift or performance was not recorded.
    """
    observations = observe(lake, pipeline)
    if partition not in {item.partition for item in observations}:
        raise MonitoringError(
            f"pipeline {pipeline.name} {partition}: drift must be on record before deciding, "
            "got none. Run detect_drift first."
        )
    decision = hold_back(
        decide_retraining(pipeline.retraining, partition, observations, trainings(lake, pipeline)),
        interventions.freeze_told(Registry(lake).events()),
    )
    ledger.record(
        lake,
        "retraining",
        str(partition),
        "yes" if decision.retrain else "no",
        decision.reason,
        origin=origin,
        evidence=decision.to_dict(),
    )
    return decision


def observe(lake: Lake, pipeline: Pipeline) -> list[Observation]:
    """Read what was observed in every partition."""
    drift = {row["partition"]: row for row in rows(lake, DRIFT)}
    records: dict[str, list[PerformanceRecord]] = {}
    for row in rows(lake, PERFORMANCE):
        record = PerformanceRecord.from_dict(json.loads(row["details"]))
        records.setdefault(row["partition"], []).append(record)
    return [
        Observation.of(
            partitions.parse(name, pipeline.partition),
            row["verdict"],
            row["reason"],
            records.get(name, []),
        )
        for name, row in sorted(drift.items())
    ]


def trainings(lake: Lake, pipeline: Pipeline) -> list[TrainingRecord]:
    """Read which partitions were trained as of, or are about to be, and how that ended."""
    return [
        TrainingRecord(
            partitions.parse(name, pipeline.partition),
            "requested" if state == "started" else state,
        )
        for name, state in ledger.training_states(lake).items()
    ]


def _measure(
    spark: Any,
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    measured: str,
    partition: Partition,
    origin: Origin,
) -> tuple[PerformanceRecord | None, TableReference]:
    """Judge one partition; returns the record and the predictions that it is about.

    There is no record of a snapshot that holds nothing the model was not fitted on.
    """
    held = lake.paths(batch_scoring.TABLE, measured)
    scored, is_of_then = made_then.to_judge(lake, pipeline, measured)
    if scored is None:
        champion = registry.require_champion(partition)
        features = lake.reference(champion.features_table, measured)
        batch_scoring.score(
            spark, lake, pipeline, features, champion, origin, back_scored=True, replacing=held
        )
        # The partition's own run may have come in between: then its predictions are those of then.
        scored, is_of_then = made_then.to_judge(lake, pipeline, measured)
        scored = scored or lake.reference(batch_scoring.TABLE, measured)
    predicted = to_pandas(lake.read(scored.table, partitions=[measured], version=scored.version))
    version = registry.get(int(predicted["model_version"].iloc[0]))
    known = known_labels(lake, partition, pipeline.labels_table)
    judged = join_labels(predicted, known, pipeline, partition.end)
    if not pipeline.has_time:
        # Snapshots hold old acquaintances: a model is not judged on what it was fitted on.
        fitted = trained_on(lake, pipeline, TrainingSet.from_dict(version.training_set))
        judged = judged[~judged[pipeline.entity].isin(fitted)]
        if judged.empty:
            return None, scored
    judged = judged.sort_values(pipeline.entity, kind="stable")
    rule = pipeline.monitoring.performance
    problem = Problem.of(pipeline, version.classes, version.threshold)
    record = assess_performance(
        problem,
        problem.encode_labels(judged[LABEL]),
        prediction_columns.from_frame(problem, judged),
        partition=measured,
        model_version=version.version,
        held_out=HeldOut.of(ledger.held_out_evidence(lake, version.version), rule.metric),
        rule=rule,
        back_scored=not is_of_then,
        seed=pipeline.training.seed,
    )
    return record, scored


def _write(
    lake: Lake, table: str, found: list[dict[str, Any]], partition: Partition, origin: Origin
) -> None:
    schemas = {
        DRIFT: [
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("model_version", pa.int64()),
            ("details", pa.string()),
        ],
        PERFORMANCE: [("measured", pa.string()), ("details", pa.string())],
    }
    written = with_partition(
        pa.Table.from_pylist(found, schema=pa.schema(schemas[table])), str(partition)
    )
    lake.write(table, written, partitions=[str(partition)], origin=origin)


def rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    """Read all rows of ``drift`` or ``performance``; none if it was never written."""
    return list(lake.read_held(table).to_pylist())
