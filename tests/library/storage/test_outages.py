"""A store that cannot answer now is not a store that says no: trying again may help."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from include.errors import SourceError, UnavailableError
from include.ingestion.readable import readable
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings


class _Overloaded(http.server.BaseHTTPRequestHandler):
    """Answers everything with 503."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def overloaded() -> Iterator[StoreSettings]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Overloaded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield StoreSettings(endpoint_url=url, access_key="key", secret_key=SecretStr("secret"))
    server.shutdown()
    server.server_close()


def test_objects(overloaded: StoreSettings) -> None:
    with pytest.raises(UnavailableError, match="the store must be able to answer"):
        ObjectStore(overloaded).write("s3://lake/x", b"x")


def test_landed_files(overloaded: StoreSettings) -> None:
    with (
        pytest.raises(UnavailableError, match="the store must be able to answer"),
        readable("file s3://landing/x.parquet", "parquet"),
    ):
        pq.ParquetFile(overloaded.filesystem().open_input_file("landing/x.parquet"))


def test_a_file_that_is_broken_stays_broken() -> None:
    with (
        pytest.raises(SourceError, match="must be readable") as caught,
        readable("file s3://landing/x.parquet", "parquet"),
    ):
        pq.ParquetFile(pa.BufferReader(b"no parquet"))
    assert not isinstance(caught.value, UnavailableError)


def test_tables_do_not_become_missing() -> None:
    nobody = StoreSettings(
        endpoint_url="http://127.0.0.1:1", access_key="key", secret_key=SecretStr("secret")
    )
    # Airflow tries again what is no error of ours; a TableError would fail for good.
    with pytest.raises(OSError, match="Generic S3 error"):
        Lake(nobody, "p").open("features")
