"""Take rows out of a table as if they had never been in it: out of every version, not a new one.

A delete as Delta has it adds a version without the rows, and the earlier ones keep them, until a
vacuum takes the whole files and with them what models and people still read. Here each file is
written anew under its own name, without the rows, and then what the log and the drafts say of its
length is mended. So every version stays readable, only without them, and no version is added that
anything would take for new data. Killed anywhere, it is finished by doing it again: what is said of
a file is compared with what is there.

Nobody may write the table meanwhile. Who reads a file between its writing and the mending of the
log gets an error, and reads it again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.storage import lineage_records
from include.storage.data_files import open_data_file
from include.storage.inventory import take_table
from include.storage.lake_tables import Lake
from include.storage.object_store import THREADS, ObjectStore, StoredObject
from include.storage.parquet import open_parquet, parquet_bytes
from include.storage.settings import LAKE
from include.storage.text_redaction import Redaction

_LOG = "_delta_log/"
Details = Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True)
class Picked:
    """Which rows are meant.

    Args:
        columns: Columns that tell it; a file without one of them has no such row.
        rows: From these columns of some rows to a mask, bool, one per row; null is no.
    """

    columns: tuple[str, ...]
    rows: Callable[[pa.Table], pa.Array]

    def mask(self, rows: pa.Table) -> pa.Array:
        """Tell which rows are meant, bool, without nulls."""
        return pc.fill_null(self.rows(rows.select(list(self.columns))), False)


def find_rows(lake: Lake, table: str, picked: Picked) -> dict[str, int]:
    """Count the rows that are meant in each file of a table: of any version, draft or orphan.

    Returns:
        By path below the table, without files that have none.
    """
    found = {}
    for path in _data_files(lake, table):
        with _opened(lake, table, path) as file:
            if set(picked.columns) <= set(file.schema_arrow.names):
                mask = picked.mask(file.read(columns=list(picked.columns)))
                found[path] = int(pc.sum(mask).as_py() or 0)
    return {path: rows for path, rows in found.items() if rows}


def remove_rows(lake: Lake, table: str, picked: Picked, paths: Iterable[str]) -> None:
    """Take the rows out of files of a table, and mend what is said of all of its files.

    Args:
        lake: The pipeline's tables.
        table: Name of the table.
        picked: Which rows.
        paths: Files that have some, as :func:`find_rows` found them.
    """
    for path in paths:
        _rewrite(lake, table, path, lambda rows: rows.filter(pc.invert(picked.mask(rows))))
    mend_log(lake, table)


def redact_rows(lake: Lake, table: str, columns: Sequence[str], redaction: Redaction) -> None:
    """Take words out of columns of texts, in every file, and mend what is said of the files."""

    def redact(rows: pa.Table) -> pa.Table:
        for name in set(columns) & set(rows.column_names):
            at = rows.column_names.index(name)
            texts = [text and redaction.redact_value(text) for text in rows[at].to_pylist()]
            rows = rows.set_column(at, rows.schema[at], pa.array(texts, rows.schema[at].type))
        return rows

    for path in _data_files(lake, table):
        _rewrite(lake, table, path, redact)
    mend_log(lake, table, is_clean=lambda said: redaction.redact_value(said) == said)


def _rewrite(lake: Lake, table: str, path: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a file anew under its own name, if its rows are others now."""
    with _opened(lake, table, path) as file:
        held = file.read()
    rows = change(held)
    if not rows.equals(held):
        ObjectStore(lake.settings).write(f"{lake.uri(table)}/{path}", parquet_bytes(rows))


def mend_log(
    lake: Lake,
    table: str,
    told: Details | None = None,
    is_clean: Callable[[str], bool] = lambda said: False,
) -> None:
    """Let log, checkpoints, drafts and lineage say of each file what it is now.

    Args:
        lake: The pipeline's tables.
        table: Name of the table.
        told: What the details of each commit are to be, from what they are; as they are if None.
        is_clean: Whether smallest and largest values may stay in the log, from their JSON.
    """
    store, files = ObjectStore(lake.settings), _data_files(lake, table)
    log = _Log(lake, table, files, told, is_clean)
    objects = [item.uri for item in store.list(f"{lake.uri(table)}/{_LOG.rstrip('/')}")]
    drafts = f"s3://{LAKE}/{lake.pipeline}/drafts/{table}"
    objects += [item.uri for item in store.list(drafts)]
    if told is not None:
        records = lineage_records.uri(lake.pipeline, table, 0).rpartition("/")[0]
        objects += [item.uri for item in store.list(records)]

    def mend(uri: str) -> None:
        held = store.read(uri)
        mended = log.mended(uri, held)
        if mended != held:
            store.write(uri, mended)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(mend, objects))


class _Log:
    """What is said of the files of a table, against what they are."""

    def __init__(
        self,
        lake: Lake,
        table: str,
        files: Mapping[str, StoredObject],
        told: Details | None,
        is_clean: Callable[[str], bool],
    ) -> None:
        self.lake, self.table, self.files, self.told = lake, table, files, told
        self.is_clean = is_clean
        self._rows: dict[str, int] = {}

    def mended(self, uri: str, held: bytes) -> bytes:
        """Mend one object of the log, the drafts or the lineage; any other stays as it is."""
        if uri.endswith(".checkpoint.parquet"):
            return self._checkpoint(held)
        if not uri.endswith(".json"):
            return held
        if f"/{_LOG}" in uri:
            lines = held.decode().splitlines()
            return "\n".join(map(self._line, lines)).encode()
        document = json.loads(held)
        self._draft(document)
        self._tell(document)
        return held if document == json.loads(held) else json.dumps(document).encode()

    def _line(self, line: str) -> str:
        action = json.loads(line) if line.strip() else {}
        for kind in ("add", "remove"):
            if kind in action:
                self._file(action[kind])
        if "details" in (said := action.get("commitInfo", {})):
            held = json.loads(said["details"])
            said["details"] = json.dumps(self._details(held), sort_keys=True)
        return line if not action or action == json.loads(line) else json.dumps(action)

    def _checkpoint(self, held: bytes) -> bytes:
        rows = open_parquet(io.BytesIO(held)).read()
        actions = rows.to_pylist()
        for action in actions:
            for kind in ("add", "remove"):
                if action.get(kind):
                    self._file(action[kind])
        if actions == rows.to_pylist():
            return held
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(actions, schema=rows.schema), data)
        return data.getvalue()

    def _file(self, said: dict[str, Any]) -> None:
        """Mend length and rows; smallest and largest values, which may be somebody's, go."""
        path = unquote(said["path"])
        if path in self.files:
            said["size"] = self.files[path].size
        if said.get("stats"):
            stats = json.loads(said["stats"])
            rows = self._count(path) if path in self.files else stats["numRecords"]
            if rows != stats["numRecords"] or not self.is_clean(said["stats"]):
                said["stats"] = json.dumps({"numRecords": rows})

    def _draft(self, document: dict[str, Any]) -> None:
        for file in document.get("files", ()):
            if file["path"] in self.files:
                file["size"] = self.files[file["path"]].size
                file["rows"] = self._count(file["path"])

    def _tell(self, document: dict[str, Any]) -> None:
        if "details" in document:
            document["details"] = dict(self._details(document["details"]))

    def _details(self, held: Mapping[str, str]) -> Mapping[str, str]:
        return held if self.told is None else self.told(held)

    def _count(self, path: str) -> int:
        if path not in self._rows:
            with _opened(self.lake, self.table, path) as file:
                self._rows[path] = file.metadata.num_rows
        return self._rows[path]


def _data_files(lake: Lake, table: str) -> dict[str, StoredObject]:
    """List the data files of a table, whoever refers to them, by path below it."""
    root = f"{lake.uri(table)}/"
    return {item.uri.removeprefix(root): item for item in take_table(lake, table).files}


@contextmanager
def _opened(lake: Lake, table: str, path: str) -> Iterator[pq.ParquetFile]:
    with open_data_file(lake.settings, f"{lake.uri(table)}/{path}") as source:
        yield open_parquet(source)
