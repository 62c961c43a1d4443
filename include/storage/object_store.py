"""Objects on the store: landed files, reports, Data Docs.

Tables go through ``lake_tables``; this module is for everything that is a plain object.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from include.errors import SourceError, UnavailableError
from include.storage.settings import StoreSettings

THREADS = 8
_SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*")
# The platform's own table of types differs between machines; a browser needs these to be right.
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class StoredObject:
    """One object as the store lists it.

    Args:
        uri: Its address, ``s3://bucket/key``.
        size: Length in bytes.
        etag: The store's tag of its content, without quotes.
        modified: When it was written, UTC.
    """

    uri: str
    size: int
    etag: str
    modified: datetime

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.uri.rpartition("/")[2]


def join(*parts: str) -> str:
    """Build an address from a base (``s3://bucket/...``) and parts, each checked.

    A part may hold several names separated by ``/``. Names are letters, digits and ``_ . = -``
    and do not begin with a dot, so an address never climbs out of its folder and never needs
    quoting.

    Raises:
        SourceError: If the base has no scheme or bucket, or a name is empty or holds anything else.
    """
    address = "/".join(part.removesuffix("/") if i == 0 else part for i, part in enumerate(parts))
    if not address.startswith(_SCHEME):
        raise SourceError(
            f"address {address!r}: must begin with {_SCHEME}<bucket>, got something else. "
            "Pass the base address as the first part."
        )
    bucket, *names = address.removeprefix(_SCHEME).split("/")
    if not _BUCKET.fullmatch(bucket):
        raise SourceError(
            f"address {address!r}: its bucket must be 3 to 63 of a-z, 0-9, '.', '-', "
            f"got {bucket!r}. Name an existing bucket."
        )
    for name in names:
        if not _PART.fullmatch(name):
            raise SourceError(
                f"address {address!r}: each part must be letters, digits and '_.=-' and begin "
                f"with one of the first two or '_', got {name!r}. Rename it."
            )
    return address


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Take an address that Relevo built apart, checking it; the key has no trailing ``/``.

    Raises:
        SourceError: If the address is malformed (see :func:`join`).
    """
    bucket, _, key = join(uri).removeprefix(_SCHEME).partition("/")
    return bucket, key


def _any_key(uri: str) -> tuple[str, str]:
    """Take apart the address of what somebody else may have named: S3 allows any key."""
    bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
    join(f"{_SCHEME}{bucket}" if uri.startswith(_SCHEME) else uri)
    return bucket, key.removesuffix("/")


def _below(uri: str) -> tuple[str, str]:
    """Name the bucket, and the beginning of the keys below a folder of it, or of all."""
    bucket, key = _any_key(uri)
    return bucket, f"{key}/" if key else ""


class ObjectStore:
    """Reads and writes objects of one S3-compatible store.

    Connects at first use; from then on it is safe to share between threads. Addresses may hold any
    key that S3 allows; what Relevo writes itself is named by :func:`join`.

    Args:
        settings: Where the store is and who asks.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings

    @cached_property
    def client(self) -> Any:
        """The boto3 client, for what this class has no method for."""
        import boto3
        from botocore.config import Config

        access_key, secret_key = self.settings.keys
        return boto3.client(
            "s3",
            endpoint_url=self.settings.endpoint_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=self.settings.region,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=2 * THREADS,
                retries={"mode": "standard", "max_attempts": 4},
            ),
        )

    def connect(self) -> None:
        """Make the client now, because boto3 does not make clients safely in several threads."""
        _ = self.client

    def list(self, uri: str) -> tuple[StoredObject, ...]:
        """List the objects below a folder, at any depth, sorted by address.

        Raises:
            SourceError: If the bucket does not exist or the store does not answer.
        """
        bucket, prefix = _below(uri)
        found = []
        with _explained(uri):
            for page in self._pages(bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    if item["Key"].endswith("/"):  # a folder that someone made in a browser
                        continue
                    found.append(
                        StoredObject(
                            uri=f"{_SCHEME}{bucket}/{item['Key']}",
                            size=int(item["Size"]),
                            etag=item["ETag"].strip('"'),
                            modified=item["LastModified"],
                        )
                    )
        # SeaweedFS sorts by folder first, so its order is not that of the addresses.
        return tuple(sorted(found, key=lambda item: item.uri))

    def folders(self, uri: str) -> tuple[str, ...]:
        """Name the folders directly below a folder or bucket, sorted.

        Raises:
            SourceError: If the bucket does not exist or the store does not answer.
        """
        bucket, prefix = _below(uri)
        found = []
        with _explained(uri):
            for page in self._pages(bucket, Prefix=prefix, Delimiter="/"):
                found += [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        return tuple(sorted(name.removeprefix(prefix).removesuffix("/") for name in found))

    def read(self, uri: str) -> bytes:
        """Read one object.

        Raises:
            SourceError: If it does not exist or the store does not answer.
        """
        target = self._locate(uri)
        with _explained(uri):
            body: bytes = self.client.get_object(**target)["Body"].read()
        return body

    def write(self, uri: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Write one object, replacing what was there, in one atomic request.

        Raises:
            SourceError: If the bucket does not exist or the store does not answer.
        """
        target = self._locate(uri)
        with _explained(uri):
            self.client.put_object(**target, Body=data, ContentType=content_type)

    def exists(self, uri: str) -> bool:
        """Tell whether there is an object at exactly this address.

        Raises:
            SourceError: If the store does not answer, or refuses to.
        """
        return self.stat(uri) is not None

    def stat(self, uri: str) -> StoredObject | None:
        """Describe the object at exactly this address; None if there is none.

        Raises:
            SourceError: If the store does not answer, or refuses to.
        """
        from botocore.exceptions import ClientError

        target = self._locate(uri)
        with _explained(uri):
            try:
                item = self.client.head_object(**target)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                    return None
                raise
        return StoredObject(
            uri=uri,
            size=int(item["ContentLength"]),
            etag=item["ETag"].strip('"'),
            modified=item["LastModified"],
        )

    def delete(self, uri: str) -> None:
        """Delete one object; one that is not there is deleted already.

        Raises:
            SourceError: If the bucket does not exist or the store does not answer.
        """
        target = self._locate(uri)
        with _explained(uri):
            self.client.delete_object(**target)

    def delete_below(self, uri: str) -> int:
        """Delete every object below a folder; returns how many there were."""
        items = self.list(uri)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.delete, [item.uri for item in items]))
        return len(items)

    def upload_folder(self, folder: Path, uri: str) -> tuple[str, ...]:
        """Upload every file of a local folder, keeping its structure.

        ``index.html`` goes last, so whoever can open the page can follow its links.

        Returns:
            Addresses written, in the order of the files' paths.

        Raises:
            SourceError: If the folder holds no file, a name is unfit, or the store does not answer.
        """
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            raise SourceError(
                f"folder {folder}: must hold at least one file, got none. "
                "Check the step that was to write it."
            )
        targets = {
            path: join(uri, *path.relative_to(folder).parts) for path in files
        }  # all names are checked before the first upload

        def upload(path: Path) -> None:
            self.write(targets[path], path.read_bytes(), content_type(path.name))

        first = [path for path in files if path.name != "index.html"]
        last = [path for path in files if path.name == "index.html"]
        self.connect()
        with ThreadPoolExecutor(THREADS) as pool:
            for group in (first, last):
                list(pool.map(upload, group))
        return tuple(targets.values())

    def _pages(self, bucket: str, **wanted: str) -> Iterable[Any]:
        listed = self.client.get_paginator("list_objects_v2")
        pages: Iterable[Any] = listed.paginate(Bucket=self.settings.bucket(bucket), **wanted)
        return pages

    def _locate(self, uri: str) -> dict[str, str]:
        """Spell an address of one object as the client's methods take it."""
        bucket, key = _any_key(uri)
        return {"Bucket": self.settings.bucket(bucket), "Key": key}


def content_type(name: str) -> str:
    """Name the content type of a file by its ending."""
    suffix = Path(name).suffix.lower()
    return (
        _CONTENT_TYPES.get(suffix)
        or mimetypes.guess_type(name, strict=True)[0]
        or "application/octet-stream"
    )


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise UnavailableError(
                f"object {uri}: the store must be able to answer, got {code}. Look at the log of "
                "the store: it may be starting, overloaded, or out of space."
            ) from error
        remedy = {
            "NoSuchKey": "Check the name, or land the file.",
            "NoSuchBucket": "Create the bucket, or correct the address or the bucket prefix.",
            "AccessDenied": "Check the credentials of the connection and the bucket's policy.",
            "InvalidAccessKeyId": "Check the access key of the connection.",
            "SignatureDoesNotMatch": "Check the secret key of the connection.",
        }.get(code, "Look at the cause below.")
        raise SourceError(f"object {uri}: the store must allow it, got {code}. {remedy}") from error
    except BotoCoreError as error:
        raise UnavailableError(
            f"object {uri}: the store must answer, got {type(error).__name__}. "
            "Check that the store runs and the endpoint of the connection is right."
        ) from error
