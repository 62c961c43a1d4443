"""Rows that a person has repaired, kept so that they come in repaired at every ingestion.

A repair is about a landed row by what it holds, not by where it stands: it applies as long as such
a row lands, and to one row of several that are the same. If none lands any more, it is void, which
goes on record.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.errors import SourceError
from include.ingestion.landed_batch import FILE, ROW, UNPARSED
from include.ingestion.landed_digests import digest_repairs
from include.quality.quarantine import as_json
from include.quality.row_texts import text_of_cell, typed_rows
from include.specification.pipeline import Pipeline
from include.storage import ledger
from include.storage.data_files import PARTITION
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

_log = logging.getLogger(__name__)
_SCHEMA = pa.schema(
    [
        ("request", pa.string()),
        ("row", pa.string()),
        ("repaired", pa.string()),
        ("number", pa.int64()),
        (PARTITION, pa.string()),
    ]
)


@dataclass(frozen=True)
class Repair:
    """One row, as it landed and as a person repaired it.

    Args:
        request: Name of the request that brought it.
        row: The row as quarantine held it, a JSON object.
        repaired: The row as the table holds it instead, likewise.
    """

    request: str
    row: str
    repaired: str

    @property
    def text(self) -> str:
        """Spell what it replaces, and by what."""
        return f"{content_of(self.row)} {content_of(self.repaired)}"


def content_of(row: str) -> str:
    """Digest what a row holds, whatever the order of its columns."""
    return hashlib.sha256(json.dumps(json.loads(row), sort_keys=True).encode()).hexdigest()


def repairs_of(lake: Lake, pipeline: Pipeline, source: str, partition: str) -> list[Repair]:
    """Read the repairs of a partition, as they were added."""
    where = pc.field(PARTITION) == partition
    rows = lake.read_held(pipeline.repairs_table(source), where).to_pylist()
    rows.sort(key=lambda row: row["number"])
    return [Repair(row["request"], row["row"], row["repaired"]) for row in rows]


def add_repairs(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    partition: str,
    repairs: Sequence[Repair],
    origin: Origin,
) -> None:
    """Keep more repairs of a partition, in one commit."""
    rows = [
        {
            "request": item.request,
            "row": item.row,
            "repaired": item.repaired,
            "number": number,
            PARTITION: partition,
        }
        for number, item in enumerate((*repairs_of(lake, pipeline, source, partition), *repairs), 1)
    ]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    lake.write(pipeline.repairs_table(source), table, partitions=[partition], origin=origin)


def apply_repairs(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    partition: str,
    landed: pa.Table,
    origin: Origin,
) -> tuple[pa.Table, str | None]:
    """Put repaired rows in the place of those that landed.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        source: Name of the source.
        partition: Name of the partition.
        landed: What landed, with ``_file`` and ``_row``.
        origin: Who ingests.

    Returns:
        (the rows, the digest of the repairs that apply; None if none does).
    """
    repairs = repairs_of(lake, pipeline, source, partition)
    if not repairs:
        return landed, None
    repaired_at, applied = _chains(repairs, *_candidates(landed, repairs))
    void = len(repairs) - len(applied)
    if void:
        told = (
            f"{void} of {len(repairs)} repairs of {source} are void: the rows that they repair "
            "did not land."
        )
        _log.warning("%s %s", partition, told)
        said = [e.reason for e in ledger.entries(lake, "release") if e.partition == partition]
        if said[-1:] != [told]:
            ledger.record(lake, "release", partition, "void", told, origin=origin)
    return _replaced(landed, repaired_at), digest_repairs(item.text for item in applied)


def repair_draft(
    lake: Lake,
    pipeline: Pipeline,
    source: str,
    partition: str,
    drafted: pa.Table,
    digest: str | None,
) -> tuple[pa.Table, str | None]:
    """Put rows that were repaired since a batch was drafted in the place of those drafted.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        source: Name of the source.
        partition: Name of the partition.
        drafted: What was drafted, with ``_file`` and ``_row``.
        digest: That of the repairs which applied then; None if none did.

    Returns:
        (the rows, the digest of the repairs that apply; the same two if nothing was repaired).

    Raises:
        SourceError: If nobody can tell which of the repairs applied then.
    """
    repairs = repairs_of(lake, pipeline, source, partition)
    if not repairs or digest_repairs(item.text for item in repairs) == digest:
        return drafted, digest
    repaired_at, applied = _chains(repairs, *_candidates(drafted, repairs))
    if not applied:
        return drafted, digest  # they are void, or somebody was forgotten
    used = {id(repair) for repair in applied}
    others = (repair.text for repair in repairs if id(repair) not in used)
    if digest not in (None, digest_repairs(others)):
        raise SourceError(
            f"source {source} {partition}: its draft must have all repairs but those made since, "
            "got others. Clear the task that ingested it, with downstream."
        )
    return _replaced(drafted, repaired_at), digest_repairs((item.text for item in applied), digest)


def _replaced(rows: pa.Table, repaired_at: Mapping[int, str]) -> pa.Table:
    """Put repaired rows, by position, in the place of others."""
    if not repaired_at:
        return rows
    positions = sorted(repaired_at)
    texts = [repaired_at[position] for position in positions]
    own = rows.take(positions).select([FILE, ROW])
    repaired = with_place(typed_rows(texts, [{}] * len(texts), rows.schema), own, rows.schema)
    order = np.arange(rows.num_rows)
    order[positions] = rows.num_rows + np.arange(len(positions))
    return pa.concat_tables([rows, repaired]).take(pa.array(order))


def _chains(
    repairs: Sequence[Repair], positions: Sequence[int], rows: Sequence[str]
) -> tuple[dict[int, str], list[Repair]]:
    """Apply repairs, also those of rows that were repaired before.

    Returns:
        (by position what stands there in the end, the repairs that apply).
    """
    repaired: dict[int, str] = {}
    applied: list[Repair] = []
    left = list(repairs)
    while found := match(left, positions, rows):
        used = {id(repair) for _, repair in found}
        left = [repair for repair in left if id(repair) not in used]
        repaired |= {position: repair.repaired for position, repair in found}
        applied += [repair for _, repair in found]
        positions = [position for position, _ in found]
        rows = [repair.repaired for _, repair in found]
    return repaired, applied


def with_place(rows: pa.Table, places: pa.Table, schema: pa.Schema) -> pa.Table:
    """Complete rows by where they landed, in the columns and types of a table.

    Args:
        rows: Columns of the source, and ``_unparsed``.
        places: ``_file`` and ``_row``.
        schema: Of the result, with or without ``_unparsed``.
    """
    columns = {name: rows[name] for name in rows.column_names}
    columns |= {name: places[name] for name in places.column_names}
    return pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)


def match(
    repairs: Sequence[Repair], positions: Sequence[int], rows: Sequence[str]
) -> list[tuple[int, Repair]]:
    """Find the row of each repair, by position; of a repair without one nothing.

    Args:
        repairs: The repairs.
        positions: Where rows stand.
        rows: The rows as quarantine holds them.
    """
    free: dict[str, list[int]] = {}
    for position, row in zip(positions, rows, strict=True):
        free.setdefault(content_of(row), []).append(position)
    found = []
    for repair in repairs:
        if places := free.get(content_of(repair.row)):
            found.append((places.pop(0), repair))
    return found


def _candidates(landed: pa.Table, repairs: Sequence[Repair]) -> tuple[list[int], list[str]]:
    """Pick the rows that a repair may be about, without a look at every cell of every row."""
    wanted = [json.loads(repair.row) for repair in repairs]
    mask = np.ones(landed.num_rows, bool)
    for field in landed.schema:
        is_plain = pa.types.is_integer(field.type) or pa.types.is_string(field.type)
        if is_plain and field.name not in (FILE, ROW, UNPARSED):
            mask &= _is_among(landed[field.name], field.name, wanted)
    positions = np.flatnonzero(mask)
    return positions.tolist(), as_json(landed.take(pa.array(positions)))


def _is_among(
    cells: pa.ChunkedArray, name: str, wanted: Sequence[Mapping[str, object]]
) -> NDArray[np.bool_]:
    """Tell where a cell has one of the texts, or none: it may be one that could not be read."""
    texts = {text_of_cell(row.get(name)) for row in wanted}
    known = pc.is_in(cells.cast(pa.string()), pa.array(sorted(filter(None, texts)), pa.string()))
    if "" in texts:
        known = pc.or_(known, pc.fill_null(pc.equal(cells.cast(pa.string()), ""), False))
    return np.asarray(pc.or_(known, pc.is_null(cells)))
