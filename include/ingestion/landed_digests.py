"""What a partition was ingested from, so that a correction is noticed.

Where each partition has a folder of its own, that is its files by their tags. Where one place or a
query holds them all, it is the rows that were picked, for a new partition changes the place and no
earlier one. What has no time of its own is read whole by every run and has no past to be corrected.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.calendar.partitions import Partition
from include.ingestion.landed_batch import LandedBatch, is_picked
from include.ingestion.landed_objects import data_files, name_of
from include.specification.own_columns import is_reserved
from include.specification.sections.sources import PLACEHOLDER, ROW_ID, Source
from include.storage.data_frames import to_series
from include.storage.object_store import ObjectStore, StoredObject
from include.wording import some

# Any odd number mixes; it only has to stay what it is.
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class LandedDigest:
    """What one partition of a source was ingested from.

    Args:
        files: Where a partition has a folder: by path below it, length and tag of each file.
        place: Where files hold every partition: a digest of their list; the rows are as they were
            while it is the same.
        rows: Where one place or a query holds every partition: a digest of the rows of this one,
            in whatever order.
    """

    files: Mapping[str, str] | None = None
    place: str | None = None
    rows: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Render as a JSON-serialisable mapping (for the log of the table)."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def content(self) -> object:
        """Tell what makes it another one: the files, or the rows."""
        return self.rows if self.files is None else dict(self.files)


def to_details(digests: Mapping[str, LandedDigest]) -> dict[str, str]:
    """Render the digests of partitions as details of a commit; nothing for none."""
    if not digests:
        return {}
    told = {name: digest.to_dict() for name, digest in digests.items()}
    return {"landed": json.dumps(told, sort_keys=True)}


def from_details(details: Mapping[str, str], partition: str) -> LandedDigest | None:
    """Read what :func:`to_details` gave; None of a partition that it does not tell of."""
    told = json.loads(details.get("landed", "{}")).get(partition)
    return None if told is None else LandedDigest(**told)


def digest_landed(source: Source, partition: Partition, batch: LandedBatch) -> LandedDigest | None:
    """Digest a batch that was read; None where every run reads whatever is there."""
    if source.is_partitioned:
        return LandedDigest(files=tags(batch.files, source.location(str(partition))))
    if not is_picked(source):
        return None
    place = None if source.query else digest_list(batch.files, str(source.uri))
    return LandedDigest(place=place, rows=digest_rows(batch.table))


def tags(files: Iterable[StoredObject], uri: str) -> dict[str, str]:
    """Name the content of files, by their path below an address."""
    return {name_of(item, uri): f"{item.size}-{item.etag}" for item in files}


def digest_list(files: Iterable[StoredObject], uri: str) -> str:
    """Digest the list of files below an address."""
    return hashlib.sha256(json.dumps(tags(files, uri), sort_keys=True).encode()).hexdigest()


def digest_rows(table: pa.Table) -> str:
    """Digest rows in whatever order, but for our own columns, which tell where they lie.

    Args:
        table: Plain columns, shape (n_rows, n_columns).

    Returns:
        How many rows, and the sum of their 64-bit hashes modulo 2**64.
    """
    total = np.zeros(table.num_rows, np.uint64)
    for name in sorted(table.column_names):
        if is_reserved(name) or name == ROW_ID:
            continue
        texts = table[name].cast(pa.string())
        # So a null is none of the texts.
        marked = pc.fill_null(pc.binary_join_element_wise("=", texts, ""), "")
        hashed = pd.util.hash_array(to_series(marked).to_numpy(object))
        with np.errstate(over="ignore"):
            # Mixed again, or values that change their rows would sum up to the same.
            total = pd.util.hash_array(total * _MIX + hashed)
    return f"{table.num_rows}-{int(np.add.reduce(total, dtype=np.uint64)):016x}"


def files_by_partition(
    store: ObjectStore, source: Source, names: Sequence[str], subject: str
) -> dict[str, dict[str, str]]:
    """List what lies in the folders of partitions now, in one listing.

    Args:
        store: Where they are.
        source: A source whose address holds ``{partition}``.
        names: The partitions.
        subject: The source, for messages.
    """
    folder = str(source.uri).partition(PLACEHOLDER)[0].rpartition("/")[0]
    objects = store.list(folder)
    found = {}
    for name in names:
        uri = source.location(name)
        inside = uri.rstrip("/")
        first, last = (
            bisect_left(objects, f"{inside}{end}", key=lambda item: item.uri) for end in "/0"
        )  # "0" follows "/"
        below = objects[first:last]
        if not below and not uri.endswith("/"):
            below = tuple(item for item in objects if item.uri == uri)
        found[name] = tags(data_files(below, uri, subject).files, uri)
    return found


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say how files differ from what they were; '' if they do not."""
    told = []
    for names, what in (
        (sorted(name for name in before.keys() & now if before[name] != now[name]), "changed"),
        (sorted(now.keys() - before.keys()), "came later"),
        (sorted(before.keys() - now.keys()), "taken away"),
    ):
        if names:
            told.append(f"{some(names)} {what}")
    return ", ".join(told)
