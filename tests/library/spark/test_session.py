"""Addresses of Spark Connect servers, and what a client tells a server over which channel."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from pyspark.sql.connect.client import DefaultChannelBuilder

from include.spark.address import with_parameter
from include.spark.channel import channel_builder


class Recorder(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A server that answers every call and remembers what came with it."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, str]]] = []

    def service(self, handler_call_details: Any) -> Any:
        self.calls.append([tuple(item) for item in handler_call_details.invocation_metadata])
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")

    def sent(self, name: str) -> list[str]:
        return [value for call in self.calls for key, value in call if key == name]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def port(recorder: Recorder) -> Iterator[int]:
    """Port of that server, without TLS, on 127.0.0.1."""
    with ThreadPoolExecutor(max_workers=1) as threads:
        server = grpc.server(threads, handlers=[recorder])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()


def call(address: str) -> None:
    builder = channel_builder(address)
    with builder.toChannel() as channel:
        channel.unary_unary("/service/method")(b"", metadata=builder.metadata(), timeout=10)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sc://spark:15002", "sc://spark:15002/;token=t"),
        ("sc://spark:15002/", "sc://spark:15002/;token=t"),
        ("sc://spark:15002/;use_ssl=false", "sc://spark:15002/;use_ssl=false;token=t"),
        ("sc://spark:15002/;use_ssl=false;", "sc://spark:15002/;use_ssl=false;token=t"),
    ],
)
def test_a_parameter_joins_those_of_the_address(address: str, expected: str) -> None:
    assert with_parameter(address, "token", "t") == expected


def test_a_token_may_have_any_character() -> None:
    token = "a=b;c/d+e%20f g"
    assert DefaultChannelBuilder(with_parameter("sc://s", "token", token)).token == token


def test_a_token_without_tls_is_sent_once_where_the_address_says_so(
    recorder: Recorder, port: int
) -> None:
    call(f"sc://127.0.0.1:{port}/;use_ssl=false;token=secret")
    assert recorder.sent("authorization") == ["Bearer secret"]
    assert not recorder.sent("token")
    assert not recorder.sent("use_ssl")


def test_other_parameters_of_the_address_are_sent_along(recorder: Recorder, port: int) -> None:
    call(f"sc://127.0.0.1:{port}/;use_ssl=false;x-databricks-cluster-id=0123;token=secret")
    assert recorder.sent("x-databricks-cluster-id") == ["0123"]


def test_no_token_no_header(recorder: Recorder, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_CONNECT_AUTHENTICATE_TOKEN", raising=False)
    call(f"sc://127.0.0.1:{port}/;use_ssl=false")
    call(f"sc://127.0.0.1:{port}")
    assert len(recorder.calls) == 2
    assert not recorder.sent("authorization")


@pytest.mark.parametrize("parameters", ["token=secret", "use_ssl=true;token=secret"])
def test_else_a_token_goes_over_tls_alone(recorder: Recorder, port: int, parameters: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(f"sc://127.0.0.1:{port}/;{parameters}")
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert not recorder.calls


def test_localhost_needs_no_tls(recorder: Recorder, port: int) -> None:
    call(f"sc://localhost:{port}/;token=secret")
    assert recorder.sent("authorization") == ["Bearer secret"]
