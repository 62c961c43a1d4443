"""One pass over a partition's files: read, predict, profile, write.

Each Spark task takes one file of the features table, reads it from the store in bounded batches,
predicts with the verified model, profiles features and scores, and writes its own Parquet. Only
file entries and profiles come back; the task commits the files once. Rows never pass through
the JVM.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import MonitoringError, RelevoError
from include.evaluation.prediction_columns import DECIDED, fields, to_columns, watched
from include.features.held_out import is_held_out
from include.monitoring.binning import Binning
from include.monitoring.profiles import Profile, merge_all, profile
from include.registry.champions import PROFILES
from include.registry.model_files import (
    MODEL,
    ModelVersion,
    load_model,
    load_reference,
    prepare,
    scores_of,
)
from include.spark import worker_errors
from include.specification.metric_names import Task
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem
from include.storage.data_files import PARTITION, DataFile, open_data_file
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.parquet import open_parquet
from include.storage.settings import StoreSettings
from include.wording import some

TABLE = "predictions"
# Detail of a commit: the model version that predicts.
SCORED_BY = "model_version"
_BATCH_ROWS = 131_072
_log = logging.getLogger(__name__)
_RESULT = pa.schema([("file", pa.string()), ("profile", pa.string()), worker_errors.FIELD])


@dataclass(frozen=True)
class Scores:
    """What one scoring pass left behind.

    Args:
        predictions: The partition of ``predictions``.
        profile: Profile of features and scores of the batch.
    """

    predictions: TableReference
    profile: Profile


def score(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    features: TableReference,
    champion: ModelVersion,
    origin: Origin,
    *,
    back_scored: bool = False,
    details: Mapping[str, str] | None = None,
    replacing: Collection[str] | None = None,
) -> Scores:
    """Score one partition of the features table and commit the predictions once.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        features: The partition to score, at a version.
        champion: The version that predicts.
        origin: Who writes.
        back_scored: Mark the predictions as not made then.
        details: What the commit says besides.
        replacing: Files that the partition must still consist of, else nothing is written.

    Raises:
        MonitoringError: If the partition has no rows, and the source may not come without.
    """
    files = lake.files(features)
    if not files and not pipeline.sources[pipeline.primary_source].allow_empty:
        raise MonitoringError(
            f"batch {pipeline.name} {features.partition}: must have rows to score, got none."
        )
    reference = load_reference(lake.settings, champion).profile
    binning = reference.binning
    job = _Job(
        source_uri=lake.uri(features.table),
        target_uri=lake.uri(TABLE),
        partition=str(features.partition),
        keys=pipeline.keys,
        numeric=champion.numeric,
        categorical=champion.categorical,
        task=champion.task,
        classes=champion.classes,
        threshold=champion.threshold,
        model=champion.files[MODEL],
        trusted=champion.trusted,
        model_version=champion.version,
        back_scored=back_scored,
        binning=json.dumps(binning.to_dict()),
        entity=pipeline.entity,
        telling_share=_telling_share(pipeline, reference),
    )
    results = _run(spark, job, [file.path for file in files]) if files else []
    written = [DataFile(**item["file"]) for item in results]
    parts = [Profile.from_dict(item["profile"]) for item in results]
    merged = merge_all(parts) if parts else _empty_profile(champion, binning)
    infinite = [
        f"{name} in {column.non_finite} rows"
        for name, column in merged.numeric.items()
        if column.non_finite
    ]
    if infinite:
        _log.warning(
            "batch %s %s: features should be finite, got infinities of %s of %d. They count as "
            "missing.",
            pipeline.name,
            features.partition,
            some(infinite),
            merged.rows,
        )
    predictions = lake.commit(
        TABLE,
        written,
        _prediction_schema(pipeline, champion, lake, features),
        partitions=[str(features.partition)],
        origin=origin.reading(features),
        details={SCORED_BY: str(champion.version), **(details or {})},
        replacing=replacing,
        # Of versions with a threshold only; those of one pipeline may come in any order.
        optional=[DECIDED] if champion.task == "binary" else [],
    )
    return Scores(predictions, merged)


def _telling_share(pipeline: Pipeline, reference: Profile) -> float | None:
    """Give the share of entities whose predictions are profiled; None for all.

    Batches with a time come after what a model was fitted on. Snapshots hold old acquaintances:
    their predictions are watched on the entities that are held out from every fit, unless the
    reference is of a release that profiled all rows.
    """
    of_all = reference.predictions is None or reference.predictions.rows == reference.rows
    return None if pipeline.has_time or of_all else pipeline.training.holdout


def _empty_profile(version: ModelVersion, binning: Binning) -> Profile:
    """Profile a batch that came without rows."""
    kinds = dict.fromkeys(version.numeric, "float64") | dict.fromkeys(version.categorical, "object")
    frame = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    scores = np.empty((0, len(version.classes)) if version.task == "multiclass" else 0)
    prepared = prepare(frame, version.numeric, version.categorical)
    return profile(prepared, binning, watched(version.problem, scores))


def write_profile(
    lake: Lake, partition: str, version: ModelVersion, current: Profile, origin: Origin
) -> TableReference:
    """Store the profile of a scored batch."""
    row = {"model_version": version.version, "profile": json.dumps(current.to_dict())}
    rows = with_partition(pa.Table.from_pylist([row]), partition)
    details = {SCORED_BY: str(version.version)}
    return lake.write(PROFILES, rows, partitions=[partition], origin=origin, details=details)


def read_profile(lake: Lake, reference: TableReference) -> tuple[int, Profile]:
    """Read a batch's profile; returns (model version, profile)."""
    rows = lake.read(
        PROFILES, partitions=[str(reference.partition)], version=reference.version
    ).to_pylist()
    return rows[0]["model_version"], Profile.from_dict(json.loads(rows[0]["profile"]))


@dataclass(frozen=True)
class _Job:
    """What every Spark task needs to know; plain values, so that it travels."""

    source_uri: str
    target_uri: str
    partition: str
    keys: tuple[str, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    task: Task
    classes: tuple[str, ...]
    threshold: float | None
    model: tuple[str, str]
    trusted: tuple[str, ...]
    model_version: int
    back_scored: bool
    binning: str
    entity: str
    telling_share: float | None


def _run(spark: Any, job: _Job, paths: list[str]) -> list[dict[str, Any]]:
    from pyspark.sql.pandas.types import from_arrow_schema

    def score_files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                try:
                    result = _score_file(job, paths[number])
                except RelevoError as error:
                    result = {"error": worker_errors.told(error)}
                yield pa.RecordBatch.from_pylist([result], schema=_RESULT)

    # One Spark task per file is what spreads the work over cores. A range is cut evenly, while
    # repartition() gives some tasks two files and others none; and it needs no shuffle, which
    # would be lost with an executor.
    numbers = spark.range(0, len(paths), 1, len(paths))
    rows = numbers.mapInArrow(score_files, from_arrow_schema(_RESULT)).collect()
    worker_errors.raise_first(row.error for row in rows)
    results = [{"file": json.loads(row.file), "profile": json.loads(row.profile)} for row in rows]
    # Spark returns tasks in no order; the order of the source files makes merges repeatable.
    return sorted(results, key=lambda item: paths.index(item["file"].pop("source")))


def _score_file(job: _Job, path: str) -> dict[str, str]:
    """Read, predict, profile and write one file; runs in a Spark worker."""
    settings = StoreSettings.from_environment()
    filesystem = settings.filesystem()
    model = load_model(settings, job.model, job.trusted)
    problem = Problem(job.task, job.classes, threshold=job.threshold)
    binning = Binning.from_dict(json.loads(job.binning))
    columns = [*job.keys, *job.numeric, *job.categorical]
    target = f"{PARTITION}={job.partition}/{uuid.uuid4().hex}.parquet"
    total: Profile | None = None
    rows = 0
    with (
        open_data_file(settings, f"{job.source_uri}/{path}") as source,
        filesystem.open_output_stream(settings.path(f"{job.target_uri}/{target}")) as sink,
    ):
        reader = open_parquet(source)
        schema = _schema([reader.schema_arrow.field(name) for name in job.keys], problem)
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for batch in reader.iter_batches(_BATCH_ROWS, columns=columns):
                frame = to_pandas(batch)
                prepared = prepare(frame, job.numeric, job.categorical)
                scores = scores_of(model, problem, prepared)
                telling = (
                    None
                    if job.telling_share is None
                    else is_held_out(frame[job.entity], job.telling_share)
                )
                part = profile(prepared, binning, watched(problem, scores), telling)
                total = part if total is None else total.merge(part)
                rows += len(frame)
                writer.write_table(
                    pa.table(
                        [
                            *(batch.column(name) for name in job.keys),
                            *to_columns(problem, scores),
                            pa.array(np.full(len(frame), job.model_version, np.int64)),
                            pa.array(np.full(len(frame), job.back_scored)),
                        ],
                        schema=schema,
                    )
                )
        size = sink.tell()
    if total is None:
        raise MonitoringError(f"file {path}: must have rows to score, got none.")
    file = {**asdict(DataFile(target, job.partition, size, rows)), "source": path}
    return {"file": json.dumps(file), "profile": json.dumps(total.to_dict())}


def _schema(keys: list[pa.Field], problem: Problem) -> pa.Schema:
    return pa.schema(
        [
            *keys,
            *fields(problem),
            pa.field("model_version", pa.int64()),
            pa.field("back_scored", pa.bool_()),
        ]
    )


def _prediction_schema(
    pipeline: Pipeline, champion: ModelVersion, lake: Lake, features: TableReference
) -> pa.Schema:
    held = pa.schema(lake.open(features.table, features.version).schema().to_arrow())
    schema = _schema([held.field(name) for name in pipeline.keys], champion.problem)
    return schema.append(pa.field(PARTITION, pa.string()))
