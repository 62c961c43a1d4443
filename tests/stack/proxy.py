"""An HTTP server in front of a real one, that spoils what it passes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date"})


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What a client gets."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Interception = Callable[[Request], Answer | None]


@contextmanager
def in_front_of(
    upstream: str,
    *,
    skew_seconds: float = 0,
    intercept: Interception = lambda request: None,
) -> Iterator[str]:
    """Serve on a free port; yields the address.

    Args:
        upstream: Address of the real server.
        skew_seconds: Added to the Date of every answer.
        intercept: May answer in place of the real server.
    """
    address = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            request = Request(self.command, self.path, dict(self.headers), self.rfile.read(length))
            answer = intercept(request) or self.ask(request)
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            moment = datetime.now(UTC) + timedelta(seconds=skew_seconds)
            self.send_header("Date", format_datetime(moment, usegmt=True))
            length = str(len(answer.body))
            if self.command == "HEAD":  # of what a GET would bring
                length = answer.headers.get("Content-Length", length)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815

        def ask(self, request: Request) -> Answer:
            connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
            # The Host stays the client's: it is part of what S3 signs.
            connection.request(request.method, request.path, request.body, request.headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return Answer(answer.status, body, dict(answer.getheaders()))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
