"""Forgetting people: their rows leave every version of every table, landed files and texts.

Everything else stays as it is: versions, lineage, models, and what was predicted for others. Which
models were trained on the rows is found before any row goes, and put on record first, so that it
is known also if this is killed. The ids themselves come in an object, which is deleted at the end,
and are written nowhere.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from include.errors import SourceError, TableError, UnavailableError
from include.ingestion.entity_ids import EntityIds, read_ids
from include.registry.champions import TABLE as REGISTRY
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.specification.generations import keeps_rows_as_text
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import ROW_ID
from include.steps.alert_outbox import TABLE as ALERTS
from include.steps.landed_erasure import LandedErasure
from include.steps.preparation import landed_schema
from include.steps.release import releases
from include.steps.retirement_archive import untraceable
from include.steps.trial_tables import remove_trial
from include.storage import ledger
from include.storage.connections import Connections
from include.storage.data_files import PARTITION
from include.storage.inventory import take_inventory
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore, join
from include.storage.row_removal import Picked, find_rows, redact_rows, remove_rows
from include.storage.settings import LAKE, REPORTS
from include.storage.text_redaction import Redaction
from include.training.training_sets import TrainingSet
from include.wording import counted, some

_log = logging.getLogger(__name__)
_BEGUN, _DONE = "begun", "done"
# Texts of tables that may quote what failed, or what people said.
_TEXT_COLUMNS = {
    ALERTS: ("message", "details"),
    ledger.TABLE: ("reason", "evidence"),
    REGISTRY: ("reason", "details"),
}
_TEXTS = (".html", ".json", ".txt", ".csv", ".svg")


@dataclass(frozen=True)
class Found:
    """Where the people are, told without their ids.

    Args:
        people: How many ids were asked for.
        tables: By table, rows in all its versions and files.
        files: Landed files that hold them.
        landed: Rows in those.
        versions: Model versions that were trained on them.
        unknown: Where nobody can be found: sources without the column of the ids, leftovers beside
            landed files that cannot be read, and archived models without their training sets.
    """

    people: int
    tables: Mapping[str, int]
    files: int
    landed: int
    versions: tuple[int, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        """Render for people."""
        rows, asked = sum(self.tables.values()), counted(self.people, "id")
        if not rows and not self.landed:
            return (
                f"{asked}, of whom nobody is in any table or landed file: look whether they are "
                "one a line, as the source has them."
            )
        told = (
            f"{asked}: {rows} rows of {some(self.tables, nothing='no table')}, "
            f"{self.landed} rows of {self.files} landed files."
        )
        if self.versions:
            told += f" Trained on them: versions {', '.join(map(str, self.versions))}."
        if self.unknown:
            told += f" Not looked through: {some(self.unknown)}."
        return told


def erasures(pipeline: str) -> str:
    """Name the folder of what requests bring, and of what is begun."""
    return f"s3://{LAKE}/{pipeline}/erasures"


def ids_uri(pipeline: str, name: str) -> str:
    """Name the object with the ids of a request, one a line; deleted when they are erased."""
    return join(erasures(pipeline), f"{name}.txt")


def hand_in(lake: Lake, pipeline: Pipeline, texts: Sequence[str], why: str) -> str:
    """Write the ids of a request, which are deleted when they are erased; returns its name.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        texts: The ids.
        why: The reason that the request will have.

    Raises:
        SourceError: If the pipeline numbers its rows, or the reason has one of the ids.
    """
    _demand_entity(pipeline)
    _demand_nameless(Redaction(texts), why)
    name = uuid.uuid4().hex
    data = "\n".join(texts).encode()
    ObjectStore(lake.settings).write(ids_uri(lake.pipeline, name), data, "text/plain")
    return name


def erase(
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    name: str,
    why: str,
    who: str,
    origin: Origin,
    *,
    connections: Connections,
) -> Found:
    """Erase the people of a request; whoever was killed is finished by the same run again.

    No run of the pipeline may be active meanwhile.

    Args:
        lake: The pipeline's tables.
        registry: Its versions.
        pipeline: The pipeline file.
        name: Name of the request, whose object holds the ids.
        why: The reason, for the ledger.
        who: Who asks.
        origin: The run that does it.
        connections: Resolves the connections of SQL sources.

    Raises:
        SourceError: If there are no ids, the reason has one of them, the pipeline numbers its rows,
            a landed file cannot be read, or a query still knows somebody.
    """
    store, uri = ObjectStore(lake.settings), ids_uri(pipeline.name, name)
    recorded = _recorded(lake, name)
    if recorded.get(_DONE) is not None and not store.exists(uri):
        return recorded[_DONE]
    ids = _read(lake, pipeline, store, uri)
    redaction = Redaction(ids.texts)
    found = recorded.get(_BEGUN)
    if found is None:
        _demand_nameless(redaction, why)
    _refuse_others(lake, store, name)
    landed = LandedErasure(lake, pipeline, ids)
    tables = _tables_about(lake, pipeline, ids)
    rows = {
        table: held for table, picked in tables.items() if (held := find_rows(lake, table, picked))
    }
    landed.refuse_queries(rows, connections)
    if found is None:
        found = Found(
            people=len(ids),
            tables={table: sum(files.values()) for table, files in rows.items()},
            files=len(landed.files),
            landed=sum(landed.files.values()),
            versions=tuple(_trained_on(lake, registry, rows)),
            unknown=(*landed.without_ids(), *untraceable(lake)),
        )
        _record(lake, name, found, _BEGUN, why, who, origin)
    records = landed.begin_records(f"{erasures(pipeline.name)}/{name}", rows, connections)
    landed.remove()
    _log.info("Removed %d objects of `./relevo run`", remove_trial(store, pipeline.name))
    for table, picked in tables.items():
        remove_rows(lake, table, picked, rows.get(table, ()))
    for each in records:
        each.finish()
    store.delete_below(releases(pipeline.name))  # may be about them; hand it in again
    folder = f"s3://{REPORTS}/{pipeline.name}"
    for table, columns in _TEXT_COLUMNS.items():
        if lake.exists(table):
            redact_rows(lake, table, columns, redaction)
    pages = redaction.redact_below(store, folder, lambda one: one.endswith(_TEXTS))
    _log.info("Taken out of %d pages and results", len(pages))
    # A writer that nobody knew of, or a checkpoint of before, would show now.
    for table, picked in tables.items():
        late = find_rows(lake, table, picked)
        remove_rows(lake, table, picked, late)
        if late:
            raise UnavailableError(
                f"table {lake.pipeline}.{table}: nobody may write while rows are erased, got rows "
                "that came meanwhile. Look who did, and clear this task."
            )
    _forget_repeated(store, pipeline.name, uri, ids)
    _record(lake, name, found, _DONE, why, who, origin)
    return found


def erase_landed(lake: Lake, pipeline: Pipeline, texts: Sequence[str]) -> int:
    """Take their rows out of landed files alone, for a run that may not write those.

    Args:
        lake: The pipeline's tables, reached by whoever may write landed files.
        pipeline: The pipeline file.
        texts: The ids.

    Returns:
        From how many files.

    Raises:
        SourceError: If a landed file cannot be read or written.
    """
    return LandedErasure(lake, pipeline, _ids(lake, pipeline, texts)).remove()


def forget_ids(lake: Lake, name: str) -> None:
    """Delete the ids of a request, as the last thing of all."""
    ObjectStore(lake.settings).delete(ids_uri(lake.pipeline, name))


def _forget_repeated(store: ObjectStore, pipeline: str, uri: str, ids: EntityIds) -> None:
    """Delete what other requests brought whose people are all erased: the first tries of this."""
    for item in store.list(erasures(pipeline)):
        if item.uri.endswith(".txt") and item.uri != uri:
            try:
                texts = read_ids(store.read(item.uri), f"request {item.uri}")
            except SourceError as error:
                _log.warning("Left aside: %s", error)
                continue
            if set(texts) <= set(ids.texts):
                store.delete(item.uri)


def read_redaction(lake: Lake, name: str) -> Redaction | None:
    """Read what logs must not hold; None if the ids of the request are deleted already."""
    store, uri = ObjectStore(lake.settings), ids_uri(lake.pipeline, name)
    return Redaction(read_ids(store.read(uri), f"request {name}")) if store.exists(uri) else None


def _read(lake: Lake, pipeline: Pipeline, store: ObjectStore, uri: str) -> EntityIds:
    if not store.exists(uri):
        raise SourceError(
            f"request {uri}: must hold the ids, one a line, got no such object. Hand them in with "
            f"`./relevo erase {pipeline.name}`."
        )
    return _ids(lake, pipeline, read_ids(store.read(uri), f"request {uri}"))


def _ids(lake: Lake, pipeline: Pipeline, texts: Sequence[str]) -> EntityIds:
    _demand_entity(pipeline)
    schema = landed_schema(lake, pipeline, pipeline.primary_source)
    is_number = schema is not None and not pa.types.is_string(schema.field(pipeline.entity).type)
    return EntityIds(texts, are_numbers=is_number)


def _demand_nameless(redaction: Redaction, why: str) -> None:
    """Refuse a reason that would keep, in the ledger and in Airflow, who is erased."""
    if redaction.redact_value(why) != why:
        raise SourceError(
            "reason: must not name who is erased, got one of the ids. Ask again with another one; "
            "a run that was triggered with this one keeps it until it is deleted in Airflow."
        )


def _demand_entity(pipeline: Pipeline) -> None:
    if pipeline.entity == ROW_ID:
        raise SourceError(
            f"pipeline {pipeline.name}: must have an entity for somebody to be found, got rows "
            "that are numbered by their place. Have the rows removed from what landed, and "
            "reprocess."
        )


def _tables_about(lake: Lake, pipeline: Pipeline, ids: EntityIds) -> dict[str, Picked]:
    """Say of each table that knows entities which rows are about somebody."""
    entity = pipeline.entity

    def held_as_json(rows: pa.Table) -> pa.Array:
        keys = [json.loads(row).get(entity) for row in rows["row"].to_pylist()]
        texts = pa.array([None if key is None else str(key) for key in keys], pa.string())
        return ids.mask(pa.chunked_array([texts]))

    found = {}
    for table in take_inventory(lake).tables:
        schema = lake.schema(table)
        if keeps_rows_as_text(table):
            found[table] = Picked(("row",), held_as_json)
        elif schema is not None and entity in schema.names:
            found[table] = Picked((entity,), lambda rows: ids.mask(rows[entity]))
    return found


def _trained_on(
    lake: Lake, registry: Registry, rows: Mapping[str, Mapping[str, int]]
) -> Iterator[int]:
    """Find the versions whose training set has one of the files with their rows, by table."""
    for row in registry.events():
        if row["event"] == "registered":
            model = ModelVersion.from_dict(json.loads(row["details"]))
            reference = TrainingSet.from_dict(model.training_set).reference
            files = rows.get(reference.table, {})
            try:
                trained = {file.path for file in lake.files(reference)}
            except TableError:
                # A log that an earlier release cut: whatever there is of the partition.
                folder = f"{PARTITION}={reference.partition}/"
                trained = {path for path in files if path.startswith(folder)}
            if trained & files.keys():
                yield model.version


def _refuse_others(lake: Lake, store: ObjectStore, name: str) -> None:
    """Refuse while another request is begun and not done: its run has to end first."""
    states: dict[str, ledger.Entry] = {}
    for entry in ledger.entries(lake, "erasure"):
        states[entry.evidence["request"]] = entry
    for other, entry in states.items():
        is_open = entry.decision == _BEGUN and store.exists(ids_uri(lake.pipeline, other))
        if is_open and other != name:
            raise SourceError(
                f"pipeline {lake.pipeline}: one erasing at a time, got request {other} of run "
                f"{entry.dag_run_id}, which is not done. Clear that run first."
            )


def _recorded(lake: Lake, name: str) -> dict[str, Found]:
    """Read what was put on record of a request before somebody was killed."""
    return {
        entry.decision: Found(
            **{
                **entry.evidence["found"],
                "versions": tuple(entry.evidence["found"]["versions"]),
                "unknown": tuple(entry.evidence["found"]["unknown"]),
            }
        )
        for entry in ledger.entries(lake, "erasure")
        if entry.evidence["request"] == name
    }


def _record(
    lake: Lake, name: str, found: Found, decision: str, why: str, who: str, origin: Origin
) -> None:
    ledger.record(
        lake,
        "erasure",
        "",
        decision,
        f"{who}: {why}. {found}",
        origin=origin,
        evidence={"by": who, "request": name, "found": asdict(found)},
    )
