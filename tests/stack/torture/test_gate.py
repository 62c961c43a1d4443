"""The gate passes everything on as it is, and makes each fault at the request that it is about."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stack.embedded.environment import PART_VARIABLE
from stack.embedded.layout import STATE_VARIABLE, Layout
from stack.embedded.ports import LOOPBACK, is_free
from stack.torture.gate import FULL, Action, Gate, Rule, in_front

PATH = "/lake/p/features/_delta_log/00000000000000000001.json"
Seen = list[tuple[str, str, bytes, str]]


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture
def upstream(seen: Seen) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.path, body, self.headers["Host"]))
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(b"0123456789")

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gate(tmp_path: Path, upstream: int) -> Iterator[Gate]:
    port = next(port for port in range(20000, 32000) if is_free(port))
    with in_front(Layout(tmp_path), port, upstream) as opened:
        opened.port = port  # type: ignore[attr-defined]
        yield opened


def ask(gate: Gate, method: str = "PUT", path: str = PATH, body: bytes | None = b"x") -> bytes:
    connection = HTTPConnection(LOOPBACK, gate.port, timeout=10)  # type: ignore[attr-defined]
    try:
        connection.request(method, path, body, {"Host": "known:1"})
        return connection.getresponse().read()
    finally:
        connection.close()


def rule(action: Action, **values: object) -> Rule:
    return Rule(fault=1, action=action, method="PUT", path=r"/_delta_log/\d+\.json$", **values)  # type: ignore[arg-type]


def test_it_passes_on_what_no_rule_is_about(gate: Gate, seen: Seen) -> None:
    gate.arm(rule("error 500", body=b"other"))
    assert ask(gate) == b"0123456789"
    assert ask(gate, "GET", body=None) == b"0123456789"
    assert ask(gate, "HEAD", body=None) == b""
    assert seen == [
        ("PUT", PATH, b"x", "known:1"),
        ("GET", PATH, b"", "known:1"),
        ("HEAD", PATH, b"", "known:1"),
    ]
    assert gate.hits == []


def test_chunks_are_put_together(gate: Gate, seen: Seen) -> None:
    connection = HTTPConnection(LOOPBACK, gate.port, timeout=10)  # type: ignore[attr-defined]
    connection.request("PUT", PATH, iter([b"ab", b"c"]), encode_chunked=True)
    assert connection.getresponse().read() == b"0123456789"
    connection.close()
    assert seen[0][2] == b"abc"


def test_a_rule_is_used_up(gate: Gate, seen: Seen) -> None:
    gate.arm(rule("error 500", times=2))
    assert ask(gate) == ask(gate) == b"Internal Server Error"
    assert ask(gate) == b"0123456789"
    assert [hit.fault for hit in gate.hits] == [1]
    assert len(seen) == 1


def test_clients_that_encode_a_path_are_meant_too(gate: Gate) -> None:
    path = r"/partition=2020-05/\w+\.parquet"
    gate.arm(Rule(fault=1, action="error 500", method="PUT", path=path))
    assert ask(gate, path="/lake/p/t/partition%3D2020-05/a.parquet") == b"Internal Server Error"


def test_a_full_disk(gate: Gate) -> None:
    gate.arm(rule("full"))
    assert ask(gate) == FULL


@pytest.mark.parametrize(("action", "forwarded"), [("half a body", 1), ("reset", 0)])
def test_spoilt_answers(gate: Gate, seen: Seen, action: Action, forwarded: int) -> None:
    gate.arm(rule(action))
    with pytest.raises((HTTPException, OSError)):
        ask(gate)
    assert len(seen) == forwarded
    assert len(gate.hits) == 1


def test_holding(gate: Gate) -> None:
    gate.arm(rule("hold", seconds=0.3))
    begun = time.monotonic()
    assert ask(gate) == b"0123456789"
    assert time.monotonic() - begun >= 0.3


@pytest.fixture
def client(gate: Gate) -> Callable[..., subprocess.Popen[bytes]]:
    """Start a process that sends one request and then lives on."""
    program = (
        "import http.client, sys, time\n"
        f"c = http.client.HTTPConnection('{LOOPBACK}', int(sys.argv[1]))\n"
        f"c.request('PUT', '{PATH}', b'x')\n"
        "c.getresponse().read()\n"
        "time.sleep(60)\n"
    )

    def start(state: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, STATE_VARIABLE: str(state), PART_VARIABLE: "scheduler"}
        port = str(gate.port)  # type: ignore[attr-defined]
        return subprocess.Popen([sys.executable, "-c", program, port], env=environment)

    return start


@pytest.mark.parametrize(
    ("action", "forwarded"), [("kill before", 0), ("kill inside", 1), ("kill after", 1)]
)
def test_the_sender_is_killed(
    gate: Gate,
    seen: Seen,
    client: Callable[..., subprocess.Popen[bytes]],
    action: Action,
    forwarded: int,
) -> None:
    gate.arm(rule(action))
    process = client(gate.layout.state)
    assert process.wait(20) == -9
    assert len(seen) == forwarded
    deadline = time.monotonic() + 5
    while not gate.hits and time.monotonic() < deadline:
        time.sleep(0.01)
    (hit,) = gate.hits
    assert hit.what == f"PUT {PATH}"
    assert hit.victim.startswith(f"scheduler {process.pid} ")


def test_nobody_of_another_stack_is_killed(
    gate: Gate, client: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    gate.arm(rule("kill inside"))
    process = client(tmp_path / "other")
    deadline = time.monotonic() + 20
    while gate.rules and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert gate.hits == []
    process.kill()
    process.wait()
