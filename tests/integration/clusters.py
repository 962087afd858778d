"""Many clusters on one host: their part of the configuration, their VIPs, and one fake Patroni that answers for each.

The addresses are those that RFC 2544 sets aside for benchmarks.
"""

from __future__ import annotations

import ipaddress
import subprocess
from typing import Any

from tests.integration.patroni import FakePatroni, Reply, body, says

EACH = 10  # routes of a cluster
TIMELINE = 7
MED = 100_000 - TIMELINE
FIRST = ipaddress.ip_address("198.18.0.0")


def scopes(routes: int) -> list[str]:
    """The scopes of so many routes."""
    return [f"scope-{number}" for number in range(routes // EACH)]


def vips(routes: int) -> list[str]:
    """The VIPs of so many routes, cluster after cluster."""
    return [str(FIRST + number) for number in range(routes)]


def document(url: str, routes: int) -> dict[str, Any]:
    """The `clusters` of the configuration; the fake at `url` is the Patroni of each."""
    found = vips(routes)
    return {
        scope: {
            "patroni": f"{url}/{scope}",
            "routes": [
                {"prefix": f"{vip}/32", "role": "primary"}
                for vip in found[number * EACH : (number + 1) * EACH]
            ],
        }
        for number, scope in enumerate(scopes(routes))
    }


def carry(routes: int) -> None:
    """Put the VIPs on the loopback."""
    lines = "".join(f"address replace {vip}/32 dev lo\n" for vip in vips(routes))
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


def answer(fake: FakePatroni, routes: int) -> None:
    """Let the fake be the primary's Patroni in every cluster."""
    for scope in scopes(routes):
        fake.will_say([primary(scope)], f"/{scope}/primary")


def primary(scope: str, **changes: Any) -> Reply:
    """What the primary's Patroni says."""
    patroni = {"version": "4.1.5", "scope": scope, "name": "pg1"}
    return says(200, body(timeline=TIMELINE, patroni=patroni, **changes))
