"""The history that a training needs: what landed and no scoring run has prepared, or anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from include.calendar.partitions import Partition, parse
from include.features import feature_function, labels
from include.ingestion.landed_partitions import landed_partitions
from include.scoring.reprocessing_requests import open_request
from include.specification.pipeline import Pipeline
from include.steps.preparation import ingest, quarantine_table, raw_table, validate_partitions
from include.storage.connections import Connections, from_environment
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin


def complete_history(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    until: Partition,
    origin: Origin,
    *,
    connections: Connections = from_environment,
    first: Partition | None = None,
    sample: int | None = None,
) -> tuple[str, ...]:
    """Ingest, validate and compute whatever was landed up to a partition and is missing so far.

    A run that is repeated for a request completes nothing: what was corrected has been prepared.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        until: Latest partition.
        origin: Who writes.
        connections: Resolves the connections of SQL sources.
        first: Leave earlier partitions aside; None prepares all that landed.
        sample: Ingest at most so many rows of a partition of features; all of them if None.

    Returns:
        Names of the partitions whose features were computed.

    Raises:
        QualityError: If a batch of the history is not fit for use.
        UnavailableError: If another run wrote one of the partitions meanwhile; nothing of it is
            replaced.
    """

    def landed(source: str) -> list[Partition]:
        return landed_partitions(lake.settings, pipeline, source, until, connections)

    def absent(source: str, *tables: str) -> list[Partition]:
        held = set.intersection(*(set(lake.partitions(table)) for table in tables))
        return [partition for partition in landed(source) if str(partition) not in held]

    def prepare(source: str, wanted: Sequence[Partition], rows: int | None) -> None:
        _prepare(lake, pipeline, source, wanted, origin, connections, rows)

    def needed(source: str) -> list[Partition]:
        # Also what is in the raw table: an earlier release put rows there before it validated them.
        history = range(1, pipeline.sources[source].history + 1)
        earlier = {partition.shift(-step) for partition in missing for step in history}
        return sorted({*missing, *(earlier.intersection(landed(source)) if earlier else ())})

    if open_request(lake, origin) is not None:
        return ()
    primary = pipeline.primary_source
    missing = [
        partition
        for partition in absent(primary, feature_function.TABLE)
        if first is None or partition >= first
    ]
    if not pipeline.labels_in_row:
        # Whoever was killed between the two has written the labels and not the rows.
        both = (labels.TABLE, raw_table(pipeline.label_source))
        prepare(pipeline.label_source, absent(pipeline.label_source, *both), None)
    if not missing:
        return ()
    prepare(primary, missing, sample)
    for source in pipeline.feature_sources:
        if source != primary:
            prepare(source, needed(source), None)
    _compute(spark, lake, pipeline, missing, origin)
    return tuple(str(partition) for partition in missing)


def prepare_again(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    corrected: Collection[tuple[str, str]],
    history: Mapping[str, Collection[str]],
    origin: Origin,
    *,
    connections: Connections = from_environment,
) -> None:
    """Ingest and validate what was corrected, and compute anew the features of history.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        corrected: Names of sources and partitions.
        history: By partition, its tables that were made from data of before.
        origin: Who writes.
        connections: Resolves the connections of SQL sources.

    Raises:
        QualityError: If a batch is not fit for use.
        SourceError: If one cannot be ingested.
    """

    def parsed(names: Iterable[str]) -> list[Partition]:
        return [parse(name, pipeline.partition) for name in sorted(names)]

    for source in pipeline.sources:
        wanted = parsed(name for of, name in corrected if of == source)
        _prepare(lake, pipeline, source, wanted, origin, connections)
    table = feature_function.TABLE
    wanted = parsed(name for name, tables in history.items() if table in tables)
    _compute(spark, lake, pipeline, wanted, origin)


def _prepare(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    wanted: Sequence[Partition],
    origin: Origin,
    connections: Connections,
    sample: int | None = None,
) -> None:
    """Ingest and validate partitions of a source, unless another run writes them meanwhile."""
    if wanted:
        held = _held(lake, pipeline, source, raw_table(source), wanted)
        draft = ingest(
            lake, pipeline, source, wanted, origin, connections=connections, sample=sample
        )
        validate_partitions(
            lake, pipeline, source, draft, wanted, origin, publish=False, replacing=held
        )


def _compute(
    spark: Any, lake: Lake, pipeline: Pipeline, wanted: Sequence[Partition], origin: Origin
) -> None:
    """Compute and validate the features of partitions, unless another run writes them meanwhile."""
    if wanted:
        table = feature_function.TABLE
        sources = {name: lake.reference(raw_table(name)) for name in pipeline.feature_sources}
        held = _held(lake, pipeline, table, table, wanted)
        names = [str(partition) for partition in wanted]
        draft = feature_function.compute(spark, lake, pipeline, sources, names, origin)
        validate_partitions(
            lake, pipeline, table, draft, wanted, origin, publish=False, replacing=held
        )


def _held(
    lake: Lake, pipeline: Pipeline, dataset: str, table: str, wanted: Sequence[Partition]
) -> dict[str, frozenset[str]]:
    """Tell which files of some partitions are in the tables that validating writes."""
    also = [labels.TABLE] if dataset == pipeline.label_source else []
    names = [str(partition) for partition in wanted]
    return {name: lake.paths(name, *names) for name in (table, quarantine_table(dataset), *also)}
