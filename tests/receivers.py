"""Real receivers of alerts on loopback: one of HTTP and one of SMTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.conftest import free_ports


@dataclass
class WebReceiver:
    """What an HTTP server was sent, and what it answers.

    Args:
        port: Where it listens.
        status: What it answers with.
        answer: And in which words.
        requests: What it was sent: path, headers and JSON.
    """

    port: int
    status: int = 200
    answer: str = "ok"
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def documents(self) -> list[Any]:
        """What it was sent and took."""
        return [document for _, _, document in self.requests]


@contextmanager
def web_receiver() -> Iterator[WebReceiver]:
    """Run an HTTP server that keeps what it is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if received.status < 300:
                received.requests.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(received.status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(received.answer.encode())

        def log_message(self, *values: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = WebReceiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailReceiver:
    """What an SMTP server was sent: to whom, and the mail."""

    port: int
    mails: list[tuple[list[str], Message]] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a mail."""
        del server, session
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 OK"


@contextmanager
def mail_receiver() -> Iterator[MailReceiver]:
    """Run an SMTP server that keeps what it is sent."""
    from aiosmtpd.controller import Controller

    (port,) = free_ports(1)
    received = MailReceiver(port)
    controller = Controller(received, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield received
    finally:
        controller.stop()


@contextmanager
def endless_receiver() -> Iterator[int]:
    """Run a server that takes all and answers a byte at a time, for ever; yields its port."""
    is_over = threading.Event()

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            while not is_over.wait(0.05):
                client.sendall(b"H")

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            is_over.set()
            server.shutdown(socket.SHUT_RDWR)
