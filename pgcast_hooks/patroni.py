"""Patroni's REST API: one GET, bounded in time whatever the other side does. Decides nothing.

HTTPS is left to `requests`. Plain HTTP, which is what Patroni speaks on the loopback unless
told otherwise, goes through the standard library: importing `requests` takes 120 ms of the
time between a promotion and the announcement, `http.client` 30 ms.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import re
import threading
from typing import Any, Callable
from urllib.parse import urlsplit

from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.model import PatroniEndpoint, RestAnswer

WRAPPINGS = 10  # of one error in another; requests and urllib3 make five
LONGEST_REASON = 200  # letters
OBJECT = re.compile(r"<?[\w.]*(\(.*?\))? ?(object )?at 0x[0-9a-fA-F]+>?[:,]? ?")
MAX_BODY = 1 << 20  # bytes; Patroni's answers have a few hundred

Get = Callable[[str, PatroniEndpoint, float], RestAnswer]


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
        answers.put(get(url, endpoint, timeout))
    except (
        Exception
    ) as error:  # of whatever kind: it is raised again where it is awaited
        answers.put(error)


def _get_plain(url: str, endpoint: PatroniEndpoint, timeout: float) -> RestAnswer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", url[url.index(parts.netloc) + len(parts.netloc) :])
        response = connection.getresponse()
        body = response.read(MAX_BODY + 1)
        return _rest_answer(response.status, body, response.getheader("Date"))
    finally:
        connection.close()


def _get_tls(url: str, endpoint: PatroniEndpoint, timeout: float) -> RestAnswer:
    import ssl

    import requests

    with requests.Session() as session:
        session.trust_env = False  # no proxy between a host and itself
        system = ssl.get_default_verify_paths()
        session.verify = endpoint.cafile or system.cafile or system.capath or True
        if endpoint.certfile and endpoint.keyfile:
            session.cert = (endpoint.certfile, endpoint.keyfile)
        elif endpoint.certfile:
            session.cert = endpoint.certfile
        with session.get(
            url, timeout=timeout, allow_redirects=False, stream=True
        ) as response:
            body = response.raw.read(MAX_BODY + 1, decode_content=True)
            date = response.headers.get("Date")
            return _rest_answer(response.status_code, body, date)


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
