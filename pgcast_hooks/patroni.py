"""Patroni's REST API: one GET, bounded in time whatever the other side does. Decides nothing.

HTTPS is left to `pgcast_hooks.tls`, which is to say to `requests`. Plain HTTP, which is what
Patroni speaks on the loopback unless told otherwise, goes through the standard library:
importing `requests` takes 120 ms of the time between a promotion and the announcement,
`http.client` 30 ms.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Callable
from urllib.parse import urlsplit

from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.model import RestAnswer
from pgcast_hooks.settings import PatroniEndpoint

WRAPPINGS = 10  # of one error in another; requests and urllib3 make five
LONGEST_REASON = 200  # letters
OBJECT = re.compile(r"<?[\w.]*(\(.*?\))? ?(object )?at 0x[0-9a-fA-F]+>?[:,]? ?")
MAX_BODY = 1 << 20  # bytes; Patroni's answers have a few hundred

MAX_PASSWORD = 1000  # bytes

Headers = Mapping[str, str]
Get = Callable[[str, PatroniEndpoint, Headers, float], RestAnswer]


def ask(endpoint: PatroniEndpoint, path: str, limit: float) -> RestAnswer:
    """GET `path`, which begins with no slash: "primary", "cluster", "config".

    Raises PatroniUnreachable when there is no whole answer within the endpoint's timeout,
    or `limit` seconds if that is less. HTTP libraries bound each read but not their sum,
    nor the resolver; so the question runs in a thread that is left behind when it is late.
    """
    timeout = min(limit, endpoint.timeout)
    url = f"{endpoint.url}/{path}"
    get = _get_tls if url.startswith("https:") else _get_plain
    answers: queue.SimpleQueue[RestAnswer | Exception] = queue.SimpleQueue()
    # The libraries' own timeout is only there for the thread that was left behind.
    arguments = (get, url, endpoint, timeout + 1, answers)
    threading.Thread(target=_answer, args=arguments, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        reason = f"did not answer within {timeout:.3g} s"
        raise PatroniUnreachable(url, reason) from None
    if isinstance(answer, PatroniUnreachable):
        raise answer
    if isinstance(answer, Exception):
        raise PatroniUnreachable(url, f"cannot be asked: {_reason(answer)}") from answer
    return answer


def _answer(
    get: Get,
    url: str,
    endpoint: PatroniEndpoint,
    timeout: float,
    answers: queue.SimpleQueue[RestAnswer | Exception],
) -> None:
    try:
        answers.put(get(url, endpoint, _headers(endpoint, url), timeout))
    except (
        Exception
    ) as error:  # of whatever kind: it is raised again where it is awaited
        answers.put(error)


def _get_plain(
    url: str, endpoint: PatroniEndpoint, headers: Headers, timeout: float
) -> RestAnswer:
    parts = urlsplit(url)
    connection = (
        _UnixConnection(parts.netloc, endpoint.unix_socket, timeout)
        if endpoint.unix_socket
        else http.client.HTTPConnection(parts.netloc, timeout=timeout)
    )
    try:
        target = parts._replace(scheme="", netloc="").geturl()
        connection.request("GET", target, headers=dict(headers))
        response = connection.getresponse()
        body = response.read(MAX_BODY + 1)
        return _rest_answer(response.status, body, response.getheader("Date"))
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix domain socket; `netloc` only makes the Host header."""

    def __init__(self, netloc: str, path: str, timeout: float) -> None:
        super().__init__(netloc, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get_tls(
    url: str, endpoint: PatroniEndpoint, headers: Headers, timeout: float
) -> RestAnswer:
    from pgcast_hooks import tls

    return _rest_answer(*tls.get(url, endpoint, headers, timeout, MAX_BODY + 1))


def _headers(endpoint: PatroniEndpoint, url: str) -> Headers:
    """The configured ones, and the one that user and password make (RFC 7617).

    Raises PatroniUnreachable where the password cannot be had.
    """
    # As plain text: requests 2.28 takes no other, not even a kind of it.
    headers = {name: str(value) for name, value in endpoint.headers}
    if endpoint.username:
        password = endpoint.password or _password(endpoint, url)
        pair = f"{endpoint.username}:{password}".encode()
        headers["Authorization"] = f"Basic {b64encode(pair).decode('ascii')}"
    return headers


def _password(endpoint: PatroniEndpoint, url: str) -> str:
    """What stands in the password file now: it may have been changed since the last time."""
    path = str(endpoint.password_file)
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_PASSWORD + 1).decode().rstrip("\r\n")
        if text and text.isprintable() and len(text) <= MAX_PASSWORD:
            return text
        why = "does not hold a password, which is one line of text"
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        why = "is not UTF-8"
    raise PatroniUnreachable(url, f"cannot be asked: password_file {path} {why}")


def _rest_answer(status: int, body: bytes, date: str | None) -> RestAnswer:
    if len(body) > MAX_BODY:
        raise ValueError(f"an answer of more than {MAX_BODY} bytes")
    document: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body)
    return RestAnswer(status, document if isinstance(document, dict) else None, date)


def _reason(error: BaseException) -> str:
    """The system's own words, which `requests` wraps several times over; else those of the
    innermost error, without addresses of objects, which differ each time."""
    inner = error
    for _ in range(WRAPPINGS):
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        wrapped = [item for item in inner.args if isinstance(item, BaseException)]
        reason = getattr(inner, "reason", None)
        candidates = (*wrapped, reason, inner.__cause__, inner.__context__)
        found = [item for item in candidates if isinstance(item, BaseException)]
        if not found:
            break
        inner = found[0]
    text = OBJECT.sub("", str(inner)).strip("<>()[]',: ")
    return f"{type(inner).__name__}: {text}"[:LONGEST_REASON]
