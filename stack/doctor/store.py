"""The object store: what the tables, the ledgers and the reports rely on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from include.storage.settings import LAKE, LANDING, REPORTS, StoreSettings
from stack.doctor import clock, web
from stack.doctor.checkup import (
    Check,
    Outcome,
    Visit,
    failed,
    not_checked,
    ok,
    warning,
)

PROBES = "_doctor"
WRITERS = 8
ROUNDS = 3
# The smallest part of a multipart upload but the last.
PART_BYTES = 5 * 2**20
_CONSISTENT = "Use a store that shows every write to everybody at once."
_REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "403", "401"})
_CREDENTIAL_REMEDIES = {
    "InvalidAccessKeyId": "Check the access key.",
    "SignatureDoesNotMatch": "Check the secret key.",
    "RequestTimeTooSkewed": "Set the clocks of this machine and of the store by NTP.",
    "ExpiredToken": "Renew the temporary credentials.",
}


def visit(settings: StoreSettings) -> Visit:
    """List what the store must do."""
    probe = StoreProbe(settings)
    landing = settings.bucket(LANDING)
    written = (settings.bucket(LAKE), settings.bucket(REPORTS), *_log_buckets())
    policy = (
        "Create the bucket, or correct RELEVO_STORE_BUCKET_PREFIX, or give this key what "
        "docs/production/external-services.md lists for `tasks`."
    )
    return Visit(
        "store",
        (
            Check(
                "reachable",
                probe.reach,
                "Check that the store runs, and RELEVO_STORE_ENDPOINT_URL and its certificate.",
                gate=True,
            ),
            Check("clock", lambda: clock.compare(probe.headers), ""),
            Check("credentials", probe.log_in, "Check the key and the region.", gate=True),
            Check(f"bucket {landing}", partial(probe.read_only, landing), policy),
            *(
                Check(f"bucket {bucket}", partial(probe.round_trip, bucket), policy)
                for bucket in written
            ),
            Check(
                "anonymous access",
                partial(probe.stay_private, (landing, *written)),
                "Check the buckets' policies.",
            ),
            Check("conditional PUT", probe.write_once, policy),
            Check(
                f"{WRITERS} writers at once",
                probe.one_winner,
                "Use a store with atomic conditional PUT; tables would lose commits on this one.",
                seconds=40,
            ),
            Check("multipart upload", probe.upload_parts, policy, seconds=40),
            Check(
                "Delta table",
                probe.commit_twice,
                "Look at the store's log; see also the checks above.",
                seconds=40,
            ),
            Check("lifecycle rules", probe.keep_tables, policy),
        ),
    )


def _log_buckets() -> tuple[str, ...]:
    """Name the bucket of Airflow's remote logs, where this process is told of it."""
    if os.environ.get("AIRFLOW__LOGGING__REMOTE_LOGGING", "").lower() != "true":
        return ()
    folder = urlsplit(os.environ.get("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", ""))
    return (folder.netloc,) if folder.scheme == "s3" else ()


def make_client(settings: StoreSettings, *, signed: bool = True) -> Any:
    """Open the store for short questions.

    Args:
        settings: Where the store is and who asks.
        signed: False asks as nobody.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    access_key, secret_key = settings.keys
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=settings.region,
        config=Config(
            signature_version=None if signed else UNSIGNED,
            connect_timeout=web.ANSWER_SECONDS,
            read_timeout=2 * web.ANSWER_SECONDS,
            max_pool_connections=WRITERS,
            retries={"mode": "standard", "max_attempts": 2},
        ),
    )


class StoreProbe:
    """Tries one store; everything it writes lies below ``_doctor/`` and is removed again.

    Args:
        settings: Where the store is and who asks.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.lake = settings.bucket(LAKE)
        self.url = settings.endpoint_url or f"https://s3.{settings.region}.amazonaws.com"
        self.headers: Mapping[str, str] = {}
        self._client: Any = None

    def reach(self) -> Outcome:
        """Ask the endpoint without a signature; any answer will do."""
        answer = web.ask("HEAD", self.url)
        self.headers = answer.headers
        server = answer.headers.get("Server")
        return ok(f"{self.url}{f' ({server})' if server else ''}")

    def log_in(self) -> Outcome:
        """Sign a request; being refused a bucket still shows that the key is known."""
        from botocore.exceptions import ClientError, NoCredentialsError

        self._client = make_client(self.settings)
        try:
            self._client.list_objects_v2(Bucket=self.lake, MaxKeys=1)
        except NoCredentialsError:
            return failed(
                "no key is set and this machine has no role",
                "Set RELEVO_STORE_ACCESS_KEY and RELEVO_STORE_SECRET_KEY, or give the machine or "
                "pod a role.",
            )
        except ClientError as error:
            code = _code(error)
            if code in _CREDENTIAL_REMEDIES:
                return failed(code, _CREDENTIAL_REMEDIES[code])
            if code not in ("AccessDenied", "NoSuchBucket"):
                raise
        return ok("accepted" if self.settings.access_key else "accepted; from AWS's own chain")

    def read_only(self, bucket: str) -> Outcome:
        """List a bucket, and read an object if there is one."""
        for item in self._client.list_objects_v2(Bucket=bucket, MaxKeys=1).get("Contents", ()):
            self._client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read(1)
            return ok("listed; read an object")
        return ok("listed; empty")

    def round_trip(self, bucket: str) -> Outcome:
        """Write, list, read and delete an object, each seen at once."""
        with self._probe(bucket) as key:
            content = key.encode()
            self._client.put_object(Bucket=bucket, Key=key, Body=content)
            if self._read(bucket, key) != content:
                return failed("an object just written reads otherwise", _CONSISTENT)
            if key not in self._keys(bucket, key):
                return failed("an object just written is not listed", _CONSISTENT)
            self._client.delete_object(Bucket=bucket, Key=key)
            if self._keys(bucket, key):
                return failed("an object just deleted is still listed", _CONSISTENT)
        return ok("wrote, listed, read and deleted an object")

    def stay_private(self, buckets: tuple[str, ...]) -> Outcome:
        """Ask as nobody for the listing of each bucket and for an object."""
        from botocore.exceptions import ClientError

        nobody = make_client(self.settings, signed=False)
        public = []
        with self._probe(self.lake) as key:
            self._client.put_object(Bucket=self.lake, Key=key, Body=b"private")
            questions = [partial(nobody.get_object, Bucket=self.lake, Key=key)]
            questions += [partial(nobody.list_objects_v2, Bucket=name) for name in buckets]
            for name, ask in zip((self.lake, *buckets), questions, strict=True):
                try:
                    ask()
                except ClientError as error:
                    if _code(error) not in (*_REFUSED, "NoSuchBucket"):
                        raise
                else:
                    public.append(name)
        if public:
            return failed(
                f"public bucket: {', '.join(sorted(set(public)))}",
                "Block public access and remove policies that name everyone, now.",
            )
        return ok("refused")

    def write_once(self) -> Outcome:
        """Write an object that must not exist, twice."""
        from botocore.exceptions import ClientError

        with self._probe(self.lake) as key:
            self._create(key, b"first")
            try:
                self._create(key, b"second")
            except ClientError as error:
                if _is_lost(error):
                    return ok("If-None-Match is kept: 412 for the second writer")
                raise
        return failed(
            "If-None-Match is ignored: the second writer replaced the object",
            "Use a store with conditional PUT (AWS S3, SeaweedFS, Ceph), and let no proxy drop "
            "the header; tables would lose commits.",
        )

    def one_winner(self) -> Outcome:
        """Let several writers create the same object at the same moment."""
        for _ in range(ROUNDS):
            with self._probe(self.lake) as key:
                start = threading.Barrier(WRITERS)
                with ThreadPoolExecutor(WRITERS) as pool:
                    won = list(pool.map(partial(self._race, key, start), map(str, range(WRITERS))))
                winners = [name for name in won if name is not None]
                if len(winners) != 1 or self._read(self.lake, key) != winners[0].encode():
                    return failed(
                        f"{len(winners)} of {WRITERS} writers were told that they created the "
                        "same object",
                        "Use a store with atomic conditional PUT; tables would lose commits.",
                    )
        return ok(f"exactly one winner in each of {ROUNDS} rounds")

    def upload_parts(self) -> Outcome:
        """Upload an object in two parts and read it back."""
        content = os.urandom(PART_BYTES + 2**20)
        with self._probe(self.lake) as key:
            upload = self._client.create_multipart_upload(Bucket=self.lake, Key=key)["UploadId"]
            try:
                parts = [
                    {
                        "PartNumber": number,
                        "ETag": self._client.upload_part(
                            Bucket=self.lake, Key=key, UploadId=upload, PartNumber=number, Body=body
                        )["ETag"],
                    }
                    for number, body in ((1, content[:PART_BYTES]), (2, content[PART_BYTES:]))
                ]
                self._client.complete_multipart_upload(
                    Bucket=self.lake, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
                )
            except BaseException:
                self._client.abort_multipart_upload(Bucket=self.lake, Key=key, UploadId=upload)
                raise
            back = self._read(self.lake, key)
        if hashlib.sha256(back).digest() != hashlib.sha256(content).digest():
            return failed(
                f"{len(content)} bytes in two parts came back as {len(back)} other bytes",
                "Use another store, and let no proxy change bodies.",
            )
        return ok(f"{len(content) / 2**20:.0f} MiB in two parts came back unchanged")

    def commit_twice(self) -> Outcome:
        """Commit twice to a Delta table and read it as of both versions."""
        import pyarrow as pa
        from deltalake import DeltaTable, write_deltalake

        options = {
            **self.settings.storage_options(),
            "timeout": "10s",
            "max_retries": "2",
            "retry_timeout": "20s",
        }
        with self._probe(self.lake) as key:
            uri = f"s3://{self.lake}/{key}"
            for rows in ([1], [2, 3]):
                table = pa.table({"row": pa.array(rows, pa.int64())})
                write_deltalake(uri, table, mode="append", storage_options=options)
            counts = [
                DeltaTable(uri, version=version, storage_options=options)
                .to_pyarrow_table()
                .num_rows
                for version in (0, 1)
            ]
        if counts != [1, 3]:
            return failed(
                f"versions 0 and 1 of a table hold {counts} rows, not [1, 3]", "Use another store."
            )
        return ok("two commits, read as of both versions")

    def keep_tables(self) -> Outcome:
        """Look for rules that delete what the tables still name."""
        from botocore.exceptions import ClientError

        try:
            rules = self._client.get_bucket_lifecycle_configuration(Bucket=self.lake)["Rules"]
        except ClientError as error:
            code = _code(error)
            if code == "NoSuchLifecycleConfiguration":
                return ok(f"none on {self.lake}")
            return not_checked(
                f"{code} for the rules of {self.lake}",
                f"See with another key that no rule expires current objects of {self.lake}.",
            )
        expiring = [
            rule.get("ID", "without a name")
            for rule in rules
            if rule["Status"] == "Enabled" and {"Days", "Date"} & set(rule.get("Expiration", ()))
        ]
        if expiring:
            return warning(
                f"{self.lake} expires current objects: {', '.join(expiring)}",
                "Remove the rule: tables name files of any age. Let rules act on noncurrent "
                "versions and unfinished uploads only.",
            )
        return ok(f"none on {self.lake} deletes current objects")

    @contextlib.contextmanager
    def _probe(self, bucket: str) -> Iterator[str]:
        """Yield a key of our own; whatever is at it or below it goes afterwards."""
        key = f"{PROBES}/{uuid.uuid4().hex}"
        try:
            yield key
        finally:
            for found in self._keys(bucket, key):
                self._client.delete_object(Bucket=bucket, Key=found)

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        page = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for item in page.get("Contents", ())]

    def _read(self, bucket: str, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def _create(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self.lake, Key=key, Body=content, IfNoneMatch="*")

    def _race(self, key: str, start: threading.Barrier, name: str) -> str | None:
        from botocore.exceptions import ClientError

        start.wait(web.ANSWER_SECONDS)
        try:
            self._create(key, name.encode())
        except ClientError as error:
            if _is_lost(error):
                return None
            raise
        return name


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])


def _is_lost(error: Any) -> bool:
    # AWS answers 409 when the other writer is still at it.
    return error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
