"""Releasing rows of quarantine that a person has repaired, back into their partition.

What is to be released comes in an object, never as a parameter, and is deleted at the end. The
ledger comes first, with counts and digests and no value; then the repairs, which every later
ingestion of the partition applies; then the tables, from the versions that the ledger names. So
whoever is killed is finished by the same run again.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from include.calendar.partitions import Partition, parse
from include.errors import QualityError, SourceError, SpecificationError
from include.features import labels
from include.ingestion.landed_batch import FILE, ROW
from include.ingestion.landed_digests import LandedDigest, digest_repairs, to_details
from include.quality.quarantine import as_json
from include.quality.row_texts import text_of_cell
from include.specification.pipeline import Pipeline
from include.steps.generations import in_use_now
from include.steps.interventions import Done
from include.steps.on_record import begun_releases
from include.steps.quarantined_rows import Cells, QuarantinedRow, from_table
from include.steps.release_candidates import (
    Held,
    Judged,
    demand_readable,
    files_at,
    hold,
    judge,
    suite_of,
)
from include.steps.repairs import Repair, add_repairs, content_of, match, repairs_of
from include.steps.validated_tables import Good, write_validated
from include.storage import ledger
from include.storage.data_files import write_files
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore, join
from include.storage.settings import LAKE
from include.wording import some

RELEASE = "platform_release"  # the DAG
_KIND: ledger.Kind = "release"
_BEGUN, _DONE = "begun", "done"


def releases(pipeline: str) -> str:
    """Name the folder of what requests bring."""
    return f"s3://{LAKE}/{pipeline}/releases"


def rows_uri(pipeline: str, name: str) -> str:
    """Name the object with the rows of a request, deleted when they are released."""
    return join(releases(pipeline), f"{name}.json")


def hand_in(
    lake: Lake, pipeline: Pipeline, dataset: str, partition: str, rows: Mapping[str, Cells]
) -> str:
    """Write the rows of a request, by id their cells that are repaired; returns its name.

    Raises:
        SourceError: If they cannot be released as they are, see :func:`release`.
    """
    pipeline = in_use_now(lake, pipeline)
    held = hold(lake, pipeline, dataset, parse(partition, pipeline.partition), None)
    demand_readable(pipeline, held, rows)
    name = uuid.uuid4().hex
    document = {"dataset": dataset, "partition": partition, "rows": rows}
    data = json.dumps(document).encode()
    ObjectStore(lake.settings).write(rows_uri(lake.pipeline, name), data, "application/json")
    return name


def forget_rows(lake: Lake, name: str) -> None:
    """Delete the rows of a request, as the last thing of all."""
    ObjectStore(lake.settings).delete(rows_uri(lake.pipeline, name))


def release(
    lake: Lake,
    pipeline: Pipeline,
    dataset: str,
    partition: Partition,
    name: str,
    why: str,
    who: str,
    origin: Origin,
) -> Done:
    """Put repaired rows of quarantine back into their partition, if the suite lets them pass.

    The suite is that of now, and sees the whole partition. Rows that still fail stay where they
    are. What was made from the partition is stale afterwards. It goes on in the generation that
    it was begun in, whichever is in use by then.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        dataset: Name of the source.
        partition: Of which partition.
        name: Name of the request, whose object holds the rows.
        why: The reason, for the ledger.
        who: Who asks.
        origin: The run that does it.

    Raises:
        SourceError: If a row is not in quarantine, a repaired cell cannot be read, the entity is
            another one, or another run has written half of the partition.
        SpecificationError: If the file does not describe the generation any more that it was begun
            in.
        QualityError: If no row passes, or the batch must not go on whatever the rows.
    """
    begun = _recorded(lake, name)
    if begun is not None and begun.decision == _DONE:
        return Done(begun.evidence["told"], changed=True)
    pipeline = in_use_now(lake, pipeline) if begun is None else _begun_in(pipeline, begun)
    kept = [
        item for item in repairs_of(lake, pipeline, dataset, str(partition)) if item.request == name
    ]
    if begun is None or not kept:
        _refuse_others(lake, pipeline, dataset, partition, name)
        held = hold(lake, pipeline, dataset, partition, None)
        wanted = _read(lake, held, name)
        demand_readable(pipeline, held, wanted)
        judged = judge(pipeline, held, wanted)
        if not judged.passed:
            raise QualityError(
                f"{held.subject}: rows to release must pass suite {suite_of(pipeline, held)} now, "
                f"got none that does: {_listed(judged.failed)}. Repair them further."
            )
        kept = _as_repairs(held, judged, name)
        evidence = _evidence(held, judged, kept, name, who)
        told = f"{who}: {why}. {evidence['told']}"
        ledger.record(lake, _KIND, str(partition), _BEGUN, told, origin=origin, evidence=evidence)
        add_repairs(lake, pipeline, dataset, str(partition), kept, origin)
        _write(lake, pipeline, held, judged, kept, origin)
    else:
        evidence = _take_up(lake, pipeline, dataset, partition, kept, begun.evidence, origin)
    told = f"{who}: {why}. {evidence['told']}"
    ledger.record(lake, _KIND, str(partition), _DONE, told, origin=origin, evidence=evidence)
    return Done(evidence["told"], changed=True)


def _take_up(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    partition: Partition,
    repairs: Sequence[Repair],
    evidence: Mapping[str, Any],
    origin: Origin,
) -> dict[str, Any]:
    """Write what a run that was killed has begun, unless the partition was ingested since.

    Returns:
        What goes on record.
    """
    raw, moved = (TableReference.from_dict(evidence[of]) for of in ("raw", "quarantine"))
    versions, name = (raw.version, moved.version), str(partition)
    is_unchanged = files_at(lake, raw.table, name, raw.version) == lake.paths(raw.table, name)
    held = hold(lake, pipeline, source, partition, versions if is_unchanged else None)
    places = range(len(held.quarantined))
    found = match(repairs, list(places), [row.row for row in held.quarantined])
    if not found:
        return dict(evidence)  # written already, by whomever: who ingests applies the repairs
    wanted = {
        held.quarantined[at].id: _changed(held.quarantined[at], repair) for at, repair in found
    }
    judged = judge(pipeline, held, wanted)
    passed = [repair for at, repair in found if at in set(judged.passed)]
    if passed:
        _write(lake, pipeline, held, judged, passed, origin)
    if not judged.failed:
        return dict(evidence)
    # The suite, or the partition, is another one since.
    return {**evidence, **_counts(held, judged)}


def _read(lake: Lake, held: Held, name: str) -> dict[str, Cells]:
    store, uri = ObjectStore(lake.settings), rows_uri(lake.pipeline, name)
    if not store.exists(uri):
        raise SourceError(
            f"request {uri}: must hold the rows, got no such object. Hand them in with "
            f"`./relevo release {lake.pipeline}`."
        )
    try:
        document = json.loads(store.read(uri))
        about = (document["dataset"], document["partition"])
        rows = {str(key): _as_cells(cells) for key, cells in document["rows"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"request {uri}: must be JSON with dataset, partition and rows, by _id the cells as "
            f"texts, got {type(error).__name__} ({error}). Hand them in with `./relevo release "
            f"{lake.pipeline}`."
        ) from error
    if about != (held.source, str(held.partition)):
        raise SourceError(
            f"request {uri}: must be about {held.source} {held.partition}, got {about[0]} "
            f"{about[1]}. Trigger the DAG with those."
        )
    if not rows:
        raise SourceError(f"request {uri}: must hold at least one row, got none. Hand some in.")
    return rows


def _as_cells(cells: Mapping[str, Any]) -> Cells:
    if not all(cell is None or isinstance(cell, str) for cell in cells.values()):
        raise ValueError("a cell that is no text")
    return dict(cells)


def _refuse_others(
    lake: Lake, pipeline: Pipeline, dataset: str, partition: Partition, name: str
) -> None:
    """Refuse while another request has left repairs and is not done: its run has to end first."""
    left = {repair.request for repair in repairs_of(lake, pipeline, dataset, str(partition))}
    for entry in begun_releases(lake):
        other, about = entry.evidence["request"], (entry.evidence["dataset"], entry.partition)
        if about == (dataset, str(partition)) and other != name and other in left:
            raise SourceError(
                f"source {dataset} {partition}: one release at a time, got request {other} of run "
                f"{entry.dag_run_id}, which is not done. Clear that run, or trigger the DAG with "
                "that request."
            )


def _as_repairs(held: Held, judged: Judged, name: str) -> list[Repair]:
    repaired = as_json(judged.rows)
    return [
        Repair(name, held.quarantined[at].row, row)
        for at, row in zip(judged.passed, repaired, strict=True)
    ]


def _changed(row: QuarantinedRow, repair: Repair) -> Cells:
    """Tell the cells that a repair gives a row, as texts."""
    repaired = QuarantinedRow(row.partition, row.file, row.position, "", repair.repaired)
    return {
        column: text_of_cell(value)
        for column, value in repaired.values.items()
        if value != row.values.get(column)
    }


def _write(
    lake: Lake,
    pipeline: Pipeline,
    held: Held,
    judged: Judged,
    repairs: Sequence[Repair],
    origin: Origin,
) -> None:
    """Write what is in the partition now: what was kept or passed, and what stays in quarantine."""
    name, source = str(held.partition), held.source
    table = pipeline.raw_table(source)
    kept = pa.concat_tables([held.rows, judged.rows.cast(held.rows.schema)])
    kept = kept.sort_by([(FILE, "ascending"), (ROW, "ascending")])
    left = _left(lake, held, {held.quarantined[at].id for at in judged.passed})
    if kept.num_rows + left.num_rows != held.rows.num_rows + len(held.quarantined):
        raise QualityError(
            f"{held.subject}: rows in must be rows kept plus rows quarantined, got "
            f"{kept.num_rows} kept and {left.num_rows} quarantined. Report this as a bug."
        )
    brought = pa.table({})
    if source == pipeline.label_source:
        brought = with_partition(labels.derive(pipeline, kept, held.partition), name)
    earlier = held.digest or LandedDigest()
    digest = digest_repairs((item.text for item in repairs), earlier.repairs)
    rows = with_partition(kept, name)
    beside = (pipeline.quarantine_table(source), pipeline.labels_table)
    write_validated(
        *(lake, pipeline, source, table, [name], origin.reading(held.raw)),
        Good(
            files=write_files(lake.settings, lake.uri(table), rows),
            schema=rows.schema,
            details=to_details({name: replace(earlier, repairs=digest)}),
            quarantined=left,
            labels=brought,
        ),
        {table: held.files, **{other: lake.paths(other, name) for other in beside}},
    )


def _left(lake: Lake, held: Held, released: Collection[str]) -> pa.Table:
    """Take the rows that stay in quarantine, as they are there."""
    moved = held.moved
    rows = lake.read(moved.table, partitions=[str(held.partition)], version=moved.version)
    stays = [from_table(row).id not in released for row in rows.to_pylist()]
    return rows.filter(pa.array(stays, pa.bool_()))


def _recorded(lake: Lake, name: str) -> ledger.Entry | None:
    """Read how far a request has come, whoever was killed."""
    found = [item for item in ledger.entries(lake, _KIND) if item.evidence.get("request") == name]
    return found[-1] if found else None


def _begun_in(pipeline: Pipeline, begun: ledger.Entry) -> Pipeline:
    """Describe the generation that a release was begun in, whichever is in use by now."""
    source, table = begun.evidence["dataset"], begun.evidence["raw"]["table"]
    for one in pipeline.described():
        if source in one.sources and one.raw_table(source) == table:
            return one
    raise SpecificationError(
        f"pipeline {pipeline.name}: its file must describe table {table}, in which request "
        f"{begun.evidence['request']} was begun, got another generation of {source}. Put the "
        "sections of then back in their place, those of now under `next:`, and clear this task; or "
        "export the rows of the generation of now, and hand those in."
    )


def _evidence(
    held: Held, judged: Judged, repairs: Sequence[Repair], name: str, who: str
) -> dict[str, Any]:
    """Say what is done, from which versions, without a value."""
    return {
        "by": who,
        "request": name,
        "dataset": held.source,
        "raw": held.raw.to_dict(),
        "quarantine": held.moved.to_dict(),
        "before": _digest(repair.row for repair in repairs),
        "after": _digest(repair.repaired for repair in repairs),
        **_counts(held, judged),
    }


def _counts(held: Held, judged: Judged) -> dict[str, Any]:
    count, asked = len(judged.passed), len(judged.passed) + len(judged.failed)
    told = f"{count} of {asked} rows of {held.source} {held.partition} released."
    if judged.failed:
        told += f" Still in quarantine: {_listed(judged.failed)}."
    return {"released": count, "left": len(judged.failed), "told": told}


def _digest(rows: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(sorted(map(content_of, rows))).encode()).hexdigest()


def _listed(failed: Mapping[str, str]) -> str:
    return some([f"row {row_id} ({why})" for row_id, why in failed.items()])
