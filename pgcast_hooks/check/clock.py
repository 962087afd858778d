"""The clock on the wall: the one place of a check that reads it, and what was signed by it.

Only to be compared with other hosts' clocks and with certificates; nothing that announces or
withdraws is decided here.
"""

from __future__ import annotations

import calendar
import contextlib
import email.utils
import socket
import ssl
import time
from urllib.parse import urlsplit

from pgcast_hooks.model import PatroniEndpoint


def wall() -> float:
    """Seconds since 1970."""
    return time.time()


def of_date(text: str | None) -> float | None:
    """The middle of the second that an HTTP date names, in seconds since 1970."""
    parsed = email.utils.parsedate_tz(text) if text else None
    return email.utils.mktime_tz(parsed) + 0.5 if parsed else None


def ends_of_certificates(endpoint: PatroniEndpoint, limit: float) -> dict[str, float]:
    """When the server's certificate ends, and our own: whose → seconds since 1970.

    Whether they are valid is told by a question over HTTPS, not here.
    """
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        found["Patroni's certificate"] = _end_of(_of_server(endpoint, limit))
    if endpoint.certfile:
        with contextlib.suppress(OSError, ValueError, IndexError), open(
            endpoint.certfile
        ) as file:
            text = file.read()
            start = text.index("-----BEGIN CERTIFICATE-----")
            stop = text.index("-----END CERTIFICATE-----") + 25
            pem = text[start:stop] + "\n"
            found[endpoint.certfile] = _end_of(ssl.PEM_cert_to_DER_cert(pem))
    return found


def _of_server(endpoint: PatroniEndpoint, limit: float) -> bytes:
    parts = urlsplit(endpoint.url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if endpoint.certfile:
        context.load_cert_chain(endpoint.certfile, endpoint.keyfile)
    where = (parts.hostname or "", parts.port or 443)
    with socket.create_connection(
        where, min(limit, endpoint.timeout)
    ) as plain, context.wrap_socket(plain, server_hostname=parts.hostname) as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""


def _end_of(certificate: bytes) -> float:
    """`notAfter` of a certificate in DER: the walk of RFC 5280, section 4.1, down to it.

    Raises ValueError and IndexError for what is no certificate.
    """
    content = _inside(_inside(certificate))  # Certificate, tbsCertificate
    if content[:1] == b"\xa0":  # version, which is optional
        content = _after(content)
    for _ in range(3):  # serialNumber, signature, issuer
        content = _after(content)
    end = _after(_inside(content))  # validity: notBefore, notAfter
    text = _inside(end).decode("ascii")
    if end[0] == 0x17:  # UTCTime: two digits of the year, RFC 5280, section 4.1.2.5.1
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def _lengths(element: bytes) -> tuple[int, int]:
    """Where the content of a DER element begins and where it stops."""
    first = element[1]
    if first < 0x80:
        return 2, 2 + first
    many = first & 0x7F
    return 2 + many, 2 + many + int.from_bytes(element[2 : 2 + many], "big")


def _inside(element: bytes) -> bytes:
    start, stop = _lengths(element)
    return element[start:stop]


def _after(elements: bytes) -> bytes:
    return elements[_lengths(elements)[1] :]
