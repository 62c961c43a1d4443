"""One bucket as one tar stream, in which each object keeps its key, content type and metadata.

A key may be anything that S3 allows (also a file and a folder at once), so it travels in a header
of its own; the member's name is there for people. `python -m stack.backup.archive save <bucket>`
writes the stream to the standard output, `load <bucket>` reads it, with the store's address and
key from RELEVO_STORE_*.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, TypeVar

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from stack.errors import BackupError

if TYPE_CHECKING:
    from include.storage.settings import StoreSettings

THREADS = 8
IN_MEMORY_BYTES = 8 * 1024**2
# S3 takes no more in one request. Below it one request keeps the tag of the content that the
# object had, unless it was written in several.
ONE_REQUEST_BYTES = 5 * 1024**3
PATIENCE_SECONDS = 60
HEADER = "RELEVO.object"
# What S3 keeps of an object besides its bytes, spelt as both GetObject and PutObject do.
KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _is_passing(error: BaseException) -> bool:
    from botocore.exceptions import ClientError, HTTPClientError

    if isinstance(error, ClientError):
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"]) >= 500
    return isinstance(error, HTTPClientError)


# A SeaweedFS that has just started lists its objects some seconds before it finds their content.
_patiently = retry(
    retry=retry_if_exception(_is_passing),
    stop=stop_after_delay(PATIENCE_SECONDS),
    wait=wait_random_exponential(max=5),
    reraise=True,
)


@dataclass(frozen=True)
class Contents:
    """Count what is in a bucket.

    Args:
        objects: How many objects.
        bytes: Their length together.
    """

    objects: int
    bytes: int


def save_bucket(settings: StoreSettings, bucket: str, stream: IO[bytes]) -> Contents:
    """Write every object of a bucket to a stream.

    Args:
        settings: The store, with a key that may read the bucket.
        bucket: Its name, without the prefix that the store has.
        stream: Gets the tar archive; it is never read and never sought.

    Raises:
        BackupError: The store refuses, or an object ends too early.
    """
    client = _client(settings)

    @_patiently
    def fetch(key: str) -> tuple[str, dict[str, Any], IO[bytes]]:
        answer = client.get_object(Bucket=settings.bucket(bucket), Key=key)
        body = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        shutil.copyfileobj(answer["Body"], body, IN_MEMORY_BYTES)
        return key, {name: answer[name] for name in KEPT if answer.get(name)}, body

    objects = total = 0
    with (
        _explained(bucket),
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for key, kept, body in _side_by_side(fetch, _keys(client, settings.bucket(bucket))):
            with body:
                member = tarfile.TarInfo(key)
                member.size = body.tell()
                member.mode = 0o600
                member.pax_headers = {HEADER: json.dumps({"Key": key, **kept})}
                body.seek(0)
                archive.addfile(member, body)
            objects += 1
            total += member.size
    return Contents(objects, total)


def load_bucket(settings: StoreSettings, bucket: str, stream: IO[bytes]) -> Contents:
    """Write every object of a stream made by :func:`save_bucket` to a bucket.

    Args:
        settings: The store, with a key that may write to the bucket.
        bucket: Its name, without the prefix that the store has; it exists.
        stream: The tar archive; it is read once, from its beginning to its end.

    Returns:
        What was written.

    Raises:
        BackupError: The store refuses, or the stream is no such archive.
    """
    from boto3.s3.transfer import TransferConfig

    client = _client(settings)
    transfer = TransferConfig(multipart_threshold=ONE_REQUEST_BYTES, use_threads=False)

    @_patiently
    def upload(body: IO[bytes], key: str, kept: dict[str, Any]) -> None:
        body.seek(0)
        client.upload_fileobj(body, settings.bucket(bucket), key, ExtraArgs=kept, Config=transfer)

    def send(item: tuple[dict[str, Any], IO[bytes]]) -> int:
        kept, body = item
        with body:
            size = body.tell()
            upload(body, kept.pop("Key"), kept)
        return size

    with _explained(bucket), tarfile.open(fileobj=stream, mode="r|") as archive:
        sizes = list(_side_by_side(send, _members(archive)))
    return Contents(len(sizes), sum(sizes))


def measure_archive(stream: IO[bytes]) -> Contents:
    """Count what is in an archive, reading its headers alone."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        sizes = [member.size for member in archive]
    return Contents(len(sizes), sum(sizes))


def measure_bucket(settings: StoreSettings, bucket: str) -> Contents:
    """Count what is in a bucket.

    Raises:
        BackupError: The store refuses.
    """
    with _explained(bucket):
        sizes = [item["Size"] for item in _listed(_client(settings), settings.bucket(bucket))]
    return Contents(len(sizes), sum(sizes))


def _client(settings: StoreSettings) -> Any:
    from include.storage.object_store import ObjectStore

    return ObjectStore(settings).client


def _listed(client: Any, bucket: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from page.get("Contents", ())


def _keys(client: Any, bucket: str) -> Iterator[str]:
    return (item["Key"] for item in _listed(client, bucket))


def _members(archive: tarfile.TarFile) -> Iterator[tuple[dict[str, Any], IO[bytes]]]:
    for member in archive:
        content = archive.extractfile(member)
        if content is None or HEADER not in member.pax_headers:
            raise BackupError(
                f"Archive member {member.name!r}: must be an object with its header {HEADER}, got "
                "something else. Take another backup."
            )
        body = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        shutil.copyfileobj(content, body, IN_MEMORY_BYTES)
        yield json.loads(member.pax_headers[HEADER]), body


def _side_by_side(
    function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Apply a function in threads, in order, without running ahead of who takes the results."""
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _explained(bucket: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError, tarfile.TarError) as error:
        raise BackupError(
            f"Bucket {bucket}: must be copied whole, got {type(error).__name__}: {error}. Look "
            "at the log of the store and run again."
        ) from error


def main(arguments: Sequence[str]) -> None:
    """Save or load one bucket through the standard streams; loading prints what is in it then."""
    from include.storage.settings import StoreSettings

    action, bucket = arguments
    settings = StoreSettings.from_environment()
    if action == "save":
        save_bucket(settings, bucket, sys.stdout.buffer)
    else:
        load_bucket(settings, bucket, sys.stdin.buffer)
        print(json.dumps(asdict(measure_bucket(settings, bucket))))


if __name__ == "__main__":
    main(sys.argv[1:])
