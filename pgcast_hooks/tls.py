"""One GET over HTTPS, with the CA, the names and the client certificate of the configuration.

The only importer of `requests`, which is imported where it is used: it takes 120 ms.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from pgcast_hooks.settings import PatroniEndpoint


class _Named(HTTPAdapter):
    """Asks for a server by its name (SNI), and wants that name in the certificate, whatever
    host the URL says."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, server_hostname=self._name, **kwargs)


def get(
    url: str,
    endpoint: PatroniEndpoint,
    headers: Mapping[str, str],
    timeout: float,
    size: int,
) -> tuple[int, bytes, str | None]:
    """Status, at most `size` bytes of the body, and the Date header. Raises what `requests`
    raises."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy between a host and itself
        system = ssl.get_default_verify_paths()
        session.verify = endpoint.cafile or system.cafile or system.capath or True
        if not endpoint.verify:
            session.verify = False
            # `pgcast check` says so, and not every question.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if endpoint.certfile and endpoint.keyfile:
            session.cert = (endpoint.certfile, endpoint.keyfile)
        elif endpoint.certfile:
            session.cert = endpoint.certfile
        if endpoint.server_name:
            session.mount("https://", _Named(endpoint.server_name))
        with session.get(
            url,
            headers=dict(headers),
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = response.raw.read(size, decode_content=True)
            return response.status_code, body, response.headers.get("Date")
