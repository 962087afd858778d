"""Patroni's REST API over real HTTP, saying what a test tells it to, with the bodies that real versions send."""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

Reply = Callable[[BaseHTTPRequestHandler], None]


def body(**changes: Any) -> dict[str, Any]:
    """What Patroni 4.1.5 says of a primary; `changes` replace fields."""
    return {
        "state": "running",
        "postmaster_start_time": "2026-11-23 20:14:05.114502+00:00",
        "role": "primary",
        "server_version": 150018,
        "xlog": {"location": 100663296},
        "timeline": 7,
        "dcs_last_seen": 1795464851,
        "database_system_identifier": "7576155843911239117",
        "patroni": {"version": "4.1.5", "scope": "main", "name": "pg1"},
        **changes,
    }


def cluster(*members: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What Patroni 4.1.5 says of a cluster; without `members` of pg1, which leads, and pg2."""
    leader = {
        "name": "pg1",
        "role": "leader",
        "state": "running",
        "api_url": "http://10.0.0.11:8008/patroni",
        "host": "10.0.0.11",
        "port": 5432,
        "timeline": 7,
    }
    replica = {
        "name": "pg2",
        "role": "replica",
        "state": "streaming",
        "api_url": "http://10.0.0.12:8008/patroni",
        "host": "10.0.0.12",
        "port": 5432,
        "timeline": 7,
        "tags": {"nofailover": True},
        "receive_lag": 0,
        "receive_lsn": "0/6000000",
        "replay_lag": 16384,
        "replay_lsn": "0/5FFC000",
        "lag": 16384,
        "lsn": "0/6000000",
    }
    return {"members": list(members or (leader, replica)), "scope": "main", **changes}


PATRONI_3 = body(role="master", patroni={"version": "3.0.2", "scope": "main"})


def says(status: int = 200, document: Any = None, raw: bytes | None = None) -> Reply:
    """An answer with a status and a JSON body."""
    content = (
        raw
        if raw is not None
        else json.dumps(body() if document is None else document).encode()
    )

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


PRIMARY = says()
REPLICA = says(503, body(role="replica"))


class Late:
    """What a leader says, once a test wants it to: it was true when it was asked."""

    def __init__(self) -> None:
        self.asked, self.answer_now = threading.Event(), threading.Event()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.set()
        self.answer_now.wait(30)
        PRIMARY(handler)


def hang(handler: BaseHTTPRequestHandler) -> None:
    """A Patroni that takes the question and never answers."""
    handler.server.fake.over.wait(30)  # type: ignore[attr-defined]


class _Server(ThreadingHTTPServer):
    fake: FakePatroni
    request_queue_size = 128  # many may ask at once, as many clusters' Patronis are one

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error of the test's."""


class _UnixServer(_Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 8008


class FakePatroni:
    """Serves one reply after the other; the last one for ever. A path may have replies of its
    own. `socket`: where it listens, instead of on a port of 127.0.0.1."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, socket: Path | None = None
    ) -> None:
        self.paths: list[str] = []
        self.headers: list[Message] = []
        self.over = threading.Event()
        self._replies: dict[str, list[Reply]] = {"": [PRIMARY]}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake.headers.append(self.headers)
                fake.paths.append(self.path)
                replies = fake._replies.get(self.path) or fake._replies[""]
                (replies.pop(0) if len(replies) > 1 else replies[0])(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = (
            _UnixServer(str(socket), Handler)  # type: ignore[arg-type]
            if socket
            else _Server(("127.0.0.1", 0), Handler)
        )
        self._server.fake = self
        if tls:
            plain = self._server.socket
            self._server.socket = tls.wrap_socket(plain, server_side=True)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakePatroni:
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the port: whoever asks is refused."""
        if not self.over.is_set():
            self.over.set()
            self._server.shutdown()
            self._server.server_close()

    def will_say(self, replies: Iterable[Reply], path: str = "") -> None:
        """Set the replies, to one `path` such as "/cluster" or to all that have none of their
        own; the last one stays."""
        self._replies[path] = list(replies)
