"""The history that a training needs: what landed and no scoring run has prepared, or anew.

Or what a generation of the tables lacks, of what others hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from include.calendar.partitions import Partition, parse
from include.features import feature_function
from include.ingestion.landed_partitions import landed_partitions
from include.scoring.reprocessing_requests import open_request
from include.specification.generations import FEATURES, LABELS
from include.specification.pipeline import Pipeline
from include.steps.preparation import ingest, validate_partitions
from include.steps.stored_generations import stored_generations
from include.storage.connections import Connections, from_environment
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.lineage_records import PartitionCommits, written

_AT_ONCE = 8  # partitions that one commit fills


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
        for partition in absent(primary, pipeline.features_table)
        if first is None or partition >= first
    ]
    if not pipeline.labels_in_row:
        # Whoever was killed between the two has written the labels and not the rows.
        both = (pipeline.labels_table, pipeline.raw_table(pipeline.label_source))
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

    done: set[str] = set()
    for number, one in enumerate(pipeline.described()):
        for source in one.sources:
            table = one.raw_table(source)
            named = {name for of, name in corrected if of == source}
            # A generation that is prepared takes over what it holds, be it nothing.
            wanted = named if number == 0 else named.intersection(_written(lake, table))
            if table not in done:
                _prepare(lake, one, source, parsed(wanted), origin, connections)
            done.add(table)
        if one.features_table not in done:
            stale = (name for name, tables in history.items() if one.features_table in tables)
            _compute(spark, lake, one, parsed(stale), origin)
        done.add(one.features_table)


def complete_partition(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    partition: Partition,
    origin: Origin,
    *,
    connections: Connections = from_environment,
) -> None:
    """Ingest, validate and compute what a generation of the tables lacks of one partition.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file, of that generation.
        partition: The partition.
        origin: Who writes.
        connections: Resolves the connections of SQL sources.

    Raises:
        QualityError: If a batch is not fit for use.
        SourceError: If one cannot be ingested.
    """
    for source in pipeline.feature_sources:
        prepare_absent(lake, pipeline, source, [partition], origin, connections)
    if str(partition) not in lake.partitions(pipeline.features_table):
        _compute(spark, lake, pipeline, [partition], origin)


def carry_over(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    features: Sequence[Partition],
    labels: Sequence[Partition],
    origin: Origin,
    *,
    connections: Connections = from_environment,
) -> None:
    """Fill a generation of the tables with partitions that others hold, a few at a time.

    What it holds already is not ingested again; features that are named are computed anew. Whoever
    is killed has left whole partitions, and goes on with the rest.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file, of that generation.
        features: Partitions whose features are computed, in order.
        labels: Partitions whose labels are ingested, in order.
        origin: Who writes.
        connections: Resolves the connections of SQL sources.

    Raises:
        QualityError: If a batch is not fit for use.
        SourceError: If one cannot be ingested.
        UnavailableError: If another run wrote one of the partitions meanwhile.
    """
    for wanted in _batches(labels):
        prepare_absent(lake, pipeline, pipeline.label_source, wanted, origin, connections)
    for wanted in _batches(features):
        for source in pipeline.feature_sources:
            prepare_absent(lake, pipeline, source, wanted, origin, connections)
        _compute(spark, lake, pipeline, wanted, origin)


def lacking(
    lake: Lake,
    pipeline: Pipeline,
    until: Partition,
    first: Partition | None = None,
) -> tuple[list[Partition], list[Partition]]:
    """Name the partitions that other generations of the tables hold and one does not.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file, of that generation.
        until: Latest partition.
        first: Leave earlier partitions aside.

    Returns:
        (those of the features, those of the labels), each in order.
    """

    def compared(tables: Iterable[str], own: str) -> list[Partition]:
        held = {name for table in tables if table != own for name in lake.partitions(table)}
        missing = held - set(lake.partitions(own)) if held else set()
        parsed = [parse(name, pipeline.partition) for name in sorted(missing)]
        return [item for item in parsed if item <= until and (first is None or item >= first)]

    return (
        compared(stored_generations(lake, FEATURES), pipeline.features_table),
        compared(stored_generations(lake, LABELS), pipeline.labels_table),
    )


def absent_of_source(
    lake: Lake, pipeline: Pipeline, source: str, wanted: Iterable[Partition]
) -> list[Partition]:
    """Name the partitions, in order, of which the tables of a source hold nothing validated yet."""
    tables = [pipeline.raw_table(source)]
    if source == pipeline.label_source:
        # Whoever was killed between the two has written the labels and not the rows.
        tables.append(pipeline.labels_table)
    held = set.intersection(*(set(_written(lake, table)) for table in tables))
    return [partition for partition in sorted(wanted) if str(partition) not in held]


def _written(lake: Lake, table: str) -> tuple[str, ...]:
    """Name the partitions that were ever written, also those that came without rows."""
    # An earlier release did not say in its commits.
    return (*PartitionCommits(written(lake, table)).partitions, *lake.partitions(table))


def prepare_absent(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    wanted: Sequence[Partition],
    origin: Origin,
    connections: Connections,
) -> None:
    """Ingest and validate what the tables of a source lack of partitions, and of its history.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file, of the generation.
        source: Name of the source.
        wanted: The partitions, at least one.
        origin: Who writes.
        connections: Resolves the connections of SQL sources.

    Raises:
        QualityError: If a batch is not fit for use.
        SourceError: If one cannot be ingested.
    """
    steps = range(pipeline.sources[source].history + 1)
    needed = {partition.shift(-step) for partition in wanted for step in steps}
    absent = absent_of_source(lake, pipeline, source, needed)
    if not set(absent) <= set(wanted):
        found = landed_partitions(lake.settings, pipeline, source, max(wanted), connections)
        absent = [item for item in absent if item in wanted or item in found]
    _prepare(lake, pipeline, source, absent, origin, connections)


def _batches(wanted: Sequence[Partition]) -> Iterator[Sequence[Partition]]:
    return (wanted[at : at + _AT_ONCE] for at in range(0, len(wanted), _AT_ONCE))


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
        held = _held(lake, pipeline, source, pipeline.raw_table(source), wanted)
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
        dataset = feature_function.TABLE
        sources = {
            name: lake.reference(pipeline.raw_table(name)) for name in pipeline.feature_sources
        }
        held = _held(lake, pipeline, dataset, pipeline.features_table, wanted)
        names = [str(partition) for partition in wanted]
        draft = feature_function.compute(spark, lake, pipeline, sources, names, origin)
        validate_partitions(
            lake, pipeline, dataset, draft, wanted, origin, publish=False, replacing=held
        )


def _held(
    lake: Lake, pipeline: Pipeline, dataset: str, table: str, wanted: Sequence[Partition]
) -> dict[str, frozenset[str]]:
    """Tell which files of some partitions are in the tables that validating writes."""
    also = [pipeline.labels_table] if dataset == pipeline.label_source else []
    names = [str(partition) for partition in wanted]
    written = (table, pipeline.quarantine_table(dataset), *also)
    return {name: lake.paths(name, *names) for name in written}
