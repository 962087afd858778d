"""The clock on the wall, the one place of a check that reads it, and what goes by it, judged.

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
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from pgcast_hooks.check.finding import Finding, critical, ok, unknown, warning
from pgcast_hooks.settings import PatroniEndpoint


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


def judge_clocks(offsets: Mapping[str, float], most: float = 5.0) -> Iterable[Finding]:
    """Whether this host's wall clock is that of the other members.

    `offsets`: seconds that this clock is ahead of each. One that alone differs from all is
    wrong; where it differs from some, theirs is.
    """
    if not offsets:
        return
    wrong = {name: off for name, off in offsets.items() if abs(off) > most}
    if len(wrong) * 2 > len(offsets) or len(wrong) == len(offsets):
        said = ", ".join(
            f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} {name}"
            for name, off in sorted(wrong.items())
        )
        text = f"is {said}: overrides, certificates and the history go by it"
        yield warning("host.clock", "clock", text, "chronyc tracking; timedatectl")
    else:
        yield ok("host.clock", "clock", f"agrees with {', '.join(sorted(offsets))}")


def judge_kept(synchronised: bool | None) -> Finding:
    """Whether anything keeps this clock right, where there is no other to compare it with.

    `synchronised`: the kernel's word; None where it gives none.
    """
    if synchronised is None:
        text = "may be wrong: there is no other to compare it with, and the kernel says nothing"
        return unknown("host.clock", "clock", text, "timedatectl")
    if synchronised:
        text = "is kept right, as the kernel says; no other member's to compare it with"
        return ok("host.clock", "clock", text)
    text = "is not kept right, as the kernel says: overrides and the history go by it"
    return warning("host.clock", "clock", text, "timedatectl; run chrony or another")


def judge_certificates(
    scope: str, ends: Mapping[str, float], now: float, days: float = 14
) -> Iterable[Finding]:
    """Whether a certificate ends soon. `ends`: whose → seconds since 1970."""
    for whose, end in ends.items():
        left = (end - now) / 86400
        if left <= 0:
            text = f"{whose} has expired {-left:.0f} days ago"
            yield critical("patroni.tls", scope, text, "renew it")
        elif left < days:
            text = f"{whose} expires in {left:.0f} days"
            yield warning("patroni.tls", scope, text, "renew it")
        else:
            yield ok("patroni.tls", scope, f"{whose} is good for {left:.0f} days")


def _of_server(endpoint: PatroniEndpoint, limit: float) -> bytes:
    parts = urlsplit(endpoint.url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if endpoint.certfile:
        context.load_cert_chain(endpoint.certfile, endpoint.keyfile)
    where = (parts.hostname or "", parts.port or 443)
    name = endpoint.server_name or parts.hostname
    with socket.create_connection(
        where, min(limit, endpoint.timeout)
    ) as plain, context.wrap_socket(plain, server_hostname=name) as wrapped:
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
