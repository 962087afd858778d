"""Patroni's REST API: one GET, bounded in time whatever the other side does. Decides
nothing.

The only importer of `requests`, which costs a process several times what it costs to
start Python: import this module only where Patroni is really asked.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any

import requests

from pgcast_hooks.errors import PatroniUnreachable
from pgcast_hooks.model import PatroniEndpoint, RestAnswer, Role

MAX_BODY = 1 << 20  # bytes; Patroni's answers have a few hundred


class Client:
    """Asks one Patroni, over a connection that is kept open between questions."""

    def __init__(self, endpoint: PatroniEndpoint) -> None:
        self._endpoint = endpoint
        self._session: requests.Session | None = None

    def ask(self, role: Role, limit: float) -> RestAnswer:
        """GET the endpoint of a role.

        Raises PatroniUnreachable when there is no whole answer within the endpoint's
        timeout, or `limit` seconds if that is less. `requests` bounds each read but not
        their sum, nor the resolver; so the question runs in a thread that is left
        behind when it is late.
        """
        timeout = min(limit, self._endpoint.timeout)
        if self._session is None:
            self._session = self._connect()
        answers: queue.SimpleQueue[RestAnswer | Exception] = queue.SimpleQueue()
        url = f"{self._endpoint.url}/{role.value}"
        threading.Thread(
            target=_get, args=(self._session, url, timeout, answers), daemon=True
        ).start()
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            self._session = None  # still in use by the thread that is late
            raise PatroniUnreachable(
                url, f"did not answer within {timeout:.3g} s"
            ) from None
        if isinstance(answer, Exception):
            raise PatroniUnreachable(url, _reason(answer)) from answer
        return answer

    def _connect(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = (
            False  # no proxy from the environment between a host and itself
        )
        if self._endpoint.cafile:
            session.verify = self._endpoint.cafile
        if self._endpoint.certfile and self._endpoint.keyfile:
            session.cert = (self._endpoint.certfile, self._endpoint.keyfile)
        elif self._endpoint.certfile:
            session.cert = self._endpoint.certfile
        return session


def _get(
    session: requests.Session,
    url: str,
    timeout: float,
    answers: queue.SimpleQueue[RestAnswer | Exception],
) -> None:
    try:
        deadline = time.monotonic() + timeout
        with session.get(
            url, timeout=timeout, allow_redirects=False, stream=True
        ) as response:
            body = b""
            for chunk in response.iter_content(65536):
                body += chunk
                if len(body) > MAX_BODY or time.monotonic() > deadline:
                    raise ValueError(
                        f"an answer beyond {MAX_BODY} bytes or {timeout:g} s"
                    )
        answers.put(RestAnswer(response.status_code, _document(body)))
    except (requests.RequestException, OSError, ValueError) as error:
        answers.put(error)


def _document(body: bytes) -> Any | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _reason(error: Exception) -> str:
    """Why there is no answer, in a phrase; `requests` nests the system's own words deep
    in its exceptions."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"failed in TLS: {error}"
    if isinstance(error, requests.exceptions.Timeout):
        return "did not answer in time"
    text = str(error)
    for phrase in (
        "Connection refused",
        "Connection reset",
        "Name or service not known",
        "closed connection",
    ):
        if phrase in text:
            return f"cannot be asked: {phrase}"
    return f"cannot be asked: {type(error).__name__}: {text[:200]}"
