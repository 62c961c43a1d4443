"""Search for secrets where none may be: in files, databases, objects, texts and command lines.

A value is found as it is, URL-quoted, escaped as in JSON, and in Base64, also in the middle of
something longer such as the ``user:password`` of an HTTP header.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pyarrow.parquet as pq
import sqlalchemy as sa

# Characters of Base64 that also depend on what stands before or behind the value.
_BEFORE = {0: 0, 1: 2, 2: 3}
_BEHIND = {0: 0, 1: 3, 2: 2}

Source = tuple[str, bytes]


@dataclass(frozen=True, order=True)
class Finding:
    """A secret in a place.

    Args:
        place: What was searched, e.g. the path of a file.
        name: Name of the secret; its value is not repeated here.
        form: ``plain``, ``quoted``, ``escaped`` or ``base64``.
    """

    place: str
    name: str
    form: str


def search(values: Mapping[str, str], sources: Iterable[Source]) -> list[Finding]:
    """Search every source for every form of every value.

    Args:
        values: Secrets by name, each of eight characters or more.
        sources: Places and what they hold.

    Returns:
        A finding for each place and secret; the first form that was met.

    Raises:
        ValueError: If a value is so short that it would be found by chance, or no source was given.
    """
    for name, value in values.items():
        if len(value) < 8:
            raise ValueError(f"secret {name}: must have 8 characters or more, got {len(value)}.")
    wanted = {name: forms(value) for name, value in values.items()}
    found = []
    searched = 0
    for place, data in sources:
        searched += 1
        for name, known in wanted.items():
            form = next((form for text, form in known.items() if text in data), None)
            if form:
                found.append(Finding(place, name, form))
    if not searched:
        raise ValueError("search: must have something to search, got no source.")
    return sorted(found)


def forms(value: str) -> dict[bytes, str]:
    """Spell a value in all ways in which it may be written down."""
    known = {value.encode(): "plain"}
    for safe in ("", "/"):
        known.setdefault(quote(value, safe=safe).encode(), "quoted")
    known.setdefault(json.dumps(value)[1:-1].encode(), "escaped")
    for shift in range(3):
        padded = b"\0" * shift + value.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(padded)
            known.setdefault(text[_BEFORE[shift] : len(text) - _BEHIND[len(padded) % 3]], "base64")
    return known


def files(root: Path, leave_out: Iterable[Path] = ()) -> Iterator[Source]:
    """Read every file below a folder but those that are to be left out."""
    left_out = set(leave_out)
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path not in left_out:
            try:
                yield str(path.relative_to(root)), path.read_bytes()
            except FileNotFoundError:
                continue  # of a running program


def database(url: str) -> Iterator[Source]:
    """Read every table; a value may cross a page of the database's file."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            for table in sa.inspect(connection).get_table_names():
                quoted = engine.dialect.identifier_preparer.quote(table)
                rows = connection.execute(sa.text(f"select * from {quoted}"))
                yield f"table {table}", b"\n".join(_cell(cell) for row in rows for cell in row)
    finally:
        engine.dispose()


def objects(client: Any, buckets: Iterable[str]) -> Iterator[Source]:
    """Read every object of some buckets.

    Args:
        client: A boto3 client for S3.
        buckets: Names.
    """
    for bucket in buckets:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                key = item["Key"]
                body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
                yield f"s3://{bucket}/{key}", key.encode() + b"\n" + body


def unpacked(client: Any, buckets: Iterable[str]) -> Iterator[Source]:
    """Read every object of some buckets, and what Parquet packs."""
    for place, data in objects(client, buckets):
        yield place, data
        if place.endswith(".parquet"):
            packed = data.partition(b"\n")[2]
            yield place, repr(pq.read_table(io.BytesIO(packed)).to_pylist()).encode()


def command_lines(processes: Iterable[psutil.Process]) -> Iterator[Source]:
    """Read what ``ps`` shows of some processes to everybody on the machine."""
    for process in processes:
        try:
            yield f"command line of {process.name()}", "\0".join(process.cmdline()).encode()
        except psutil.Error:
            continue


def _cell(cell: Any) -> bytes:
    if isinstance(cell, bytes):
        return cell
    return (cell if isinstance(cell, str) else json.dumps(cell, default=str)).encode()
