"""Batches that are written below a table and are not yet part of it.

Whoever reads a table must never see rows that no suite has seen. So ingesting and computing only
draft: they write files below the table, where nobody looks, and then a manifest that names them,
``s3://lake/<pipeline>/drafts/<table>/<id>.json``. Validating reads a draft and commits what is
good as the last thing that it does. So a partition that a table holds was validated, and whoever
is killed before that leaves files that nobody refers to.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from include.errors import TableError
from include.storage.data_files import PARTITION, DataFile, write_files
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin, TableReference
from include.storage.parquet import open_parquet
from include.storage.settings import LAKE


@dataclass(frozen=True)
class Draft:
    """What tasks hand to each other of a batch that was not validated yet.

    Args:
        pipeline: Pipeline that owns the table.
        table: Table that the rows are meant for.
        partition: Name of the partition; None for several.
        rows: Rows, >= 0.
        uri: Address of the manifest; '' of a partition that stays as the table holds it.
    """

    pipeline: str
    table: str
    partition: str | None
    rows: int
    uri: str

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping (for XCom)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Draft:
        """Read what :meth:`to_dict` gave.

        Raises:
            TableError: If it names no manifest, because an earlier release wrote it.
        """
        if "uri" not in values:
            raise TableError(
                f"table {values.get('pipeline')}.{values.get('table')}: the batch must be a draft, "
                "got one that an earlier release wrote. Clear the task that ingested or computed "
                "it."
            )
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Manifest:
    """What a draft consists of.

    Args:
        files: Its files, below the table.
        schema: Their columns, and ``partition``.
        inputs: Versions of the tables that it was made from.
        details: What the log of the table is to say besides.
    """

    files: tuple[DataFile, ...]
    schema: pa.Schema
    inputs: tuple[TableReference, ...]
    details: Mapping[str, str]

    def of(self, partition: str) -> tuple[DataFile, ...]:
        """List the files of a partition, sorted by path."""
        files = [file for file in self.files if file.partition == partition]
        return tuple(sorted(files, key=lambda file: file.path))


def write(
    lake: Lake,
    table: str,
    rows: pa.Table,
    *,
    partitions: Sequence[str],
    origin: Origin,
    details: Mapping[str, str] | None = None,
) -> Draft:
    """Draft rows with a ``partition`` column; see :func:`put`."""
    lake.prepare(table, rows.schema)
    files = write_files(lake.settings, lake.uri(table), rows)
    return _put(lake, table, files, rows.schema, partitions, origin, details or {})


def put(
    lake: Lake,
    table: str,
    files: Sequence[DataFile],
    schema: pa.Schema,
    *,
    partitions: Sequence[str],
    origin: Origin,
    details: Mapping[str, str] | None = None,
) -> Draft:
    """Draft files that are below a table already; the table is made if it does not exist.

    Args:
        lake: The pipeline's tables.
        table: Name of the table.
        files: Files of the partitions; a partition may have none.
        schema: Their columns, and ``partition``.
        partitions: Partitions that the draft is about.
        origin: Who drafts, from what.
        details: What the log of the table is to say besides.

    Raises:
        TableError: If the columns do not fit the table.
    """
    lake.prepare(table, schema)
    return _put(lake, table, files, schema, partitions, origin, details or {})


def _put(
    lake: Lake,
    table: str,
    files: Sequence[DataFile],
    schema: pa.Schema,
    partitions: Sequence[str],
    origin: Origin,
    details: Mapping[str, str],
) -> Draft:
    document = {
        "files": [asdict(file) for file in files],
        "schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
        "inputs": [item.to_dict() for item in origin.inputs],
        "details": dict(details),
    }
    uri = f"s3://{LAKE}/{lake.pipeline}/drafts/{table}/{uuid.uuid4().hex}.json"
    with lake.settings.filesystem().open_output_stream(lake.settings.path(uri)) as sink:
        sink.write(json.dumps(document).encode())
    partition = partitions[0] if len(partitions) == 1 else None
    return Draft(lake.pipeline, table, partition, sum(file.rows for file in files), uri)


def load(lake: Lake, draft: Draft) -> Manifest:
    """Read what a draft consists of.

    Raises:
        TableError: If it is there no more.
    """
    try:
        with lake.settings.filesystem().open_input_file(lake.settings.path(draft.uri)) as source:
            document = json.loads(source.read())
    except FileNotFoundError as error:
        raise _gone(draft) from error
    return Manifest(
        files=tuple(DataFile(**file) for file in document["files"]),
        schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(document["schema"]))),
        inputs=tuple(TableReference.from_dict(item) for item in document["inputs"]),
        details=document.get("details", {}),  # a draft of before an upgrade has none
    )


def read(lake: Lake, draft: Draft, manifest: Manifest, partition: str) -> pa.Table:
    """Read the rows of a partition in the table's types, without the ``partition`` column.

    Raises:
        TableError: If a file is there no more.
    """
    held = lake.schema(draft.table)
    fields = [field for field in held or manifest.schema if field.name != PARTITION]
    schema = pa.schema([pa.field(field.name, field.type) for field in fields])
    filesystem, root = lake.settings.filesystem(), lake.settings.path(lake.uri(draft.table))
    tables = []
    for file in manifest.of(partition):
        try:
            with filesystem.open_input_file(f"{root}/{file.path}") as source:
                rows = open_parquet(source).read(columns=schema.names)
        except FileNotFoundError as error:
            raise _gone(draft) from error
        tables.append(rows.select(schema.names).cast(schema))
    return pa.concat_tables([schema.empty_table(), *tables])


def _gone(draft: Draft) -> TableError:
    return TableError(
        f"table {draft.pipeline}.{draft.table}: the draft of {draft.partition or 'the batch'} must "
        "still be on the store, got none. Clear the task that ingested or computed it."
    )
