"""A proxy at the port that clients know, in front of the real server, that makes faults.

A rule names a request by method, path and content. When one comes, the gate kills the process that
sent it (before the request is forwarded, before it is answered, or after), or spoils the answer.
Signatures stay valid because the Host header is forwarded unchanged.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote

import psutil

from stack.embedded.environment import PART_VARIABLE
from stack.embedded.layout import STATE_VARIABLE, Layout
from stack.embedded.ports import LOOPBACK

Action = Literal[
    "kill before", "kill inside", "kill after", "error 500", "half a body", "reset", "hold", "full"
]
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
# As SeaweedFS answers when no volume can take the data.
FULL = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code><Message>We '
    b"encountered an internal error, please try again.</Message></Error>"
)
# What a client sees of a server that hangs before it gives up by itself.
_PATIENCE_SECONDS = 120.0


@dataclass
class Rule:
    """Say which requests a fault is about.

    Args:
        fault: Number of the fault in its round.
        action: What happens.
        method: Methods, as a regular expression.
        path: A regular expression that must match somewhere in the path, `%3D` read as `=`.
        body: What the content must hold.
        times: How many requests are affected.
        seconds: How long `hold` holds.
    """

    fault: int
    action: Action
    method: str
    path: str
    body: bytes = b""
    times: int = 1
    seconds: float = 0.0
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.times

    def matches(self, method: str, path: str, body: bytes) -> bool:
        """Tell whether a request is meant."""
        return (
            re.fullmatch(self.method, method) is not None
            and re.search(self.path, unquote(path)) is not None
            and self.body in body
        )


@dataclass(frozen=True)
class Hit:
    """A fault that happened.

    Args:
        fault: Number of the fault in its round.
        at: Seconds since the epoch.
        what: The request, or the process.
        victim: Who was killed or spoilt, as far as it is known.
    """

    fault: int
    at: float
    what: str
    victim: str


class Gate:
    """One proxy.

    Args:
        layout: The stack; no process of another is ever killed.
        port: Where it listens.
        upstream: Port of the real server.
    """

    def __init__(self, layout: Layout, port: int, upstream: int) -> None:
        self.layout = layout
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.hits: list[Hit] = []
        self.closed_until = 0.0
        self._lock = threading.Lock()
        self._server = _Server((LOOPBACK, port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def open(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def arm(self, rule: Rule) -> None:
        """Wait for a request."""
        with self._lock:
            self.rules.append(rule)

    def disarm(self) -> None:
        """Forget every rule."""
        with self._lock:
            self.rules.clear()

    def refuse_for(self, seconds: float) -> None:
        """Reset every connection for a while, as if nobody listened."""
        self.closed_until = time.monotonic() + seconds

    def take(self, method: str, path: str, body: bytes) -> Rule | None:
        """Find the rule that a request fires, and use it up."""
        with self._lock:
            for rule in self.rules:
                if rule.matches(method, path, body):
                    rule.left -= 1
                    if rule.left == 0:
                        self.rules.remove(rule)
                    return rule
        return None

    def note_if(self, rule: Rule, what: str, victim: str) -> None:
        """Keep that a process was killed; if it could not be found, nothing happened."""
        if victim:
            self.note(rule, what, victim)

    def note(self, rule: Rule, what: str, victim: str) -> None:
        """Keep that a fault happened; of one that affects several requests, the first."""
        with self._lock:
            if not any(hit.fault == rule.fault for hit in self.hits):
                self.hits.append(Hit(rule.fault, time.time(), what, victim))

    def sender(self, port: int) -> psutil.Process | None:
        """Find the process of this stack at the other end of a connection."""
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr
            if here and here.port == port and connection.pid:
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(connection.pid)
                    if process.environ().get(STATE_VARIABLE) == str(self.layout.state):
                        return process
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients that were killed leave broken connections."""


def _kill(process: psutil.Process | None) -> str:
    if process is None:
        return ""
    with contextlib.suppress(psutil.Error):
        part = process.environ().get(PART_VARIABLE, "?")
        name = " ".join(process.cmdline())[:80]
        process.kill()
        return f"{part} {process.pid} ({name})"
    return ""


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.server_side = HTTPConnection(LOOPBACK, gate.upstream, timeout=_PATIENCE_SECONDS)

        def finish(self) -> None:
            self.server_side.close()
            super().finish()

        def forward(self) -> None:
            body = self._read()
            if time.monotonic() < gate.closed_until:
                self._reset()
                return
            rule = gate.take(self.command, self.path, body)
            if rule is None:
                self._answer(*self._ask(body))
            else:
                self._fault(rule, body)

        def _fault(self, rule: Rule, body: bytes) -> None:
            what = f"{self.command} {self.path.partition('?')[0]}"
            if rule.action == "kill before":
                gate.note_if(rule, what, _kill(gate.sender(self.client_address[1])))
                self._reset()
            elif rule.action == "kill inside":
                sender = gate.sender(self.client_address[1])
                self._ask(body)
                gate.note_if(rule, what, _kill(sender))
                self._reset()
            elif rule.action == "kill after":
                sender = gate.sender(self.client_address[1])
                self._answer(*self._ask(body))
                gate.note_if(rule, what, _kill(sender))
            elif rule.action == "error 500":
                gate.note(rule, what, "")
                self._answer(500, b"Internal Server Error", [])
            elif rule.action == "full":
                gate.note(rule, what, "")
                self._answer(500, FULL, [("Content-Type", "application/xml")])
            elif rule.action == "half a body":
                status, content, headers = self._ask(body)
                gate.note(rule, what, "")
                self._answer(status, content, headers, cut=True)
            elif rule.action == "reset":
                gate.note(rule, what, "")
                self._reset()
            else:
                gate.note(rule, what, "")
                time.sleep(rule.seconds)
                self._answer(*self._ask(body))

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = forward  # noqa: N815

        def _read(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _ask(self, body: bytes) -> tuple[int, bytes, list[tuple[str, str]]]:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in {*HOP_BY_HOP, "expect"}
            }
            headers["Content-Length"] = str(len(body))
            for attempt in (1, 2):
                try:
                    self.server_side.putrequest(
                        self.command, self.path, skip_host=True, skip_accept_encoding=True
                    )
                    for name, value in headers.items():
                        self.server_side.putheader(name, value)
                    self.server_side.endheaders(body or None)
                    answer: HTTPResponse = self.server_side.getresponse()
                    return answer.status, answer.read(), answer.getheaders()
                except (OSError, HTTPException):
                    # A connection that was kept may have been closed by the server meanwhile.
                    self.server_side.close()
                    if attempt == 2 or self.command not in ("GET", "HEAD", "PUT"):
                        break
            return 503, b"Service Unavailable", []

        def _answer(
            self, status: int, content: bytes, headers: list[tuple[str, str]], cut: bool = False
        ) -> None:
            self.send_response_only(status)
            length = str(len(content))
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
                elif name.lower() == "content-length" and self.command == "HEAD":
                    length = value  # of what a GET would bring
            if status != 204:
                self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self._reset()

        def _reset(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def in_front(layout: Layout, port: int, upstream: int) -> Iterator[Gate]:
    """Have a gate open."""
    gate = Gate(layout, port, upstream)
    gate.open()
    try:
        yield gate
    finally:
        gate.close()
