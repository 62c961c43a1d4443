"""Which generation of a pipeline's tables a step works on.

Whoever scores, watches or judges a partition works on what its champion was trained on, which is
what the pipeline file describes, in place or under ``next``. So nothing changes for the champion of
now while the next generation is prepared, and whatever takes its place brings its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from include.calendar.partitions import Partition, parse
from include.errors import RegistryError, SpecificationError, TrainingError
from include.features.feature_function import TABLE as FEATURES
from include.registry import succession
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.specification.generations import LABELS
from include.specification.pipeline import Pipeline
from include.steps.history_completion import (
    carry_over,
    complete_partition,
    lacking,
    prepare_absent,
)
from include.steps.landed_history import gone
from include.steps.stored_generations import stored_generations
from include.storage import ledger
from include.storage.connections import Connections
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin, TableReference
from include.wording import some

# Parameter of a training run that asks for generations other than those of the champion.
ASKED = "generations"
_log = logging.getLogger(__name__)


def told(generations: Mapping[str, int]) -> str:
    """Name generations for people."""
    numbers = {FEATURES: 1, **generations}
    return ", ".join(f"generation {number} of {name}" for name, number in numbers.items())


def in_use(lake: Lake, pipeline: Pipeline, partition: Partition) -> Pipeline:
    """Describe the generation of the champion as of a partition; that of now if there is none.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        partition: The partition.
    """
    if pipeline.next is None:
        return pipeline
    champion = Registry(lake).champion_as_of(partition)
    return (champion and of_version(pipeline, champion)) or pipeline.of_now()


def in_use_now(lake: Lake, pipeline: Pipeline) -> Pipeline:
    """Describe the generation of the version that is in use at the end of time."""
    if pipeline.next is None:
        return pipeline
    registry = Registry(lake)
    version = succession.effective(registry.events(), None)
    held = None if version is None else of_version(pipeline, registry.get(version))
    return held or pipeline.of_now()


def of_version(pipeline: Pipeline, version: ModelVersion) -> Pipeline | None:
    """Describe the generation that a version was trained on; None if the file does not any more.

    If it describes only its features, and labels of another generation, that will do.
    """
    exact = _described(pipeline, version.generations)
    alike = [one for one in pipeline.described() if one.features_table == version.features_table]
    return exact or next(iter(alike), None)


def of_table(pipeline: Pipeline, dataset: str, table: str) -> Pipeline:
    """Describe the generation of a draft.

    Args:
        pipeline: The pipeline file.
        dataset: ``features``, or the name of a source.
        table: The table that the draft is of.

    Raises:
        SpecificationError: If the file does not describe it any more.
    """
    for one in pipeline.described():
        if table == (one.features_table if dataset == FEATURES else one.raw_table(dataset)):
            return one
    raise SpecificationError(
        f"pipeline {pipeline.name}: its file must describe table {table}, of which the draft is, "
        "got another generation. Clear the run from its first task on."
    )


def of_training(
    lake: Lake,
    pipeline: Pipeline,
    partition: Partition,
    dag_run_id: str,
    asked: Mapping[str, int] | None,
) -> Pipeline:
    """Describe the generation that a training run is about.

    Once it has begun that stays. Before, it is what the run's parameters ask for, as a migration
    does, else that of the version which the training may replace.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        partition: Partition as of which is trained.
        dag_run_id: The run.
        asked: What the parameters ask for.

    Raises:
        TrainingError: If the file does not describe it any more.
    """
    begun = [
        entry.evidence["pipeline"]
        for entry in ledger.entries(lake, "training")
        if (entry.partition, entry.dag_run_id) == (str(partition), dag_run_id)
        and "pipeline" in entry.evidence
    ]
    if begun:
        return _demand(pipeline, partition, _generations_of(begun[0]))
    if asked is not None:
        return _demand(pipeline, partition, asked)
    if pipeline.next is None:
        return pipeline
    held = Registry(lake).promoted_for(partition.shift(1))
    return (held and of_version(pipeline, held)) or pipeline.of_now()


def sources_to_read(
    lake: Lake,
    pipeline: Pipeline,
    validated: Mapping[str, TableReference],
    partition: Partition,
    origin: Origin,
    *,
    connections: Connections,
) -> dict[str, TableReference]:
    """Find what the features of a generation are computed from.

    A source that was validated for another one, because another version came into use meanwhile, is
    ingested for this one.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file, of the generation.
        validated: By source, what the tasks before have validated.
        partition: The partition.
        origin: Who asks.
        connections: Resolves the connections of SQL sources.
    """
    found = dict(validated)
    for name, reference in validated.items():
        table = pipeline.raw_table(name)
        if reference.table != table:
            prepare_absent(lake, pipeline, name, [partition], origin, connections)
            found[name] = lake.latest(replace(reference, table=table))
    return found


def features_to_score(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    champion: ModelVersion,
    prepared: TableReference,
    partition: Partition,
    origin: Origin,
    connections: Connections,
) -> TableReference:
    """Find the features of a partition of the generation that a version was trained on.

    If the tasks before have prepared those of another one, because another version came into use
    meanwhile, what is missing is completed.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        champion: The version that is to score.
        prepared: Features that were prepared.
        partition: The partition.
        origin: Who asks.
        connections: Resolves the connections of SQL sources.

    Raises:
        RegistryError: If the features are not there, and the file does not describe them any more.
    """
    if prepared.table == champion.features_table:
        return prepared
    one = of_version(pipeline, champion)
    if one is not None:
        complete_partition(spark, lake, one, partition, origin, connections=connections)
    elif str(partition) not in lake.partitions(champion.features_table):
        raise RegistryError(
            f"pipeline {pipeline.name}: its file must describe {told(champion.generations)}, on "
            f"which version {champion.version} was trained that is in use for {partition}, got "
            f"{_told_of(pipeline)}. Put the sections of then back in their place, and those of now "
            "under `next:`; or go back to a version of now with "
            f"`./relevo rollback {pipeline.name}`."
        )
    wanted = TableReference(lake.pipeline, champion.features_table, 0, str(partition), 0)
    return lake.latest(wanted)


def demand_described(pipeline: Pipeline, model: ModelVersion) -> None:
    """Refuse to put in use what could score nothing that comes.

    Args:
        pipeline: The pipeline file.
        model: The version that is to be put in use.

    Raises:
        RegistryError: If the file does not describe the features that it was trained on.
    """
    if of_version(pipeline, model) is None:
        raise RegistryError(
            f"pipeline {pipeline.name}: its file must describe {told(model.generations)}, on which "
            f"version {model.version} was trained, for that to be put in use, got "
            f"{_told_of(pipeline)}. Put the sections of then back in their place, and those of now "
            "under `next:`; or choose another version."
        )


def caught_up(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    until: Partition,
    origin: Origin,
    connections: Connections,
) -> Pipeline:
    """Complete the generation in use by what others prepared since it began: labels above all.

    What has not landed any more stays as it is, and is told.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        until: Latest partition.
        origin: Who asks.
        connections: Resolves the connections of SQL sources.

    Returns:
        The pipeline file, of the generation in use.
    """
    one = in_use(lake, pipeline, until)
    others = {*stored_generations(lake, FEATURES, LABELS)} - {one.features_table, one.labels_table}
    begun = lake.partitions(one.features_table) if others else ()
    if not begun:
        return one
    first = parse(begun[0], pipeline.partition)
    features, labels = lacking(lake, one, until, first)
    missing = {
        item for names in gone(lake, one, features, labels, connections).values() for item in names
    }
    if missing:
        _log.warning(
            "%s lack %s, which are not there any more as they were",
            told(one.generations).capitalize(),
            some(sorted(map(str, missing))),
        )
    carry_over(
        spark,
        lake,
        one,
        [item for item in features if item not in missing],
        [item for item in labels if item not in missing],
        origin,
        connections=connections,
    )
    return one


def _told_of(pipeline: Pipeline) -> str:
    """Name the generations that the file describes, for people."""
    return " and ".join(told(one.generations) for one in pipeline.described())


def _described(pipeline: Pipeline, generations: Mapping[str, int]) -> Pipeline | None:
    found = [one for one in pipeline.described() if one.generations == dict(generations)]
    return found[0] if found else None


def _demand(pipeline: Pipeline, partition: Partition, wanted: Mapping[str, int]) -> Pipeline:
    one = _described(pipeline, wanted)
    if one is None:
        raise TrainingError(
            f"training {pipeline.name} as of {partition}: the pipeline file must describe "
            f"{told(wanted)}, which this run is about, got {_told_of(pipeline)}. Trigger another "
            "training, or put the sections of then back."
        )
    return one


def _generations_of(document: Mapping[str, Any]) -> dict[str, int]:
    """Read generations from a pipeline file as the ledger holds it, without defaults."""
    sections = {FEATURES: document.get(FEATURES, {}), **document.get("sources", {})}
    numbers = {name: section.get("generation", 1) for name, section in sections.items()}
    return {name: number for name, number in numbers.items() if number > 1}
