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
from functools import lru_cache
from typing import Any

from include.calendar.partitions import Partition
from include.ingestion.landed_batch import UNPARSED, LandedBatch, is_picked
from include.ingestion.landed_objects import files_of, name_of
from include.specification.own_columns import is_reserved
from include.specification.sections.sources import PLACEHOLDER, ROW_ID, Source
from include.storage.object_store import ObjectStore, StoredObject
from include.storage.row_digests import digest_rows
from include.wording import some

# Of more files a commit holds a digest of the list.
_MOST_NAMES, _MANY = 50, "many files"


@dataclass(frozen=True)
class LandedDigest:
    """What one partition of a source was ingested from.

    Args:
        files: Where a partition has a folder: by path below it, length and tag of each file.
        place: Where files hold every partition: a digest of their list; the rows are as they were
            while it is the same.
        rows: Where one place or a query holds every partition: a digest of the rows of this one,
            in whatever order.
        repairs: What was repaired of its rows by hand, see :func:`digest_repairs`; None if nothing.
    """

    files: Mapping[str, str] | None = None
    place: str | None = None
    rows: str | None = None
    repairs: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Render as a JSON-serialisable mapping (for the log of the table)."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def content(self) -> object:
        """Tell what makes it another one: the files, or the rows."""
        return self.rows if self.files is None else dict(self.files)

    @property
    def is_known(self) -> bool:
        """Tell whether a correction would be noticed; what every run reads whole has no past."""
        return self.content is not None


def to_details(digests: Mapping[str, LandedDigest]) -> dict[str, str]:
    """Render the digests of partitions as details of a commit; nothing for none."""
    if not digests:
        return {}
    told = {name: digest.to_dict() for name, digest in digests.items()}
    return {"landed": json.dumps(told, sort_keys=True)}


def from_details(details: Mapping[str, str], partition: str) -> LandedDigest | None:
    """Read what :func:`to_details` gave; None of a partition that it does not tell of."""
    told = _parsed(details.get("landed", "{}")).get(partition)
    return None if told is None else LandedDigest(**told)


@lru_cache(maxsize=1024)
def _parsed(landed: str) -> Mapping[str, Any]:
    """Parse what may be about thousands of partitions, each of which is asked for."""
    found: Mapping[str, Any] = json.loads(landed)
    return found


def digest_landed(
    source: Source, partition: Partition, batch: LandedBatch, *, numbered: bool
) -> LandedDigest | None:
    """Digest a batch that was read; None where every run reads whatever is there.

    Args:
        source: The source.
        partition: The partition that was read.
        batch: What was read.
        numbered: Whether its rows have no key but the place where they lie.
    """
    if source.is_partitioned:
        return LandedDigest(files=tags(batch.files, source.location(str(partition))))
    if not is_picked(source):
        return None
    place = None if source.query else digest_list(batch.files, str(source.uri))
    # Where rows lie is no part of what they are.
    own = {name for name in batch.table.column_names if is_reserved(name) and name != UNPARSED}
    rows = digest_rows(batch.table, own | ({ROW_ID} if numbered else set()))
    return LandedDigest(place=place, rows=rows)


def tags(files: Iterable[StoredObject], uri: str) -> dict[str, str]:
    """Name the content of files, by their path below an address; of many, that of their list."""
    return shortened(tags_of_all(files, uri))


def shortened(found: Mapping[str, str]) -> dict[str, str]:
    """Tell the tags of many files by one digest."""
    if len(found) <= _MOST_NAMES:
        return dict(found)
    return {f"{_MANY} ({len(found)} of them)": digest_tags(found)}


def digest_list(files: Iterable[StoredObject], uri: str) -> str:
    """Digest the list of files below an address."""
    return digest_tags(tags_of_all(files, uri))


def tags_of_all(files: Iterable[StoredObject], uri: str) -> dict[str, str]:
    """Name the content of each file, by its path below an address."""
    return {name_of(item, uri): f"{item.size}-{item.etag}" for item in files}


def digest_tags(tags: Mapping[str, str]) -> str:
    """Digest what :func:`tags_of_all` gave."""
    return hashlib.sha256(json.dumps(tags, sort_keys=True).encode()).hexdigest()


def repairs_of(digest: LandedDigest | None) -> str | None:
    """Tell what was repaired by hand; None of what an earlier release ingested."""
    return None if digest is None else digest.repairs


def digest_repairs(repairs: Iterable[str], earlier: str | None = None) -> str | None:
    """Digest repairs in whatever order, on top of earlier ones; None for none.

    Args:
        repairs: What each one replaces, and by what.
        earlier: What this function gave of others.

    Returns:
        How many, and the sum of their 64-bit hashes modulo 2**64.
    """
    count, total = (earlier or "0-0").split("-")
    number, added = int(count), int(total, 16)
    for text in repairs:
        number += 1
        added += int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return f"{number}-{added % 2**64:016x}" if number else None


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

    def at(uri: str) -> int:
        return bisect_left(objects, uri, key=lambda item: item.uri)

    found = {}
    for name in names:
        uri = source.location(name)
        inside = uri.rstrip("/")
        below = objects[at(f"{inside}/") : at(f"{inside}0")]  # "0" follows "/"
        itself = [item for item in objects[at(uri) : at(uri) + 1] if item.uri == uri]
        found[name] = tags(files_of(below, itself, uri, subject).files, uri)
    return found


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say how files differ from what they were; '' if they do not."""
    if before != now and any(name.startswith(_MANY) for name in {*before, *now}):
        return f"{', '.join(now) or 'files'} {'changed' if now else 'taken away'}"
    told = []
    for names, what in (
        (sorted(name for name in before.keys() & now if before[name] != now[name]), "changed"),
        (sorted(now.keys() - before.keys()), "came later"),
        (sorted(before.keys() - now.keys()), "taken away"),
    ):
        if names:
            told.append(f"{some(names)} {what}")
    return ", ".join(told)
