"""Changing a pipeline: its next generation is filled and trained on, and takes over by the gate.

What is begun goes on record first, so whoever is killed goes on with it. Nothing of the generation
in use is touched: its champion scores meanwhile, and stays if the gate refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from include.calendar.partitions import Partition, parse
from include.errors import SourceError, TableError, TrainingError
from include.features.feature_function import load_function
from include.features.function_digest import computed_otherwise
from include.registry import interventions, succession
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.specification.pipeline import Pipeline
from include.steps.generations import told
from include.steps.history_completion import carry_over, lacking
from include.steps.interventions import Done, last_scored
from include.steps.landed_history import gone, is_read_whole
from include.storage import ledger
from include.storage.connections import Connections
from include.storage.event_tables import Event
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.wording import as_sentence, counted, some

_KIND: ledger.Kind = "migration"
BEGUN = "begun"
_NOTHING = "There is nothing to migrate."
# What may change of a source between two attempts: none of it is in its tables.
_JUDGING = {"suite", "on_failure", "max_quarantined", "allow_empty", "history"}


@dataclass(frozen=True)
class Migration:
    """What was begun.

    Args:
        who: Who asked for it.
        why: The reason.
        before: Generations of the version in use, as ``Pipeline.generations`` tells them.
        after: Those of the next one.
        as_of: Partition as of which is trained; what comes after it is scored by the new version.
        first: Earlier partitions are left aside; None for all.
        features: Partitions whose features were to be computed when it was begun.
        labels: Partitions whose labels were to be ingested.
        sources: By name, the sources that change, as the pipeline file has them.
        training: Id of the run that trains.
    """

    who: str
    why: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    as_of: str
    first: str | None
    features: Sequence[str]
    labels: Sequence[str]
    sources: Mapping[str, Any]
    training: str


def begin(
    lake: Lake,
    pipeline: Pipeline,
    first: str | None,
    why: str,
    who: str,
    origin: Origin,
    *,
    connections: Connections,
) -> Migration | Done:
    """Put on record what is to be made anew; a run that begins again finds what it began.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        first: Name of the first partition to carry over; None for all.
        why: The reason, for the ledger.
        who: Who asks.
        origin: The run that does it.
        connections: Resolves the connections of SQL sources.

    Returns:
        What is begun, or why there is nothing to do.

    Raises:
        RegistryError: If the champion is frozen.
        SourceError: If landed data that has to be ingested is gone, or the next generation of a
            source holds what another definition of it gave.
    """
    begun = begun_by(lake, origin)
    if begun is not None:
        return begun
    to_be, as_of = pipeline.to_be(), _as_of(lake, pipeline)
    if to_be is None:
        return Done(f"The file of {pipeline.name} names nothing under `next:`. {_NOTHING}", False)
    if as_of is None:
        put = "Put the content of `next:` in its place."
        return Done(f"Nothing of {pipeline.name} was prepared yet. {_NOTHING} {put}", False)
    events = Registry(lake).events()
    held = _version_in_use(lake, events)
    if over := already_in_use(lake, pipeline):
        return Done(f"{over[:1].upper()}{over[1:]} {_NOTHING}", False)
    interventions.demand_unfrozen(events, lake.pipeline, "to migrate it")
    migration = Migration(
        who=who,
        why=why,
        before=(held or pipeline.of_now()).generations,
        after=to_be.generations,
        as_of=str(as_of),
        first=first,
        features=[],
        labels=[],
        sources=_sections(to_be, pipeline),
        training=f"migration__{origin.dag_run_id}",
    )
    _refuse_other_definition(lake, to_be, migration)
    features, labels = _missing(lake, pipeline, to_be, migration.as_of, migration.first)
    _refuse_gone(lake, to_be, features, labels, connections)
    migration = Migration(
        **{
            **asdict(migration),
            "features": [str(item) for item in features],
            "labels": [str(item) for item in labels],
        }
    )
    ledger.record(
        lake,
        _KIND,
        migration.as_of,
        BEGUN,
        f"{who}: {why} ({told(migration.after)} beside {told(migration.before)}; features of "
        f"{counted(len(features), 'partition')}, labels of {len(labels)})",
        origin=origin,
        evidence={"by": who, **asdict(migration)},
    )
    return migration


def already_in_use(lake: Lake, pipeline: Pipeline) -> str:
    """Say that what the file names under ``next`` is in use; '' if it is not."""
    to_be, held = pipeline.to_be(), _version_in_use(lake, Registry(lake).events())
    if to_be is None or held is None or held.generations != to_be.generations:
        return ""
    return (
        f"version {held.version}, which was trained on {told(held.generations)}, is in use. Put "
        "the content of `next:` in the place of what it replaces, and remove `next:`."
    )


def outlook(lake: Lake, pipeline: Pipeline, to_be: Pipeline) -> tuple[str, int, int]:
    """Tell what a migration would do now.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        to_be: What it names under ``next``.

    Returns:
        (partition as of which is trained, or '' if nothing was prepared yet; of how many partitions
        features are computed; of how many labels are ingested).
    """
    as_of = _as_of(lake, pipeline)
    if as_of is None:
        return "", 0, 0
    features, labels = _missing(lake, pipeline, to_be, str(as_of), None)
    return str(as_of), len(features), len(labels)


def begun_by(lake: Lake, origin: Origin) -> Migration | None:
    """Find what a run began."""
    for entry in reversed(ledger.entries(lake, _KIND)):
        if (entry.decision, entry.dag_run_id) == (BEGUN, origin.dag_run_id):
            held = {name: entry.evidence[name] for name in Migration.__dataclass_fields__}
            return Migration(**held)
    return None


def open_run(lake: Lake) -> tuple[str, str] | None:
    """Name the run of the latest migration, as (DAG, run id), unless it has ended."""
    entries = ledger.entries(lake, _KIND)
    last = entries[-1] if entries else None
    return (last.dag_id, last.dag_run_id) if last and last.decision == BEGUN else None


def fill(
    spark: Any,
    lake: Lake,
    pipeline: Pipeline,
    migration: Migration,
    origin: Origin,
    *,
    connections: Connections,
) -> tuple[int, int]:
    """Fill the next generation with what the others hold; what it holds already stays.

    Features that another version of the function computed are computed anew.

    Args:
        spark: Spark Connect session.
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        migration: What was begun.
        origin: The run that does it.
        connections: Resolves the connections of SQL sources.

    Returns:
        (partitions whose features were computed, partitions whose labels were ingested).

    Raises:
        QualityError: If a batch is not fit for use.
        SourceError: If landed data is gone, or of another shape.
        TableError: If a key is of another type, which no table of predictions could hold.
        TrainingError: If the pipeline file does not describe the generation any more.
    """
    if _verdict(lake, migration) is not None:
        return 0, 0
    to_be = _demand(pipeline, migration)
    features, labels = _missing(lake, pipeline, to_be, migration.as_of, migration.first)
    _refuse_gone(lake, to_be, features, labels, connections)
    carry_over(spark, lake, to_be, features, labels, origin, connections=connections)
    _refuse_other_keys(lake, pipeline, to_be)
    return len(features), len(labels)


def finish(lake: Lake, pipeline: Pipeline, migration: Migration, origin: Origin) -> Done:
    """Put on record what came of it.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        migration: What was begun.
        origin: The run that did it.

    Raises:
        TrainingError: If the training has reached no verdict.
    """
    ended = _verdict(lake, migration)
    if ended is None:
        raise TrainingError(
            f"training {pipeline.name} as of {migration.as_of}: run {migration.training} of "
            f"{pipeline.name}_train must have reached a verdict, got none. Clear what failed "
            "there, and when it has ended clear this task: it goes on from there."
        )
    if ended.decision == "promoted":
        following = parse(migration.as_of, pipeline.partition).shift(1)
        decision = "switched"
        reason = (
            f"From {following} on, where nobody scored yet, {told(migration.after)} is in use. "
            f"{_sentence(ended.reason)} Put the content of `next:` in its place now."
        )
    else:
        decision = "refused"
        reason = f"{told(migration.before)} stays in use. {_sentence(ended.reason)}"
    reason = f"{reason[:1].upper()}{reason[1:]}"
    ledger.record(
        lake,
        _KIND,
        migration.as_of,
        decision,
        reason,
        origin=origin,
        evidence={"by": migration.who, "training": migration.training},
    )
    return Done(f"{decision.capitalize()}. {reason}", True)


def _verdict(lake: Lake, migration: Migration) -> ledger.Entry | None:
    ended = ledger.latest(lake, "training", migration.as_of, migration.training)
    return ended if ended is not None and ended.decision in ledger.VERDICTS else None


def _sentence(reason: str) -> str:
    return as_sentence(f"{reason[:1].upper()}{reason[1:]}")


def _demand(pipeline: Pipeline, migration: Migration) -> Pipeline:
    """Describe the next generation, which somebody may have put in its place by now."""
    for one in pipeline.described():
        if one.generations == migration.after:
            return one
    raise TrainingError(
        f"pipeline {pipeline.name}: its file must describe {told(migration.after)}, to which this "
        "run migrates, got another `next:`. Put it back, or trigger another migration."
    )


def _as_of(lake: Lake, pipeline: Pipeline) -> Partition | None:
    """Name the partition after which the next generation may take over."""
    version = _version_in_use(lake, Registry(lake).events())
    names = [last_scored(lake), version.partition if version else ""]
    if not any(names):
        names = [*lake.partitions(pipeline.features_table)]
    last = max(names, default="")
    return parse(last, pipeline.partition) if last else None


def _version_in_use(lake: Lake, events: Sequence[Event]) -> ModelVersion | None:
    version = succession.effective(events, None)
    return None if version is None else Registry(lake).get(version)


def _sections(to_be: Pipeline, pipeline: Pipeline) -> dict[str, Any]:
    return {
        name: source.model_dump(mode="json", exclude_defaults=True, exclude=_JUDGING)
        for name, source in to_be.sources.items()
        if source != pipeline.sources[name]
    }


def _refuse_other_definition(lake: Lake, to_be: Pipeline, migration: Migration) -> None:
    """Refuse to mix what two definitions of a source gave: an attempt of before may have begun."""
    for entry in ledger.entries(lake, _KIND):
        for name, before in entry.evidence.get("sources", {}).items():
            section = migration.sources.get(name)
            if (
                section is not None
                and before.get("generation") == section.get("generation")
                and before != section
                and lake.partitions(to_be.raw_table(name))
            ):
                number = to_be.sources[name].generation
                raise SourceError(
                    f"source {name}: generation {number} must be defined as it was when run "
                    f"{entry.dag_run_id} began to fill it, got another definition. Write "
                    f"generation: {number + 1} under next.sources.{name}, and a new one under "
                    "next.features."
                )


def _missing(
    lake: Lake, pipeline: Pipeline, to_be: Pipeline, as_of: str, first: str | None
) -> tuple[list[Partition], list[Partition]]:
    until = parse(as_of, pipeline.partition)
    since = None if first is None else parse(first, pipeline.partition)
    features, labels = lacking(lake, to_be, until, since)
    if to_be.features_table != pipeline.features_table:
        held = computed_otherwise(lake, to_be, load_function(to_be), latest=None)
        features = sorted({*features, *(parse(name, pipeline.partition) for name in held)})
    return features, labels


def _refuse_other_keys(lake: Lake, pipeline: Pipeline, to_be: Pipeline) -> None:
    before, after = (lake.schema(one.features_table) for one in (pipeline, to_be))
    if before is None or after is None:
        return
    for key in pipeline.keys:
        types = (before.field(key).type, after.field(key).type)
        if types[0] != types[1]:
            raise TableError(
                f"table {lake.pipeline}.{to_be.features_table}: {key} must be of the type that it "
                f"has in {pipeline.features_table}, {types[0]}, because predictions of both are in "
                f"one table, got {types[1]}. Cast it in the feature function, and write the next "
                "generation."
            )


def _refuse_gone(
    lake: Lake,
    to_be: Pipeline,
    features: Sequence[Partition],
    labels: Sequence[Partition],
    connections: Connections,
) -> None:
    for source, names in gone(lake, to_be, features, labels, connections).items():
        if is_read_whole(to_be, source):
            raise SourceError(
                f"source {source}: every run reads all of it, so it must be what it was to be "
                f"ingested anew, got another content since {some(map(str, names))} was ingested. "
                f"Take {source} out of `next`, or migrate from a later partition on: --first."
            )
        raise SourceError(
            f"source {source}: history must have landed to be ingested anew, got nothing for "
            f"{some(map(str, names))}. Land it again, or migrate from a later partition on: "
            "--first."
        )
