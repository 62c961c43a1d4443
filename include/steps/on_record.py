"""What the records of a pipeline refer to, so that maintenance leaves it where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.registry.succession import PROMOTED, RESTORED
from include.scoring.batch_scoring import TABLE as PREDICTIONS
from include.scoring.made_then import DETAIL
from include.specification.generations import FEATURES, is_one_of
from include.steps.monitoring import PERFORMANCE
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import TableReference
from include.storage.lineage_records import PartitionCommits, written
from include.training.training_sets import TrainingSet

# Every DAG that a person triggers for a pipeline: each writes, if only to registry and ledger.
BY_HAND = (
    *("platform_erase", "platform_freeze", "platform_migrate", "platform_promote"),
    *("platform_refuse", "platform_release", "platform_reprocess", "platform_retire"),
    *("platform_rollback", "platform_unfreeze", "platform_withdraw"),
)


@dataclass(frozen=True)
class OnRecord:
    """What is referred to.

    Args:
        references: Partitions of tables, at versions.
        model_files: Addresses of the files of registered versions.
        versions: Model versions that were ever put in use.
        partitions: Partitions as of which those were trained.
    """

    references: frozenset[TableReference]
    model_files: frozenset[str]
    versions: frozenset[int]
    partitions: frozenset[str]


@dataclass(frozen=True)
class Writers:
    """The DAGs that write to a pipeline's tables, those made by hand among them.

    Args:
        dag_ids: All of them.
        trainings: Those that train.
    """

    dag_ids: frozenset[str]
    trainings: frozenset[str]


def writers(lake: Lake) -> Writers:
    """Name who writes, from the ledger."""
    entries = ledger.entries(lake)
    trainings = {entry.dag_id for entry in entries if entry.kind == "training"}
    trainings |= {f"{lake.pipeline}_train"}
    others = {f"{lake.pipeline}_score", *BY_HAND, *(entry.dag_id for entry in entries)}
    return Writers(frozenset(filter(None, trainings | others)), frozenset(trainings))


def on_record(lake: Lake) -> OnRecord:
    """Read registry, ledger, and the commits of what was predicted and judged."""
    events = Registry(lake).events()
    models = [
        ModelVersion.from_dict(json.loads(row["details"]))
        for row in events
        if row["event"] == "registered"
    ]
    used = {int(row["version"]) for row in events if row["event"] in (PROMOTED, RESTORED)}
    predicted = PartitionCommits(written(lake, PREDICTIONS))
    judged = PartitionCommits(written(lake, PERFORMANCE))
    references = {
        *(TrainingSet.from_dict(model.training_set).reference for model in models),
        *_predictions(lake, predicted),
        *_replaced(lake),
        *_to_release(lake),
        *(
            read
            for name in judged.partitions
            for read in judged.at(name).inputs
            if read.table == PREDICTIONS
        ),
    }
    return OnRecord(
        references=frozenset({*references, *_scored_rows(references, predicted)}),
        model_files=frozenset(uri for model in models for uri, _ in model.files.values()),
        versions=frozenset(used),
        partitions=frozenset(model.partition for model in models if model.version in used),
    )


def _predictions(lake: Lake, commits: PartitionCommits) -> Iterator[TableReference]:
    """Name the predictions of now, and those made then that they replaced."""
    for name in commits.partitions:
        last = commits.at(name)
        for version in {last.version, int(last.details.get(DETAIL, last.version))}:
            yield TableReference(lake.pipeline, PREDICTIONS, version, name, 0)


def _replaced(lake: Lake) -> Iterator[TableReference]:
    """Name the predictions that a reprocessing replaced or is about to: the ledger names them."""
    for entry in ledger.entries(lake, "reprocessing"):
        then = dict(entry.evidence.get("predictions", {}))
        replaced = entry.evidence.get("replaced", {})
        then |= {name: versions["then"] for name, versions in replaced.items()}
        for name, version in then.items():
            yield TableReference(lake.pipeline, PREDICTIONS, int(version), name, 0)


def begun_releases(lake: Lake) -> list[ledger.Entry]:
    """List the entries of the releases that were begun and are not done: whoever is killed."""
    last = {
        entry.evidence["request"]: entry
        for entry in ledger.entries(lake, "release")
        if "request" in entry.evidence
    }
    return [entry for entry in last.values() if entry.decision == "begun"]


def _to_release(lake: Lake) -> Iterator[TableReference]:
    """Name what the releases that are not done are finished from."""
    for entry in begun_releases(lake):
        yield from (TableReference.from_dict(entry.evidence[of]) for of in ("raw", "quarantine"))


def _scored_rows(
    predictions: set[TableReference], commits: PartitionCommits
) -> Iterator[TableReference]:
    """Name the features that predictions were made from: a later scoring compares them."""
    for reference in predictions:
        if reference.table == PREDICTIONS and str(reference.partition) in commits:
            made = commits.until(str(reference.partition), reference.version)
            inputs = made.inputs if made else ()
            yield from (read for read in inputs if is_one_of(read.table, FEATURES))
